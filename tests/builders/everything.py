"""Fills every table of a store with a few rows, after MLflow's own description of its tables.

The same rows on SQLite, PostgreSQL and MySQL, and on whichever MLflow is installed: a table or column that nobody has
described here gets values by its type. References lead somewhere: row 0 refers to row 0, and row 1 to row 1.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import sqlalchemy as sa

from mlmeta.stores.sql.schema import create_schema

ROWS = 2
"""Rows that each table gets."""

SECRET = "MLMETA-SECRET"
"""What every secret value contains, and nothing else does."""

STOPS_A_SERVER = frozenset(
    {
        "sql_trace_metric_daily_rollups",
        "sql_span_cost_daily_rollups",
        "sql_assessment_daily_rollups",
        "sql_trace_rollup_rebuild_queue",
        "jobs",
        "job_locks",
        "scheduler_leases",
    }
)
"""Tables with whose rows `mlflow server` does not start, or begins to work."""

START = 1_700_000_000_000
"""Milliseconds since the epoch: when everything was made."""

_MODULES = ("tracking.dbmodels.models", "model_registry.dbmodels.models", "workspace.dbmodels.models")


def fill_everything(uri: str, *, servable: bool = False, workspaces: bool = False) -> dict[str, int]:
    """Fill all tables of a store, which is made where there is none.

    Args:
        uri: of a database without a row of ours.
        servable: leaves out what a server would not start with, act on, or stumble over: the secrets of webhooks,
            which no key decrypts.
        workspaces: adds a second workspace, with which a server starts with `--enable-workspaces` only.

    Returns:
        The number of rows in each table, but `alembic_version`.
    """
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    if not sa.inspect(engine).has_table("alembic_version"):
        create_schema(engine)
    with engine.begin() as connection:
        for table, rows in everything(workspaces=workspaces):
            if not servable:
                _insert(connection, table, rows)
            elif table.name not in STOPS_A_SERVER:
                without = {"secret": None} if table.name == "webhooks" else {}
                _insert(connection, table, [row | without for row in rows])
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(_COUNTER)
        counts = {
            table.name: int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for table in mlflows_tables()
        }
    engine.dispose()
    return counts


_COUNTER = "SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), max(experiment_id)) FROM experiments"


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    key = list(table.primary_key.columns)
    there = {tuple(row) for row in connection.execute(sa.select(*key))}  # the workspace `default`, of a migration
    new = [row for row in rows if tuple(row[column.name] for column in key) not in there]
    if new:
        connection.execute(sa.insert(table), new)


def mlflows_tables() -> list[sa.Table]:
    """All tables of the installed MLflow but `alembic_version`, parents first."""
    for module in _MODULES:
        with contextlib.suppress(ModuleNotFoundError):  # older versions have no workspaces
            importlib.import_module(f"mlflow.store.{module}")
    from mlflow.store.db.base_sql_model import Base

    tables: list[sa.Table] = Base.metadata.sorted_tables
    return tables


def everything(*, workspaces: bool = False) -> Iterator[tuple[sa.Table, list[dict[str, Any]]]]:
    """The rows of each table, parents first."""
    for table in mlflows_tables():
        columns = [column for column in table.columns if column.computed is None]
        rows = [{column.name: _value(column, number) for column in columns} for number in range(ROWS)]
        yield table, rows if workspaces or table.name != "workspaces" else rows[:1]


def _value(column: sa.Column[Any], number: int) -> Any:
    name = f"{column.table.name}.{column.name}"
    for found in (name, column.name):
        if found in _VALUES:
            return _VALUES[found][number]
    for referred in _referred(column, name):
        return _value(referred, number)
    if name in _PREFIXES:
        return _PREFIXES[name] + unique(name, number)
    return _by_type(column, number)


def _referred(column: sa.Column[Any], name: str) -> Iterator[sa.Column[Any]]:
    """The column that a column takes its values of."""
    yield from (key.column for key in column.foreign_keys)
    for found in (name, column.name):
        if found in _SOFT and _SOFT[found] != name:
            table, theirs = _SOFT[found].split(".")
            yield column.table.metadata.tables[table].columns[theirs]


def unique(name: str, number: int, digits: int = 32) -> str:
    """Hexadecimal digits that look like an id of MLflow's."""
    return hashlib.sha256(f"{name} {number}".encode()).hexdigest()[:digits]


