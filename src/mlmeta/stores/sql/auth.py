"""Reads users, password hashes, roles and permissions of basic-auth from their database."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import IncompatibleStoreError
from mlmeta.progress import Progress
from mlmeta.schema import AUTH_TABLES, AuthRow, Row, auth_table_order
from mlmeta.stores.source import AuthInfo, SourceItem
from mlmeta.stores.sql.auth_schema import has_users, revision_of
from mlmeta.stores.sql.database import SQLITE, parse, reading_still
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.known_tables import NEVER, PASSING
from mlmeta.stores.sql.rows import RowReader, row_tables

_TRACKING = "experiments"
_ALL: frozenset[str] = frozenset()


class AuthSource:
    """A database of basic-auth, which may be any beside MLflow's own. Nothing is ever created or migrated.

    Args:
        uri: as for `SqlSource`.

    Raises:
        UsageError: the URI is not valid, or its driver is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._database = parse(uri)
        self._warnings: tuple[str, ...] = ()

    @cached_property
    def info(self) -> AuthInfo:
        """Which database it is.

        Raises:
            ConnectionFailedError: it can't be read, does not exist, or has no users of basic-auth.
        """
        with self._database.reading() as connection:
            return auth_info(connection, self._database.shown)

    def read(self, progress: Progress) -> Iterator[SourceItem]:
        """All rows as of one moment, in the order of their file."""
        with reading_still(self._database) as still:
            hide_parameters(still.connection)
            tables = Tables(still.connection, self._database.shown, required=_ALL)
            yield from read_auth(still.connection, tables, progress)
            self._warnings = (*_others(still.connection, tables), *tables.oddities.notices())
            yield from tables.oddities.skipped()

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the last `read`."""
        return self._warnings


def auth_info(connection: Connection, shown: str) -> AuthInfo:
    """Which database of basic-auth this is.

    Raises:
        IncompatibleStoreError: it is none.
    """
    if not has_users(connection):
        raise IncompatibleStoreError(
            f"{shown} has no users of basic-auth",
            hint="name the database that `database_uri` in the server's basic_auth.ini names (--auth-uri)",
        )
    return AuthInfo(uri=shown, revision=revision_of(connection))


def hide_parameters(connection: Connection) -> None:
    """Have errors of this connection not repeat what was written or asked for."""
    connection.engine.hide_parameters = True


def read_auth(connection: Connection, tables: Tables, progress: Progress) -> Iterator[AuthRow]:
    """The rows of all tables of basic-auth, in the order of their file.

    Args:
        connection: in a transaction.
        tables: of that database.
        progress: unit ``auth rows``.
    """
    progress.phase("reading users and permissions")
    reader = RowReader(connection, tables)
    names = sorted(auth_tables(connection, tables), key=auth_table_order)
    for table in row_tables(tables, names, withhold=False).values():
        for row in reader.stream(table, sa.true()):
            yield auth_row(row)
            progress.advance("auth rows")


def auth_row(row: Row) -> AuthRow:
    """A row as one of basic-auth."""
    return AuthRow(table=row.table, key=row.key, row=row.row)


def auth_tables(connection: Connection, tables: Tables) -> set[str]:
    """The tables of basic-auth in a database.

    Those of versions to come as well, but where the tracking store, whose rows these are, is there.
    """
    known = {*AUTH_TABLES} & tables.names
    if _TRACKING in tables:
        return known
    unknown = {name for name in tables.names - known - {*NEVER} if not name.startswith(PASSING)}
    if connection.dialect.name == SQLITE:  # a file is nobody else's
        return known | unknown
    while new := {name for name in unknown if not known.isdisjoint(tables.parents(name))}:
        known |= new
        unknown -= new
    return known


def _others(connection: Connection, tables: Tables) -> Iterator[str]:
    if _TRACKING in tables:
        return
    others = tables.names - auth_tables(connection, tables) - {*NEVER}
    if others:
        yield (
            f"{len(others)} tables beside those of basic-auth are somebody else's by all that can be told, and were "
            f"not saved: {', '.join(sorted(others))}"
        )
