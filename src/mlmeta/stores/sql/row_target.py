"""What a target has of the tables that no record models, and what it will hold for a row."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema.rows import WITHHELD, Row, bytes_of
from mlmeta.snapshot.equality import same
from mlmeta.stores.sql.database import POSTGRESQL, SQLITE
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.inserts import PARAMETERS
from mlmeta.stores.sql.left_tables import LeftTables
from mlmeta.stores.sql.queries import batches, rows_of
from mlmeta.stores.sql.rows import RowReader, RowTable, row_tables

Values = tuple[Any, ...]

_COMPARABLE = (sa.String, sa.Integer, sa.Float, sa.Boolean, sa.LargeBinary)
_SCHEMAS = "label_schemas"
_TAKEN: tuple[tuple[Any, tuple[type, ...]], ...] = (
    (sa.Boolean, (bool,)),
    (sa.Integer, (int,)),
    (sa.Float, (int, float)),
    (sa.LargeBinary, (bytes,)),
)
"""What PostgreSQL compares columns with; others only with texts, or it ends the transaction."""
_INT64, _UINT64 = range(-(1 << 63), 1 << 63), range(1 << 64)


@dataclass(frozen=True)
class Reference:
    """A foreign key.

    Args:
        own: columns of the table that has it.
        parent: the table that it refers to.
        theirs: the columns there.
    """

    own: tuple[str, ...]
    parent: str
    theirs: tuple[str, ...]


class RowTarget:
    """Looks rows up in a target.

    Args:
        connection: in a transaction.
        tables: of that database.
        withhold: whether secrets are.
    """

    def __init__(self, connection: Connection, tables: Tables, *, withhold: bool = True) -> None:
        self._connection = connection
        self._tables = tables
        self._withhold = withhold
        self._reader = RowReader(connection, tables)
        self._described: dict[str, RowTable | None] = {}
        self._references: dict[str, list[Reference]] = {}
        self._uniques: dict[str, list[tuple[str, ...]]] = {}
        self._makers: dict[str, Callable[[Sequence[Any]], Row]] = {}
        self._empty: dict[str, bool] = {}

    @cached_property
    def _inspector(self) -> sa.Inspector:
        return sa.inspect(self._connection)

    def table(self, name: str) -> RowTable | None:
        """A table; None where there is none."""
        if name not in self._described:
            found = row_tables(self._tables, [name], withhold=self._withhold) if name in self._tables else {}
            self._described[name] = found.get(name)
        return self._described[name]

    @cached_property
    def saved(self) -> frozenset[str]:
        """The tables whose rows a backup would save by itself: others are somebody else's, or must not be written."""
        return frozenset(LeftTables(self._connection, self._tables, None).saved)

    def references(self, name: str) -> list[Reference]:
        """The foreign keys of a table, each once."""
        if name not in self._references:
            keys = self._tables.foreign_keys(name) if name in self._tables else []
            found = {Reference(tuple(own), parent, tuple(theirs)) for own, parent, theirs in keys}
            self._references[name] = sorted(found, key=lambda one: (one.parent, one.own))
        return self._references[name]

    def uniques(self, name: str) -> list[tuple[str, ...]]:
        """Columns that are unique together, beside the primary key."""
        if name not in self._uniques:
            found: set[tuple[str, ...]] = set()
            constraints: list[Any] = [*self._inspector.get_indexes(name), *self._inspector.get_unique_constraints(name)]
            for one in constraints:
                if one.get("unique", True) and None not in one["column_names"]:
                    found.add(tuple(map(str, one["column_names"])))
            self._uniques[name] = sorted(found)
        return self._uniques[name]

    def is_empty(self, name: str) -> bool:
        """Whether a table had no row when it was first asked for."""
        if name not in self._empty:
            query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
            self._empty[name] = self._connection.execute(query).first() is None
        return self._empty[name]

    def rows(self, table: RowTable, rows: Sequence[Row]) -> dict[Values, Row]:
        """What is there under the keys of some rows, by `key_of`.

        Args:
            table: of the target.
            rows: of the snapshot.
        """
        if not rows or self.is_empty(table.name):
            return {}
        if table.name not in self._makers:
            self._makers[table.name] = self._reader.maker(table)
        make, query = self._makers[table.name], self._reader.select(table)
        keys = list(_stored_keys(table, rows))
        conditions = self._conditions(table.name, table.key, keys)
        found = (make(row) for where in conditions for row in self._asked(query.where(where)))
        return {key_of(table, row): row for row in found}

    def there(self, name: str, columns: Sequence[str], values: Collection[Values]) -> set[Values]:
        """Which of some values are in these columns of a table."""
        if not values or name not in self._tables or self.is_empty(name):
            return set()
        query = sa.select(*(self._tables[name].c[column] for column in columns))
        conditions = self._conditions(name, columns, values)
        return {tuple(row) for where in conditions for row in self._asked(query.where(where))}

    def _asked(self, query: sa.Select[Any]) -> Sequence[Any]:
        return rows_of(self._connection, query)

    def _conditions(
        self, name: str, columns: Sequence[str], values: Collection[Values]
    ) -> Iterator[ColumnElement[bool]]:
        """The condition for rows with some values, in parts that every database takes."""
        asked = [self._to_compare(name, column) for column in columns]
        if self._connection.dialect.name == POSTGRESQL:
            values = list(self._comparable(name, columns, values))
        for some in batches(values, max(1, PARAMETERS // len(columns))):
            if len(columns) == 1:
                yield asked[0].in_([value for (value,) in some])
            else:
                yield sa.tuple_(*asked).in_(some)

    def _comparable(self, name: str, columns: Sequence[str], values: Collection[Values]) -> Iterator[Values]:
        """The values that the columns can have at all."""
        described = self.table(name)
        kinds = [described.types.get(column) if described is not None else None for column in columns]
        taken = [next((types for kind, types in _TAKEN if isinstance(one, kind)), (str,)) for one in kinds]
        for some in values:
            if all(type(value) in types for value, types in zip(some, taken, strict=True)):
                yield some

    def _to_compare(self, name: str, column: str) -> ColumnElement[Any]:
        """A column to compare with what a snapshot has for it."""
        if self._connection.dialect.name == SQLITE:
            return self._tables[name].c[column]
        described = self.table(name)
        kind = described.types.get(column) if described is not None else None
        if kind is None or isinstance(kind, _COMPARABLE):
            return sa.column(column, kind)
        return sa.cast(sa.column(column), sa.Text)

    def seeded(self, row: Row) -> bool:
        """Whether the target has what MLflow itself put there in the place of a row: see `left_tables`."""
        if row.table == _SCHEMAS and row.row.get("is_default") is True and _SCHEMAS in self._tables:
            columns = self._tables[_SCHEMAS].c
            if {"is_default", "experiment_id"} <= {*columns.keys()}:
                where = sa.and_(columns.experiment_id == row.row.get("experiment_id"), columns.is_default == sa.true())
                return self._connection.execute(sa.select(columns.schema_id).where(where)).first() is not None
        return False


class UnfitError(Exception):
    """A column can't hold a value; the text follows "it"."""


def stored_value(table: RowTable, column: str, value: Any) -> Any:
    """What a column gets for a value of a snapshot.

    Raises:
        UnfitError: there is no such thing for it.
    """
    kind = table.types[column]
    if table.is_json(column):
        return json.dumps(value) if value is not None or column in table.required else None
    if value == WITHHELD or (column in table.secret and value is not None):  # no snapshot gives a store its secrets
        return _blank(kind) if column in table.required else None
    if isinstance(value, dict | list):
        if (content := bytes_of(value)) is None:
            raise UnfitError(f"has JSON for {table.name}.{column}, which holds none in the target")
        return content
    if isinstance(kind, sa.Float) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if type(value) is int and value not in (_UINT64 if getattr(kind, "unsigned", False) else _INT64):
        raise UnfitError(f"has a number of {len(str(abs(value)))} digits, which {table.name}.{column} can't hold")
    return value


def key_of(table: RowTable, row: Row) -> Values:
    """The key of a row, in the order of a table's."""
    return tuple(_hashable(row.values[column]) for column in table.key)


def _hashable(value: Any) -> Any:
    return (bytes_of(value) or json.dumps(value)) if isinstance(value, dict | list) else value


def _stored_keys(table: RowTable, rows: Sequence[Row]) -> Iterator[Values]:
    """The keys of rows as the database has them; what it can't have, it does not have."""
    for row in rows:
        with contextlib.suppress(UnfitError):
            yield tuple(stored_value(table, column, row.values[column]) for column in table.key)


def _blank(kind: sa.types.TypeEngine[Any]) -> str | bytes:
    return b"" if isinstance(kind, sa.LargeBinary) else ""


def withheld(table: RowTable, row: Row) -> list[str]:
    """The columns of a row whose content a restore does not bring back, as it is secret."""
    given = ((column, value) for column, value in row.row.items() if value is not None)
    return [column for column, value in given if value == WITHHELD or column in table.secret]


def kept_form(own: Row, found: Row) -> Row:
    """The form in which a target should have a row: with its own secrets, and with its own other columns.

    Args:
        own: the snapshot's.
        found: the target's.
    """
    if own.row == found.row and own.key == found.key:
        return own
    theirs = found.values
    hidden = {column for column, value in (*own.row.items(), *found.row.items()) if value == WITHHELD}
    row = {
        column: theirs[column] if column in hidden else own.values.get(column, theirs[column]) for column in found.row
    }
    lost = {column: value for column, value in own.row.items() if column not in theirs and value is not None}
    return found.model_copy(update={"key": own.key, "row": {**row, **lost}})


def differing(own: Row, found: Row) -> list[str]:
    """The columns in which the target has something else than a restore would write, secrets aside."""
    if own.row == found.row and own.key == found.key:
        return []
    expected = kept_form(own, found)
    if expected.to_line() == found.to_line():
        return []
    before, after = expected.values, found.values
    return [column for column in before if column not in after or not same(before[column], after[column])]
