"""Reads the rows of tables that no record models, as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema.rows import WITHHELD, Row, as_bytes, row_key
from mlmeta.stores.sql.database import SQLITE
from mlmeta.stores.sql.database_tables import Tables, by_bytes
from mlmeta.stores.sql.known_tables import JSON, SECRETS, sounds_secret
from mlmeta.stores.sql.queries import any_text, is_undecodable

ROWS_AT_ONCE = 1000
"""Rows that are fetched together."""

_DEEPEST = 150
"""Lists and objects within each other: a reader of JSON takes 200, and a line has some around."""

Convert = Callable[[Any], Any]

_PLAIN = frozenset({str, int, float, bool, type(None)})
_AS_TEXT = (date, time, timedelta, Decimal, UUID)


@dataclass(frozen=True)
class RowTable:
    """A table whose rows are saved.

    Args:
        name: of the table.
        key: columns of the primary key; all that are read, where it has none.
        rest: the other columns, in the table's order.
        secret: those of them that hold secrets.
        guessed: those of the secret ones of which only the name says so.
        types: of all columns, as SQLAlchemy describes them.
        required: columns that can't be NULL.
    """

    name: str
    key: tuple[str, ...]
    rest: tuple[str, ...]
    secret: frozenset[str]
    guessed: frozenset[str]
    types: Mapping[str, sa.types.TypeEngine[Any]]
    required: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order in which they are read."""
        return (*self.key, *self.rest)

    def is_json(self, column: str) -> bool:
        """Whether a column holds JSON."""
        return column in JSON.get(self.name, ()) or isinstance(self.types[column], sa.JSON)

    def is_boolean(self, column: str) -> bool:
        """Whether a column holds booleans, which MySQL calls numbers of one digit."""
        kind = self.types[column]
        return isinstance(kind, sa.Boolean) or getattr(kind, "display_width", None) == 1


def row_tables(tables: Tables, names: Sequence[str], *, withhold: bool = True) -> dict[str, RowTable]:
    """Some tables of a database, in this order.

    Args:
        tables: of the database.
        names: of those that are wanted.
        withhold: whether secrets are.
    """
    described = tables.described(names) if names else {}
    found = {name: _described(name, *described[name]) for name in names if name in described}
    if withhold:
        return found
    return {name: replace(table, secret=frozenset(), guessed=frozenset()) for name, table in found.items()}


def _described(name: str, columns: Sequence[Any], keys: Sequence[str]) -> RowTable:
    stored = [column for column in columns if "computed" not in column]
    types = {str(column["name"]): column["type"] for column in stored}
    key = tuple(map(str, keys)) or tuple(types)
    known = SECRETS.get(name, ())
    guessed = {c for c, kind in types.items() if c not in (*key, *known) and _may_be_secret(c, kind)}
    return RowTable(
        name,
        key=key,
        rest=tuple(column for column in types if column not in key),
        secret=frozenset({*guessed, *known} & {*types}),
        guessed=frozenset(guessed),
        types=types,
        required=frozenset(str(column["name"]) for column in stored if not column["nullable"]),
    )


def _may_be_secret(column: str, kind: sa.types.TypeEngine[Any]) -> bool:
    return sounds_secret(column) and not isinstance(kind, sa.Integer | sa.Float | sa.Boolean)


