"""Rows of one table with the same columns: what has to be known of them is found out once, as there may be many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from mlmeta.schema import Row
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
    """Rows of a table that have the same columns.

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
