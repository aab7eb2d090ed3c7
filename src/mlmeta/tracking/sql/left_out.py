"""What a database holds that a snapshot does not take: counted, so that nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Skipped
from mlmeta.tracking.sql.tables import DEFAULT_WORKSPACE, Tables

_OTHER_KINDS = {
    "trace_info": "traces",
    "assessments": "assessments of traces",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "issues": "issues",
    "webhooks": "webhooks",
    "endpoints": "gateway endpoints",
    "secrets": "gateway secrets",
    "mcp_servers": "MCP servers",
    "label_schemas": "label schemas",
    "review_queues": "review queues",
}
_OF_EXPERIMENTS = {"trace_info"}


def left_out(connection: Connection, tables: Tables, experiment_ids: list[int] | None) -> Iterator[Skipped]:
    """One `Skipped` for each kind of thing that is left out.

    Args:
        connection: in a transaction.
        tables: that exist.
        experiment_ids: only what belongs to these is looked for; None: everything.
    """
    for name, words in _OTHER_KINDS.items():
        looked_for = name in tables.names and (experiment_ids is None or name in _OF_EXPERIMENTS)
        if looked_for and (count := _count(connection, name, experiment_ids)):
            reason = f"the store has {count}, and this version of mlmeta does not save them"
            yield Skipped(kind=words, id="*", reason=reason)
    if experiment_ids is None:
        yield from _other_workspaces(connection, tables)


def _count(connection: Connection, name: str, experiment_ids: list[int] | None) -> int:
    table = sa.table(name, sa.column("experiment_id"))
    query = sa.select(sa.func.count()).select_from(table)
    if experiment_ids is not None:
        query = query.where(table.c.experiment_id.in_(experiment_ids))
    count: int = connection.execute(query).scalar_one()
    return count


def _other_workspaces(connection: Connection, tables: Tables) -> Iterator[Skipped]:
    for name, words in {"experiments": "experiments", "registered_models": "registered models"}.items():
        if name in tables and "workspace" in tables[name].c:
            query = sa.select(sa.func.count()).where(tables[name].c["workspace"] != DEFAULT_WORKSPACE)
            if count := connection.execute(query).scalar_one():
                reason = f"{count} are in other workspaces than `{DEFAULT_WORKSPACE}`, which mlmeta does not save"
                yield Skipped(kind=words, id="*", reason=reason)