class RowReader:
    """Reads rows, table by table.

    Args:
        connection: in a transaction.
        tables: of that database.
    """

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self._dialect = connection.dialect.name

    def stream(self, table: RowTable, condition: ColumnElement[bool]) -> Iterator[Row]:
        """The rows of a table that meet a condition, by key."""
        query = self.select(table).where(condition).order_by(*self._order(table))
        before: Any = object()
        make = self.maker(table)
        for row in self._rows(query):
            found = make(row)
            if len(found.key) == len(table.types) and found.key == before:  # no primary key
                self._tables.oddities.lost("row", row_key(found), "it is there twice, and was saved once")
                continue
            before = found.key
            yield found

    def select(self, table: RowTable) -> sa.Select[Any]:
        """The columns of rows, in the order of `RowTable.names`; of secrets only whether they are there."""
        columns = self._tables[table.name].c
        return sa.select(*(self._column(table, name, columns[name]).label(name) for name in table.names))

    def _column(self, table: RowTable, name: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
        if name in table.secret:
            return sa.case((column.is_not(None), 1))
        if self._dialect == "postgresql" and isinstance(table.types[name], sa.JSON):
            return sa.cast(column, sa.Text)  # the driver would parse it, and lose what tells "1" from 1
        return column

    def _order(self, table: RowTable) -> Iterator[ColumnElement[Any]]:
        columns = self._tables[table.name].c
        for name in table.key:
            column: ColumnElement[Any] = columns[name]
            if isinstance(table.types[name], sa.String):
                column = by_bytes(column, self._dialect)
            if name not in table.required and self._dialect == "postgresql":
                column = column.nulls_first()
            yield column

    def _rows(self, query: sa.Select[Any]) -> Iterator[Any]:
        """All rows; those of SQLite with text that is not UTF-8 more slowly: see `queries.rows_of`."""
        given = 0
        try:
            for row in self._fetched(query):
                given += 1
                yield row
            return
        except OperationalError as error:
            if not is_undecodable(error):
                raise
        with any_text(self._connection):
            yield from self._connection.execute(query.limit(-1).offset(given))

    def _fetched(self, query: sa.Select[Any]) -> Iterator[Any]:
        options = {} if self._dialect == SQLITE else {"stream_results": True, "max_row_buffer": ROWS_AT_ONCE}
        result = self._connection.execute(query, execution_options=options)
        try:
            while rows := result.fetchmany(ROWS_AT_ONCE):
                yield from rows
        finally:
            result.close()

    def maker(self, table: RowTable) -> Callable[[Sequence[Any]], Row]:
        """What makes the record of a row of `select`."""
        width = len(table.key)
        keys, rest = table.key, table.rest
        converts = list(self._converts(table))

        def make(row: Sequence[Any]) -> Row:
            found = list(row)
            for place, convert in converts:
                if found[place] is not None:
                    found[place] = convert(found[place])
            if not _PLAIN.issuperset(map(type, row)):
                found = [_jsonable(value) for value in found]
            key = dict(zip(keys, found, strict=False))
            return Row(table=table.name, key=key, row=dict(zip(rest, found[width:], strict=True)))

        return make

    def _converts(self, table: RowTable) -> Iterator[tuple[int, Convert]]:
        """The columns whose values are something else in a record, by their place."""
        for place, name in enumerate(table.names):
            if name in table.secret:
                yield place, _withheld
            elif table.is_json(name):
                yield place, partial(self._json, table.name, name)
            elif table.is_boolean(name):
                yield place, _boolean

    def _json(self, table: str, column: str, value: Any) -> Any:
        """What a text of JSON says; anything else as it is."""
        if not isinstance(value, str | bytes):
            return value
        try:
            found = json.loads(value, parse_constant=_no_number)
            _require_shallow(found)
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate is an error
        except (ValueError, TypeError, RecursionError):
            self._tables.oddities.lost(table, column, "a value is not JSON, or too deep; it was saved as text")
            return value
        return found


def _require_shallow(value: Any, depth: int = _DEEPEST) -> None:
    """Raise an error for JSON of which a reader of snapshots would take fewer levels."""
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError("it is too deep")
        for one in value.values() if isinstance(value, dict) else value:
            _require_shallow(one, depth - 1)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _withheld(_: Any) -> dict[str, Any]:
    return WITHHELD


def _boolean(value: Any) -> Any:
    return bool(value) if value in (0, 1) else value


def _jsonable(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return as_bytes(bytes(value))
    return str(value) if isinstance(value, _AS_TEXT) else value
