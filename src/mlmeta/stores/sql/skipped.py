"""What a database holds that a snapshot does not take: counted, so that nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Skipped
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.known_tables import AUTH, AUTH_VERSION, AUTH_WORDS, NEVER, OWN_COLUMNS, PARTS, SAVED, WORDS
from mlmeta.stores.sql.tables import DEFAULT_WORKSPACE

_EXPERIMENT = "experiment_id"
_UNREADABLE = """
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
AND relkind IN ('r', 'p') AND NOT has_table_privilege(oid, 'SELECT')
"""


def left_out(connection: Connection, tables: Tables, experiment_ids: list[int] | None) -> Iterator[Skipped]:
    """One `Skipped` for each kind of thing that is left out.

    Args:
        connection: in a transaction.
        tables: that exist.
        experiment_ids: only what belongs to these is looked for; None: everything.
    """
    names = _left_out_tables(tables)
    if experiment_ids is not None:
        names = [name for name in names if _EXPERIMENT in tables[name].c]
    closed = _unreadable(connection) & set(names)
    counts = _counts(connection, [name for name in names if name not in closed], experiment_ids)
    yield from _named(counts, tables)
    for name in sorted(closed):
        yield Skipped(kind=_words(name), id="*", reason=f"this user may not read the table {name}, which may have some")
    if experiment_ids is None:
        yield from _other_workspaces(connection, tables)


def _left_out_tables(tables: Tables) -> list[str]:
    """MLflow's tables that a snapshot does not hold, those of versions to come as well, in order."""
    mlflows = set(SAVED) | NEVER | set(WORDS) | {part for part in PARTS if part not in AUTH}
    if AUTH_VERSION in tables.names:
        mlflows |= AUTH
    unknown = {name for name in tables.names if name not in mlflows | AUTH}
    while new := {name for name in unknown if _is_mlflows(name, tables, mlflows)}:
        mlflows |= new
        unknown -= new
    return sorted((mlflows & tables.names) - SAVED - NEVER)


def _is_mlflows(name: str, tables: Tables, mlflows: set[str]) -> bool:
    """Whether a table that this version of mlmeta does not know hangs on MLflow's, or is made like one."""
    return not OWN_COLUMNS.isdisjoint(tables[name].c.keys()) or not mlflows.isdisjoint(tables.parents(name))


def _unreadable(connection: Connection) -> set[str]:
    """Tables that this user may not read: asking for their rows would end the transaction."""
    if connection.dialect.name != "postgresql":
        return set()
    return set(connection.exec_driver_sql(_UNREADABLE).scalars())


def _counts(connection: Connection, names: list[str], experiment_ids: list[int] | None) -> dict[str, int]:
    """The rows of each table that has any, asked for at once."""
    if not names:
        return {}
    counts = (_count(name, experiment_ids).scalar_subquery() for name in names)
    found = zip(names, connection.execute(sa.select(*counts)).one(), strict=True)
    return {name: count for name, count in found if count}


def _count(name: str, experiment_ids: list[int] | None) -> sa.Select[int]:
    table = sa.table(name, sa.column(_EXPERIMENT))
    query = sa.select(sa.func.count()).select_from(table)
    return query if experiment_ids is None else query.where(table.c.experiment_id.in_(experiment_ids))


def _named(counts: dict[str, int], tables: Tables) -> Iterator[Skipped]:
    """A line for each table, those that are a part of another's things on the same line."""
    parts: dict[str, list[str]] = {name: [] for name in counts}
    wholes = {name: _whole(name, tables, counts) for name in counts}
    for name, count in counts.items():
        if wholes[name] != name:
            parts[wholes[name]].append(f"{count} in {name}")
    for name, count in counts.items():
        if wholes[name] == name:
            more = f" (with {', '.join(parts[name])})" if parts[name] else ""
            reason = f"the store has {count}{more}, and this version of mlmeta does not save them"
            yield Skipped(kind=_words(name), id="*", reason=reason)


def _whole(name: str, tables: Tables, there: Iterable[str]) -> str:
    """The table whose things a table's rows are a part of; itself, where there is none with rows."""
    known = name in WORDS or name in PARTS or name in AUTH
    wholes = [PARTS[name]] if name in PARTS else [] if known else sorted(tables.parents(name) - {name})
    found = next((whole for whole in wholes if whole in there), name)
    return found if found == name or known else _whole(found, tables, set(there) - {name})


def _words(name: str) -> str:
    return WORDS.get(name) or AUTH_WORDS.get(name) or name.replace("_", " ")


def _other_workspaces(connection: Connection, tables: Tables) -> Iterator[Skipped]:
    for name, words in {"experiments": "experiments", "registered_models": "registered models"}.items():
        if name in tables and "workspace" in tables[name].c:
            workspace = tables[name].c["workspace"]
            query = sa.select(workspace, sa.func.count()).where(workspace != DEFAULT_WORKSPACE).group_by(workspace)
            if counts := {str(found): count for found, count in connection.execute(query)}:
                listed = ", ".join(f"{found} ({counts[found]})" for found in sorted(counts))
                reason = f"{sum(counts.values())} are in other workspaces than `{DEFAULT_WORKSPACE}`"
                yield Skipped(kind=words, id="*", reason=f"{reason}, which mlmeta does not save: {listed}")
    if "workspaces" in tables:
        column: sa.ColumnClause[str] = sa.column("name")
        query = sa.select(column).select_from(sa.table("workspaces", column)).where(column != DEFAULT_WORKSPACE)
        if names := sorted(connection.execute(query).scalars()):
            reason = f"there are others than `{DEFAULT_WORKSPACE}`, which mlmeta does not save: {', '.join(names)}"
            yield Skipped(kind="workspaces", id="*", reason=reason)
