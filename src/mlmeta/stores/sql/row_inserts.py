"""Rows that no record models on their way into a table: what its columns get for them, and the inserts.

A database may refuse one for more reasons than can be foreseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from mlmeta.redaction import cut
from mlmeta.schema import Row
from mlmeta.schema.rows import is_known
from mlmeta.stores.sql.inserts import TableInsert
from mlmeta.stores.sql.limits import Limits
from mlmeta.stores.sql.row_target import UnfitError, Values, stored_value
from mlmeta.stores.sql.rows import RowTable

Candidate = tuple[Row, Values]
"""A row, and what the columns of the target get for it."""

_STRUCTURES = {dict, list}
_BIGGEST = (1 << 63) - 1


class NoPlaceError(Exception):
    """The target has no column for something; the text says which."""


class RowShape:
    """Rows of a table that have the same columns: what has to be known of them is found out once.

    Args:
        table: of the target.
        row: one of them.
        limits: of the target.
    """

    def __init__(self, table: RowTable, row: Row, limits: Limits) -> None:
        self.table = table
        columns = (*row.key, *row.row)
        kept = [place for place, column in enumerate(columns) if column in table.types]
        self.names = tuple(columns[place] for place in kept)
        """The columns that are written."""
        self._columns = columns
        self._absent = [(place, column) for place, column in enumerate(columns) if column not in table.types]
        self._lacking = [column for column in table.key if column not in columns]
        self._kept = kept
        self._others = [place for place in kept if table.is_json(columns[place]) or columns[place] in table.secret]
        self._floats = [place for place in kept if isinstance(table.types[columns[place]], sa.Float)]
        problems = [(place, limits.column(table.name, columns[place]).problem) for place in kept]
        self._limits = problems if limits.are_any else []

    def stored(self, row: Row) -> Values:
        """What the columns of `names` get for a row.

        Raises:
            NoPlaceError: the target lacks a column.
            UnfitError: a column can't hold a value.
        """
        if self._lacking:
            raise NoPlaceError(f"they have no {', '.join(self._lacking)}, which the target goes by")
        values: list[Any] = [*row.key.values(), *row.row.values()]
        for place, column in self._absent:
            if values[place] is not None:
                raise NoPlaceError(f"the target has no column {self.table.name}.{column}")
        self._convert(values)
        for place, problem in self._limits:
            if why := problem(values[place]):
                raise UnfitError(why)
        return tuple(values) if not self._absent else tuple(values[place] for place in self._kept)

    def _convert(self, values: list[Any]) -> None:
        for place in self._kept if not _STRUCTURES.isdisjoint(map(type, values)) else self._others:
            values[place] = stored_value(self.table, self._columns[place], values[place])
        for place in self._kept:
            if type(values[place]) is int and abs(values[place]) > _BIGGEST:
                values[place] = stored_value(self.table, self._columns[place], values[place])
        for place in self._floats:
            if type(values[place]) is str:  # NaN or an infinity
                values[place] = stored_value(self.table, self._columns[place], values[place])

    def picking(self, columns: Sequence[str]) -> Callable[[Values], Values]:
        """What picks some columns of stored values; those that are not there are NULL."""
        places = [self.names.index(column) for column in columns if column in self.names]
        if len(places) < len(columns):
            return lambda _: (None,)
        if len(places) > 1:
            return itemgetter(*places)
        (place,) = places
        return lambda values: (values[place],)


HELD = 5000
"""Rows that are written together."""

Columns = tuple[str, ...]


class Failed(Protocol):
    """Is told of a row that the database refused."""

    def __call__(self, row: Row, reason: str, *, is_taken: bool) -> None:
        """Take note of one.

        Args:
            row: its record.
            reason: what the database said.
            is_taken: whether a constraint was in the way, such as a name that another row has.
        """


class RowInserts:
    """Gathers rows and writes them, those of a table together and in the order of tables.

    Args:
        connection: in a transaction that may write.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inserts: dict[tuple[str, Columns], TableInsert] = {}
        self._now: tuple[str, Columns] = ("", ())
        self._held: list[Candidate] = []
        self._refused: list[tuple[Row, str, bool]] = []

    def add(self, table: str, columns: Columns, rows: Sequence[Candidate]) -> None:
        """Gather rows."""
        if self._now != (table, columns) or len(self._held) >= HELD:
            self._flush()
            self._now = table, columns
        self._held.extend(rows)

    def finish(self, failed: Failed) -> None:
        """Write what is held, and tell of all that was refused."""
        self._flush()
        for row, reason, is_taken in self._refused:
            failed(row, reason, is_taken=is_taken)
        for table, _ in self._inserts:
            self._raise_counter(table)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held or self._write(held) is None:
            return
        for one in held:
            if error := self._write([one]):
                reason = cut(" ".join(str(error.orig).split()), 200)
                self._refused.append((one[0], reason, isinstance(error, IntegrityError)))

    def _write(self, held: Sequence[Candidate]) -> DBAPIError | None:
        """Write rows; the error that they met, where they were not written."""
        if self._now not in self._inserts:
            self._inserts[self._now] = TableInsert(self._connection, *self._now, there=self._now[1])
        try:
            with self._connection.begin_nested():
                self._inserts[self._now].write(self._connection, [values for _, values in held])
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return error
        return None

    def _raise_counter(self, table: str) -> None:
        """Have the next row of a table whose key PostgreSQL counts get a number after all that are there."""
        if self._connection.dialect.name != "postgresql" or is_known(table):
            return
        keys: Iterable[str] = sa.inspect(self._connection).get_pk_constraint(table)["constrained_columns"]
        quote = self._connection.dialect.identifier_preparer.quote
        for column in keys:
            asked = {"table": quote(table), "column": column}
            find = sa.text("SELECT pg_get_serial_sequence(:table, :column)")
            sequence = self._connection.execute(find, asked).scalar()
            if sequence is not None:
                highest = f"SELECT max({quote(column)}) FROM {quote(table)}"  # noqa: S608
                move = "SELECT setval(:sequence, greatest(({0}), (SELECT last_value FROM {1})))"
                self._connection.execute(sa.text(move.format(highest, sequence)), {"sequence": sequence})
