"""Whether a database has anything that people made. Its schema may be any version's, or not there at all."""

from __future__ import annotations

import sqlalchemy as sa

from mlmeta.stores.sql.database import SQLITE, parse

_MADE = ("runs", "trace_info", "logged_models", "registered_models", "evaluation_datasets")


def has_content(uri: str) -> bool:
    """Whether there is any run, trace, model or dataset. A database that does not exist has none.

    Raises:
        UsageError: it is not a URI of a database, or its driver is not installed.
        ConnectionFailedError: it can't be read.
    """
    database = parse(uri)
    if database.kind == SQLITE and not database.path.exists():
        return False
    with database.reading() as connection:
        return holds_content(connection)


def holds_content(connection: sa.Connection) -> bool:
    """`has_content` of the database that is connected to."""
    names = set(sa.inspect(connection).get_table_names())
    queries = [sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1) for name in _MADE if name in names]
    return any(connection.execute(query).first() is not None for query in queries)
