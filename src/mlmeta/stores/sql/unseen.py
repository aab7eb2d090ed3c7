"""Tables that a store has by its schema, and that can't be read: hidden from the user, gone, or replaced by a view.

MySQL hides what a user has no right to. MLflow's `alembic_version` says what must be there all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Skipped
from mlmeta.stores.sql.database_tables import Tables

_REVISIONS = """
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
"""MLflow's migrations up to 3.17 in their order, with those tables they make whose rows are read or counted."""

_STEPS = tuple(line.partition(": ")[::2] for line in _REVISIONS.split("\n") if line)


def expected(revision: str) -> list[str]:
    """The tables that a schema of this revision has; of a newer one: all that are known here."""
    reached = [*takewhile(lambda step: revision not in step[0].split(), _STEPS)]
    reached.extend(_STEPS[len(reached) : len(reached) + 1])
    return [table for _, tables in reached for table in tables.split(", ") if table]


def unseen(connection: Connection, tables: Tables) -> Iterator[Skipped]:
    """One `Skipped` for each table that must be there and can't be read."""
    missing = [name for name in expected(tables.revision or "") if name not in tables]
    if not missing or tables.revision is None:
        return
    views = set(sa.inspect(connection).get_view_names())
    for name in missing:
        yield Skipped(kind="table", id=name, reason=_AS_VIEW if name in views else _MISSING)


_AS_VIEW = "there is a view in its place, which may show less than there is, so it was not read"
_MISSING = "a store of this schema has it, and it can't be seen: it is gone, or the user has no right to read it"
