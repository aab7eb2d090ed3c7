"""What a restore does with rows of basic-auth: one that is missing is written, where all that it refers to is there.

Nothing is ever overwritten, and no permission comes to somebody else: where the target has another user or role under
the id of one in the snapshot, whatever the snapshot gives to that one is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from itertools import groupby
from operator import attrgetter
from typing import Any

from mlmeta.schema import AUTH, AuthRow, Row
from mlmeta.schema.auth import experiment_of
from mlmeta.schema.words import amount
from mlmeta.stores.sql.queries import BATCH, batches
from mlmeta.stores.sql.row_inserts import RowInserts
from mlmeta.stores.sql.row_target import RowTarget, UnfitError, Values, differing, key_of, stored_value
from mlmeta.stores.sql.rows import RowTable
from mlmeta.stores.sql.tally import RestoreTally
from mlmeta.stores.target import Key

_NAMES = {"users": ("username",), "roles": ("workspace", "name")}
"""What makes a user or role the same, whatever else of it was changed."""

Place = tuple[str, tuple[str, ...]]
"""A table and some of its columns."""


class AuthStep:
    """Decides about rows, a table at a time.

    Args:
        target: what is there.
        names: of the tables of basic-auth there: no row of any other is written.
        tally: what becomes of each row.
        inserts: takes what is missing; None: a plan.
        without: ids of experiments that are not restored.
    """

    def __init__(
        self,
        target: RowTarget,
        names: Set[str],
        tally: RestoreTally,
        inserts: RowInserts | None,
        without: Set[str] = frozenset(),
    ) -> None:
        self._target = target
        self._names = names
        self._tally = tally
        self._inserts = inserts
        self._without = without
        self._have: defaultdict[Place, set[Values]] = defaultdict(set)
        self._foreign: defaultdict[Place, set[Values]] = defaultdict(set)
        self._needed: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)

    def take(self, rows: Sequence[AuthRow]) -> None:
        """Decide about all rows, in the order of their file, and write those that are missing."""
        for name in dict.fromkeys(row.table for row in rows):
            for reference in self._target.references(name):
                self._needed[reference.parent].add(reference.theirs)
        for name, own in groupby(rows, attrgetter("table")):
            table = self._target.table(name) if name in self._names else None
            if table is None:
                self._no_table(name, list(own))
                continue
            for batch in batches(own, BATCH):
                self._take(table, batch)
        if self._inserts is not None:
            self._inserts.finish(self._failed)

    def _no_table(self, name: str, rows: Sequence[AuthRow]) -> None:
        reason = f"the target's basic-auth has no table {name} ({amount(len(rows), 'rows')})"
        self._tally.misfit(AUTH.many, f"of {name}", reason, records=tuple(map(_key, rows)))

    def _take(self, table: RowTable, rows: Sequence[AuthRow]) -> None:
        fitting = [row for row in rows if self._fits(table, row)]
        found = self._target.rows(table, fitting)
        new = []
        for row in fitting:
            there = found.get(key_of(table, row))
            if there is None:
                new.append(row)
            elif columns := differing(row, there):
                self._other(row, there.values, columns)
            else:
                self._tally.present[AUTH.many] += 1
                self._remember(self._have, row)
        self._take_new(table, new)

    def _fits(self, table: RowTable, row: AuthRow) -> bool:
        """Whether the target's table can hold a row; noted, if not."""
        unknown = [name for name, value in row.values.items() if name not in table.types and value is not None]
        lacking = [name for name in table.key if name not in row.values]
        if unknown or lacking:
            what = f"the target has no column {', '.join(unknown)}" if unknown else f"it has no {', '.join(lacking)}"
            self._tally.misfit(*_key(row), what)
        return not unknown and not lacking

    def _other(self, row: AuthRow, there: dict[str, Any], columns: Sequence[str]) -> None:
        """A row whose key the target has, with other content."""
        names = _NAMES.get(row.table, ())
        if names and all(row.values.get(name) == there.get(name) for name in names):
            self._remember(self._have, row)
        else:
            self._remember(self._foreign, row)
        self._conflict(row, f"the target has it with other content: {', '.join(columns)}")

    def _conflict(self, row: AuthRow, reason: str) -> None:
        called = f"{AUTH.key(row)} ({AUTH.title(row)})" if AUTH.title(row) else AUTH.key(row)
        self._tally.conflict(AUTH.one, called, reason, _key(row))

    def _remember(self, where: defaultdict[Place, set[Values]], row: AuthRow) -> None:
        """Other rows may refer to it."""
        for columns in self._needed.get(row.table, ()):
            where[row.table, columns].add(tuple(row.values.get(column) for column in columns))

    def _take_new(self, table: RowTable, rows: Sequence[AuthRow]) -> None:
        taken = self._taken(table.name, rows)
        lacking = self._lacking(table.name, rows)
        for row in rows:
            if reason := taken.get(_key(row)):
                self._remember(self._foreign, row)
                self._conflict(row, reason)
            elif reason := lacking.get(_key(row)) or self._of_another(row):
                self._tally.leave_out_all(AUTH.one, AUTH.key(row), reason, [_key(row)])
            else:
                self._create(table, row)

    def _taken(self, name: str, rows: Sequence[AuthRow]) -> dict[Key, str]:
        """The rows that have what must be unique and belongs to another row, such as a user's name."""
        found: dict[Key, str] = {}
        for columns in self._target.uniques(name):
            wanted = {_key(row): _picked(row, columns) for row in rows}
            there = self._target.there(name, columns, _known(wanted.values()))
            reason = f"its {' and '.join(columns)} belong to another row of the target"
            found.update((key, reason) for key, values in wanted.items() if values in there)
        return found

    def _lacking(self, name: str, rows: Sequence[AuthRow]) -> dict[Key, str]:
        """The rows that refer to something that is not there, or is something else there."""
        found: dict[Key, str] = {}
        for reference in self._target.references(name):
            place = reference.parent, reference.theirs
            wanted = {_key(row): values for row in rows if (values := _picked(row, reference.own)) is not None}
            have, foreign = self._have[place], self._foreign[place]
            there = have | self._target.there(*place, set(wanted.values()) - have - foreign)
            for key, values in wanted.items():
                if values in foreign:
                    found[key] = f"the target has another of {reference.parent} under this {', '.join(reference.own)}"
                elif values not in there:
                    found[key] = f"it refers to {reference.parent} that are missing in the target"
        return found

    def _of_another(self, row: AuthRow) -> str:
        """Why a permission for an experiment would let somebody into another one; empty: it would not."""
        found = experiment_of(row)
        return f"experiment {found} of the snapshot is not restored" if found in self._without else ""

    def _create(self, table: RowTable, row: AuthRow) -> None:
        names = tuple(column for column in row.values if column in table.types)
        try:
            stored = tuple(stored_value(table, column, row.values[column]) for column in names)
        except UnfitError as error:
            self._tally.misfit(*_key(row), f"it {error}")
            return
        if self._inserts is not None:
            self._inserts.add(table.name, names, [(row, stored)])
        self._tally.created[AUTH.many] += 1
        self._remember(self._have, row)

    def _failed(self, row: Row, reason: str, *, is_taken: bool) -> None:
        """A row that the database refused. What it said may repeat the row, so it is not told."""
        del reason
        self._tally.created[AUTH.many] -= 1
        why = "a constraint is in its way" if is_taken else "a column can't hold it"
        self._tally.misfit(AUTH.one, AUTH.key(row), f"the target refused it: {why}")


def _key(row: AuthRow) -> Key:
    return AUTH.one, AUTH.key(row)


def _picked(row: AuthRow, columns: Sequence[str]) -> Values | None:
    """The values of some columns; None where one of them is NULL: to a database, that is equal to nothing."""
    found = tuple(row.values.get(column) for column in columns)
    return None if any(value is None or isinstance(value, dict | list) for value in found) else found


def _known(values: Iterable[Values | None]) -> set[Values]:
    return {one for one in values if one is not None}
