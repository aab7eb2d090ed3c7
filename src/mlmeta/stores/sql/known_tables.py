"""What has to be known of MLflow's tables beside those of `tables`: which are never saved, which hold secrets, and why.

Also which migration makes which table.
"""

from __future__ import annotations

import re
from itertools import takewhile

from mlmeta.schema import AUTH_TABLES

_SCHEMA = "the revision of the schema, which the summary tells"
_CACHE = "a cache that MLflow computes from the traces; a server does not start on one that it did not make"
_WORK = "the server's list of work: what is pending would run once more in a restored store"
_LOCK = "a lock of running processes"
NEVER = {
    "alembic_version": _SCHEMA,
    "alembic_version_auth": _SCHEMA,
    "jobs": _WORK,
    "job_locks": _LOCK,
    "scheduler_leases": _LOCK,
    "sql_trace_metric_daily_rollups": _CACHE,
    "sql_span_cost_daily_rollups": _CACHE,
    "sql_assessment_daily_rollups": _CACHE,
    "sql_trace_rollup_rebuild_queue": _CACHE,
}
"""Tables that are never saved, and why."""

PASSING = ("_alembic_tmp_", "mlmeta_unfinished")
"""What the names of tables begin with that are there only while a schema is made."""

AUTH_VERSION = "alembic_version_auth"
"""Where this table is, the tables of basic-auth are in the same database: `users` may else be anybody's."""
AUTH = frozenset(AUTH_TABLES)
USERS = AUTH_TABLES[0]
OWN_COLUMNS = frozenset({"workspace", "experiment_id"})
"""Columns that tell a table of a newer MLflow from one of somebody else in the same database."""

RECORDS = frozenset(
    {
        "trace_info",
        "trace_tags",
        "trace_request_metadata",
        "spans",
        "assessments",
        "evaluation_datasets",
        "evaluation_dataset_records",
        "evaluation_dataset_tags",
    }
)
"""Tables that are never saved as rows: they have records of their own, or will have."""

SECRETS = {
    "secrets": ("encrypted_value", "wrapped_dek", "masked_value"),
    "webhooks": ("secret",),
    "jobs": ("token_hash",),
}
"""Columns of secrets, by table: no snapshot holds what they hold."""

ACTING = frozenset({"webhooks", "webhook_events", "online_scoring_configs", "budget_policies"})
"""Tables whose rows have a server do something by itself: call others, score traces, refuse requests."""

JSON = {
    "mcp_servers": ("icons",),
    "mcp_server_versions": ("server_json", "tools", "connect_options"),
    "skills": ("icons",),
}
"""Columns of JSON, by table: MariaDB calls them texts."""

_SECRET = re.compile(
    r"(^|_)(secret|password|passwd|passphrase|token|api_?key|access_?key|private_?key|credentials?)"
    r"(_(value|hash|text|data|json))?$|encrypted|masked_value|wrapped_dek"
)


def sounds_secret(column: str) -> bool:
    """Whether a column that is not known has the name of one that holds a secret."""
    return _SECRET.search(column.lower()) is not None


_MIGRATIONS = """
451aebb31d03 90e64c465722 181f10493468
df50e92ffc5e: experiment_tags
7ac759974ad8
89d4b8295536: latest_metrics
2b4d017a5e9b: registered_models, model_versions
cfd24bdc0731 0a8213491aaa
728d730b5ebd: registered_model_tags
27a6a02d2cf1: model_version_tags
84291f40a231 a8c4a736bde6 39d1c3be5f05 c48cb773bb87 bd07f7e963c5 0c779009ac13 cc1f77228345 97727af70f4d
3500859a5d39: registered_model_aliases
7f2a7d5fae7d: datasets, inputs, input_tags
2d6e25af4d3e acf3f17fdcc7
867495a8f9d4: trace_info
5b0e9adcef9c 4465047574b1 f5a4f2784254 0584bdc529eb
400f98739977: logged_models, logged_model_metrics, logged_model_params, logged_model_tags
6953534de441 bda7b8c39065 cbc13b556ace
770bee3ae1dd: assessments
a1b2c3d4e5f6 de4033877273
1a0cddfcaa16: webhooks
534353b11cbc: scorers
71994744cf8e: evaluation_datasets
3da73c924c2f bf29a5ff90ea
1bd49d398cd23: secrets, endpoints
b7c8d9e0f1a2 5d2d30f0abce c9d4e5f6a7b8 2c33131f4dae d3e4f5a6b7c8 d0e1f2a3b4c5 c8d9e0f1a2b3 1b5f0d9ad7c1 e1f2a3b4c5d6
76601a5f987d: issues
c3d6457b6d8a a5b4c3d2e1f0 ae8bbe7743c9 7d34483879f0 da6fb0208061
89d3d66ed43f: label_schemas
b7e4c1a90f23: review_queues
a8b9c0d1e2f3: mcp_servers
"""

REVISIONS = tuple(line.partition(": ")[::2] for line in _MIGRATIONS.split("\n") if line)
"""MLflow's migrations up to 3.17 in their order, with those tables they make whose rows are read or counted."""


def tables_at(revision: str) -> list[str]:
    """The tables that a schema of this revision has; of a newer one: all that are known here."""
    reached = [*takewhile(lambda step: revision not in step[0].split(), REVISIONS)]
    reached.extend(REVISIONS[len(reached) : len(reached) + 1])
    return [table for _, tables in reached for table in tables.split(", ") if table]
