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
    looked_for = [name for name in _OTHER_KINDS if name in tables.names]
    if experiment_ids is not None:
        looked_for = [name for name in looked_for if name in _OF_EXPERIMENTS]
    for name, count in _counts(connection, looked_for, experiment_ids).items():
        if count:
            reason = f"the store has {count}, and this version of mlmeta does not save them"
            yield Skipped(kind=_OTHER_KINDS[name], id="*", reason=reason)
    if experiment_ids is None:
        yield from _other_workspaces(connection, tables)


def _counts(connection: Connection, names: list[str], experiment_ids: list[int] | None) -> dict[str, int]:
    """The rows of each table, asked for at once."""
    if not names:
        return {}
    counts = (_count(name, experiment_ids).scalar_subquery() for name in names)
    return dict(zip(names, connection.execute(sa.select(*counts)).one(), strict=True))


def _count(name: str, experiment_ids: list[int] | None) -> sa.Select[int]:
    table = sa.table(name, sa.column("experiment_id"))
    query = sa.select(sa.func.count()).select_from(table)
    return query if experiment_ids is None else query.where(table.c.experiment_id.in_(experiment_ids))


def _other_workspaces(connection: Connection, tables: Tables) -> Iterator[Skipped]:
    for name, words in {"experiments": "experiments", "registered_models": "registered models"}.items():
        if name in tables and "workspace" in tables[name].c:
            query = sa.select(sa.func.count()).where(tables[name].c["workspace"] != DEFAULT_WORKSPACE)
            if count := connection.execute(query).scalar_one():
                reason = f"{count} are in other workspaces than `{DEFAULT_WORKSPACE}`, which mlmeta does not save"
                yield Skipped(kind=words, id="*", reason=reason)