def _by_type(column: sa.Column[Any], number: int) -> Any:
    for kind, make in _TYPES:
        if isinstance(column.type, kind):
            return make(column, number)
    raise TypeError(f"{column} has the type {column.type!r}, for which there is no value yet")


def _text(column: sa.Column[Any], number: int) -> Any:
    """In columns that may be NULL, every other one is, but for the values of tags: MLflow's API wants texts."""
    if column.nullable and number and column.name != "value":
        return None
    is_long = column.type.length is None  # type: ignore[attr-defined]
    text = f"{column.name} {number}: größe 模型 🎈" if is_long else f"{column.name} {number}"
    return text if is_long else text[: column.type.length]  # type: ignore[attr-defined]


def _integer(column: sa.Column[Any], number: int) -> int:
    words = column.name.split("_")
    if {"timestamp", "time", "at", "ms"}.isdisjoint(words):
        return number + 1
    later = not {"update", "updated", "end", "completed"}.isdisjoint(words)
    return START + 1000 * number + 500 * later


_TYPES: tuple[tuple[type, Callable[[sa.Column[Any], int], Any]], ...] = (
    (sa.Boolean, lambda _, number: number == 0),
    (sa.JSON, lambda _, number: {"zeta": [1, 2.5, None, True], "größe 模型": {"number": number}}),
    (sa.Float, lambda _, number: number + 0.25),
    (sa.Integer, _integer),
    (sa.Date, lambda _, number: date(2026, 1, number + 1)),
    (sa.LargeBinary, lambda column, number: b"\x00\xff" + f"{column.name} {number}".encode()),
    (sa.String, _text),
)

_PREFIXES = {
    "runs.run_uuid": "",
    "datasets.dataset_uuid": "",
    "inputs.input_uuid": "",
    "logged_models.model_id": "m-",
    "trace_info.request_id": "tr-",
    "assessments.assessment_id": "a-",
    "entity_associations.association_id": "",
    "evaluation_datasets.dataset_id": "d-",
    "evaluation_dataset_records.dataset_record_id": "dr-",
    "scorers.scorer_id": "",
    "online_scoring_configs.online_scoring_config_id": "",
    "label_schemas.schema_id": "ls-",
    "review_queues.queue_id": "rq-",
    "issues.issue_id": "iss-",
    "secrets.secret_id": "s-",
    "model_definitions.model_definition_id": "d-",
    "endpoints.endpoint_id": "e-",
    "endpoint_model_mappings.mapping_id": "m-",
    "budget_policies.budget_policy_id": "bp-",
    "guardrails.guardrail_id": "gr-",
    "mcp_access_endpoints.id": "ae-",
    "webhooks.webhook_id": "",
    "jobs.id": "",
}
"""What ids begin with; the rest are hexadecimal digits."""

_SOFT = {
    "experiment_id": "experiments.experiment_id",
    "run_id": "runs.run_uuid",
    "source_run_id": "runs.run_uuid",
    "assessments.span_id": "spans.span_id",
    "endpoint_bindings.resource_id": "scorers.scorer_id",
    "review_queue_items.item_id": "trace_info.request_id",
    "review_queue_label_schemas.schema_id": "label_schemas.schema_id",
    "mcp_server_aliases.version": "mcp_server_versions.version",
    "mcp_access_endpoints.server_version": "mcp_server_versions.version",
    "registered_model_aliases.version": "model_versions.version",
    "skill_aliases.version": "skill_versions.version",
    "latest_metrics.key": "metrics.key",
    "latest_metrics.step": "metrics.step",
    "latest_metrics.timestamp": "metrics.timestamp",
    "latest_metrics.value": "metrics.value",
    "logged_model_metrics.dataset_uuid": "datasets.dataset_uuid",
    "logged_model_metrics.dataset_name": "datasets.name",
    "logged_model_metrics.dataset_digest": "datasets.digest",
    "inputs.source_id": "datasets.dataset_uuid",
    "inputs.destination_id": "runs.run_uuid",
}
"""References that the database does not know, by column or by table and column."""

_TRACES = tuple("tr-" + unique("trace_info.request_id", number) for number in range(ROWS))
_SPANS = tuple(unique("spans.span_id", number, 16) for number in range(ROWS))
_INPUTS = tuple({"question": f"Wo ist {number}? 模型", "at": number} for number in range(ROWS))


