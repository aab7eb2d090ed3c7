"""MLflow's tables that a snapshot does not hold: what they are called, and which go with which."""

from __future__ import annotations

SAVED = frozenset(
    [
        "experiments",
        "experiment_tags",
        "runs",
        "params",
        "tags",
        "metrics",
        "latest_metrics",
        "datasets",
        "inputs",
        "input_tags",
        "logged_models",
        "logged_model_params",
        "logged_model_tags",
        "logged_model_metrics",
        "registered_models",
        "registered_model_tags",
        "registered_model_aliases",
        "model_versions",
        "model_version_tags",
    ]
)
NEVER = frozenset(
    [
        "alembic_version",
        "alembic_version_auth",
        "workspaces",
        "jobs",
        "job_locks",
        "scheduler_leases",
        "sql_trace_metric_daily_rollups",
        "sql_span_cost_daily_rollups",
        "sql_assessment_daily_rollups",
        "sql_trace_rollup_rebuild_queue",
    ]
)
"""Schema versions, the server's own work list, locks and caches; `workspaces` are named by themselves."""

WORDS = {
    "trace_info": "traces",
    "assessments": "assessments of traces",
    "entity_associations": "links of traces, runs and datasets",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "label_schemas": "label schemas",
    "review_queues": "review queues",
    "issues": "issues",
    "secrets": "gateway secrets",
    "model_definitions": "gateway model definitions",
    "endpoints": "gateway endpoints",
    "budget_policies": "gateway budget policies",
    "guardrails": "gateway guardrails",
    "webhooks": "webhooks",
    "mcp_servers": "MCP servers",
    "skills": "skills",
}
PARTS = {
    part: whole
    for whole, parts in {
        "trace_info": "trace_tags trace_request_metadata spans trace_metrics span_metrics",
        "evaluation_datasets": "evaluation_dataset_records evaluation_dataset_tags",
        "scorers": "scorer_versions online_scoring_configs",
        "review_queues": "review_queue_items review_queue_users review_queue_label_schemas",
        "issues": "issue_categories",
        "endpoints": "endpoint_model_mappings endpoint_tags endpoint_bindings",
        "guardrails": "guardrail_configs",
        "webhooks": "webhook_events",
        "mcp_servers": "mcp_server_versions mcp_server_tags mcp_server_version_tags mcp_server_aliases "
        "mcp_access_endpoints",
        "skills": "skill_versions skill_tags skill_version_tags skill_aliases",
        "users": "roles role_permissions user_role_assignments experiment_permissions registered_model_permissions "
        "scorer_permissions gateway_secret_permissions gateway_endpoint_permissions "
        "gateway_model_definition_permissions workspace_permissions",
    }.items()
    for part in parts.split()
}
"""Tables that are a part of what is in another."""

AUTH_VERSION = "alembic_version_auth"
"""Where this table is, the tables of basic-auth are in the same database: `users` may else be anybody's."""
AUTH = frozenset({"users", *(part for part, whole in PARTS.items() if whole == "users")})
AUTH_WORDS = {"users": "users and permissions of basic-auth"}
OWN_COLUMNS = frozenset({"workspace", "experiment_id"})
"""Columns that tell a table of a newer MLflow from one of somebody else in the same database."""