def _content(number: int) -> str:
    """A span as MLflow keeps it."""
    trace, span = bytes.fromhex(_TRACES[number][3:]), bytes.fromhex(_SPANS[number])
    start = START * 1_000_000 + number
    return json.dumps(
        {
            "trace_id": base64.b64encode(trace).decode(),
            "span_id": base64.b64encode(span).decode(),
            "parent_span_id": None,
            "name": f"answer größe {number}",
            "start_time_unix_nano": start,
            "end_time_unix_nano": start + 1_000_000,
            "events": [],
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {"mlflow.traceRequestId": f'"{_TRACES[number]}"', "mlflow.spanType": '"LLM"'},
        },
        ensure_ascii=False,
    )


def _secret(column: str) -> tuple[str, ...]:
    return tuple(f"{SECRET}-{column}-{number}" for number in range(ROWS))


_VALUES: dict[str, tuple[Any, ...]] = {
    "workspace": ("default", "default"),
    "lifecycle_stage": ("active", "deleted"),
    "user_id": ("ada", "bob"),
    "created_by": ("ada", "bob"),
    "last_updated_by": ("bob", "ada"),
    "is_nan": (False, False),
    "experiments.experiment_id": (1, 2),
    "experiments.artifact_location": ("gs://artifacts/1", "gs://artifacts/2"),
    "experiments.lifecycle_stage": ("active", "active"),
    "logged_models.lifecycle_stage": ("active", "active"),
    "logged_models.status": (2, 1),
    "logged_models.artifact_location": ("gs://artifacts/1/models/m", "gs://artifacts/2/models/m"),
    "runs.status": ("FINISHED", "RUNNING"),
    "runs.source_type": ("LOCAL", "NOTEBOOK"),
    "runs.artifact_uri": ("gs://artifacts/1/r", "gs://artifacts/2/r"),
    "runs.end_time": (START + 500, None),
    "runs.deleted_time": (None, START + 1500),
    "tags.key": ("mlflow.note.content", "mlflow.user"),
    "inputs.source_type": ("DATASET", "DATASET"),
    "inputs.destination_type": ("RUN", "RUN"),
    "inputs.step": (0, 0),
    "input_tags.name": ("mlflow.data.context", "mlflow.data.context"),
    "model_versions.version": (1, 2),
    "model_versions.current_stage": ("Production", "None"),
    "model_versions.status": ("READY", "READY"),
    "trace_info.request_id": _TRACES,
    "trace_info.status": ("OK", "ERROR"),
    "trace_info.execution_time_ms": (35, 1200),
    "trace_tags.key": ("mlflow.trace.spansLocation", "mlflow.trace.spansLocation"),
    "trace_tags.value": ("TRACKING_STORE", "TRACKING_STORE"),
    "trace_request_metadata.key": ("mlflow.trace_schema.version", "mlflow.trace_schema.version"),
    "trace_request_metadata.value": ("3", "3"),
    "spans.span_id": _SPANS,
    "spans.parent_span_id": (None, None),
    "spans.name": tuple(f"answer größe {number}" for number in range(ROWS)),
    "spans.type": ("LLM", "LLM"),
    "spans.status": ("OK", "OK"),
    "spans.start_time_unix_nano": tuple(START * 1_000_000 + number for number in range(ROWS)),
    "spans.end_time_unix_nano": tuple(START * 1_000_000 + number + 1_000_000 for number in range(ROWS)),
    "spans.content": tuple(_content(number) for number in range(ROWS)),
    "assessments.assessment_type": ("feedback", "expectation"),
    "assessments.value": ("0.5", '"größe"'),
    "assessments.error": ('{"error_code": "TIMEOUT", "error_message": "zu spät"}', None),
    "assessments.source_type": ("HUMAN", "CODE"),
    "assessments.overrides": (None, None),
    "assessments.valid": (True, True),
    "assessments.assessment_metadata": ('{"reviewed": "yes"}', None),
    "assessments.aggregate_value": (0.5, None),
    "assessments.is_numeric_value": (True, False),
    "entity_associations.source_type": ("trace", "evaluation_dataset"),
    "entity_associations.source_id": (_TRACES[0], "d-" + unique("evaluation_datasets.dataset_id", 1)),
    "entity_associations.destination_type": ("run", "experiment"),
    "entity_associations.destination_id": (unique("runs.run_uuid", 0), "2"),
    "evaluation_datasets.digest": ("8a7b0c1d", "1f2e3d4c"),
    "evaluation_datasets.schema": ('{"inputs": {"question": "string"}}', None),
    "evaluation_datasets.profile": ('{"num_records": 1}', None),
    "evaluation_dataset_records.inputs": _INPUTS,
    "evaluation_dataset_records.source": ({"source_type": "HUMAN", "source_data": {"user": "ada"}}, None),
    "evaluation_dataset_records.source_type": ("HUMAN", None),
    "evaluation_dataset_records.input_hash": tuple(
        hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for one in _INPUTS
    ),
    "scorer_versions.serialized_scorer": tuple(
        json.dumps({"name": f"scorer_name {number}", "builtin_scorer_class": "Safety"}) for number in range(ROWS)
    ),
    "online_scoring_configs.sample_rate": (0.5, 0.25),
    "label_schemas.type": ("feedback", "expectation"),
    "label_schemas.input_type": ("pass_fail", "text"),
    "label_schemas.input_config": ('{"positive_label": "gut", "negative_label": "schlecht"}', '{"max_length": 10}'),
    "review_queues.queue_type": ("custom", "user"),
    "review_queue_items.item_type": ("trace", "trace"),
    "review_queue_items.status": ("complete", "pending"),
    "issues.status": ("pending", "resolved"),
    "issues.severity": ("high", None),
    "issues.root_causes": ('["größe"]', None),
    "issues.categories": ('["format"]', None),
    "secrets.encrypted_value": tuple(b"\x00\xff" + one.encode() for one in _secret("encrypted_value")),
    "secrets.wrapped_dek": tuple(b"\x00\xff" + one.encode() for one in _secret("wrapped_dek")),
    "secrets.masked_value": tuple(json.dumps({"api_key": one}) for one in _secret("masked_value")),
    "secrets.auth_config": ('{"region": "eu"}', None),
    "secrets.provider": ("openai", "anthropic"),
    "model_definitions.provider": ("openai", "anthropic"),
    "endpoints.routing_strategy": ("REQUEST_BASED_TRAFFIC_SPLIT", None),
    "endpoints.fallback_config_json": ('{"strategy": "SEQUENTIAL", "max_attempts": 2}', None),
    "endpoint_model_mappings.linkage_type": ("PRIMARY", "FALLBACK"),
    "endpoint_bindings.resource_type": ("scorer", "scorer"),
    "budget_policies.budget_unit": ("USD", "USD"),
    "budget_policies.duration_unit": ("DAYS", "MONTHS"),
    "budget_policies.target_scope": ("GLOBAL", "WORKSPACE"),
    "budget_policies.budget_action": ("ALERT", "REJECT"),
    "guardrails.stage": ("BEFORE", "AFTER"),
    "guardrails.action": ("VALIDATION", "SANITIZATION"),
    "webhooks.url": ("https://hooks.example.com/0", "https://hooks.example.com/1"),
    "webhooks.status": ("ACTIVE", "DISABLED"),
    "webhooks.secret": _secret("secret"),
    "webhooks.deleted_timestamp": (None, START + 1500),
    "webhook_events.entity": ("registered_model", "prompt_version"),
    "webhook_events.action": ("created", "created"),
    "mcp_servers.name": ("com.example/search", "com.example/translate"),
    "mcp_servers.icons": ([{"src": "https://example.com/i.png"}], None),
    "mcp_server_versions.version": ("1.0.0", "1.2.0-rc.1"),
    "mcp_server_versions.version_prerelease_sort_key": ("2", "1114099000021"),
    "mcp_server_versions.status": ("active", "draft"),
    "mcp_server_versions.server_json": tuple(
        {"name": name, "version": version, "description": "finds größe"}
        for name, version in (("com.example/search", "1.0.0"), ("com.example/translate", "1.2.0-rc.1"))
    ),
    "mcp_server_versions.tools": ([{"name": "find", "inputSchema": {"type": "object"}}], None),
    "mcp_server_versions.connect_options": ({}, None),
    "mcp_access_endpoints.transport_type": ("streamable-http", "sse"),
    "mcp_access_endpoints.url": ("https://mcp.example.com/0", "https://mcp.example.com/1"),
    "workspaces.name": ("default", "team-b"),
    "jobs.status": (0, 2),
    "jobs.params": ("{}", "{}"),
    "jobs.token_hash": _secret("token_hash"),
}
"""Values that MLflow understands, by column or by table and column."""
