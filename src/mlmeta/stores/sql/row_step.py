"""What a restore does with rows: one that is missing is written, where all that it refers to is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS, ROWS, RUNS, Row
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.known_tables import ACTING
from mlmeta.stores.sql.queries import BATCH, batches
from mlmeta.stores.sql.row_target import (
    Reference,
    RowTarget,
    UnfitError,
    Values,
    differing,
    key_of,
    stored_value,
    withheld,
)
from mlmeta.stores.sql.rows import RowTable
from mlmeta.stores.sql.steps import RestoreContext
from mlmeta.stores.sql.tables import COLUMNS
from mlmeta.stores.sql.writer import Planned, RowWriter
from mlmeta.stores.target import NO_PLACE, Key

_EXPERIMENTS = (EXPERIMENTS.name, ("experiment_id",))


def restore_rows(part: Selected, context: RestoreContext, progress: Progress) -> None:
    """Decide about all rows of a snapshot, and hand those that are missing to the writer.

    Args:
        part: of the snapshot.
        context: of the restore.
        progress: unit ``rows``.
    """
    tables = part.tables
    with context.existing.row_target() as target:
        step = RowStep(context, target, tables)
        for names in step.passes([name for name in tables if not (context.options.inert and name in ACTING)]):
            rows = (row for row in part.records(ROWS) if row.table in names)
            for name, own in groupby(rows, attrgetter("table")):
                for batch in batches(own, BATCH):
                    step.take(name, batch)
                    progress.advance("rows", len(batch))
                step.end(name)
        step.finish()
    if part.other_rows:
        others = ", ".join(f"{count:,} of {name}" for name, count in part.other_rows.items())
        context.tally.notes.append(f"rows that belong to none of the selected experiments are left out: {others}")


class RowStep:
    """Decides about rows, a batch of one table at a time.

    Args:
        context: of the restore.
        target: what is there.
        tables: that the snapshot has rows of.
    """

    def __init__(self, context: RestoreContext, target: RowTarget, tables: Mapping[str, int]) -> None:
        self._context = context
        self._tally = context.tally
        self._target = target
        self._tables = tables
        self._is_plan = isinstance(context.writer, Planned)
        self._needed: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        self._have: defaultdict[tuple[str, tuple[str, ...]], set[Values]] = defaultdict(set)
        self._waiting: list[Row] = []
        self._left_out: dict[tuple[str, str], list[Key]] = defaultdict(list)
        self._placeless: dict[tuple[str, str], list[Key]] = defaultdict(list)
        self._secrets: dict[str, list[str]] = defaultdict(list)
        for name in tables:
            for reference in target.references(name):
                self._needed[reference.parent].add(reference.theirs)
        if tables:
            context.writer.do(RowWriter.flush)

    def passes(self, names: Sequence[str]) -> Iterator[set[str]]:
        """The tables that can be filled on one way through a snapshot, parents before children; then the rest."""
        parents = {name: {one.parent for one in self._target.references(name)} & {*names} - {name} for name in names}
        waiting = list(names)
        while waiting:
            ready: set[str] = set()
            for name in waiting:  # in the order of the snapshot
                if not parents[name] & ({*waiting} - ready):
                    ready.add(name)
            ready = ready or {*waiting}  # tables that refer to one another
            yield ready
            waiting = [name for name in waiting if name not in ready]

    def take(self, name: str, rows: Sequence[Row]) -> None:
        """Decide about rows of a table."""
        table = self._target.table(name)
        if table is None:
            self._placeless[name, f"the target has no table {name}"].extend(map(_key, rows))
            return
        fitting = [row for row in rows if self._fits(table, row)]
        found = self._target.rows(table, fitting)
        new = []
        for row in fitting:
            there = found.get(key_of(table, row))
            if there is None and self._target.seeded(row):
                self._present(row)
            elif there is None:
                new.append(row)
            elif columns := differing(row, there):
                self._take_other(row, columns)
            else:
                self._present(row)
        self._take_new(table, new)

    def _fits(self, table: RowTable, row: Row) -> bool:
        """Whether the target's table can hold a row; noted, if not."""
        for column, value in row.values.items():
            if column not in table.types:
                if value is not None:
                    self._placeless[table.name, f"the target has no column {table.name}.{column}"].append(_key(row))
                    return False
                continue
            try:
                problem = self._context.limits.column(table.name, column).problem(stored_value(table, column, value))
            except UnfitError as error:
                problem = str(error)
            if problem:
                self._tally.misfit(*_key(row), f"it {problem}")
                return False
        if lacking := [column for column in table.key if column not in row.values]:
            self._placeless[table.name, f"it has no {', '.join(lacking)}, which the target goes by"].append(_key(row))
        return not lacking

    def _take_other(self, row: Row, columns: Sequence[str]) -> None:
        if row.table == "workspaces":
            self._tally.notes.append(f"the workspace {row.key.get('name')} is there: it keeps its own attributes")
            self._present(row)
            self._tally.existing.add(_key(row))
            return
        shown = ", ".join(columns)
        self._tally.conflict(*_key(row), f"the target has it with other content: {shown}", _key(row))

    def _present(self, row: Row) -> None:
        self._tally.present[ROWS.counted_as] += 1
        self._remember(row)

    def _remember(self, row: Row) -> None:
        """Other rows may refer to it."""
        for columns in self._needed.get(row.table, ()):
            values = row.values
            self._have[row.table, columns].add(tuple(values.get(column) for column in columns))

    def _take_new(self, table: RowTable, rows: Sequence[Row]) -> None:
        taken = self._taken(table, rows)
        missing = self._missing(table.name, rows)
        for row in rows:
            if reason := taken.get(_key(row)):
                self._tally.conflict(*_key(row), reason, _key(row))
            elif (reference := missing.get(_key(row))) is None:
                self._create(table, row)
            elif reference.parent == table.name:
                self._waiting.append(row)
            else:
                self._left_out[row.table, _lacks(reference)].append(_key(row))

    def _taken(self, table: RowTable, rows: Sequence[Row]) -> dict[Key, str]:
        """The rows that have what must be unique and belongs to another row, with the reason."""
        found: dict[Key, str] = {}
        if self._target.is_empty(table.name):
            return found
        for columns in self._target.uniques(table.name):
            wanted = {_key(row): _picked(row, columns) for row in rows}
            there = self._target.there(table.name, columns, {v for v in wanted.values() if v is not None})
            reason = f"its {' and '.join(columns)} belong to another row of the target"
            found.update((key, reason) for key, values in wanted.items() if values in there)
        return found

    def _missing(self, name: str, rows: Sequence[Row]) -> dict[Key, Reference]:
        """The rows that refer to something that is not there, and by which reference."""
        found: dict[Key, Reference] = {}
        for reference in self._target.references(name):
            wanted = {_key(row): values for row in rows if (values := _picked(row, reference.own)) is not None}
            there = self._there(reference, set(wanted.values()))
            found.update((key, reference) for key, values in wanted.items() if values not in there)
        return found

    def _there(self, reference: Reference, values: set[Values]) -> set[Values]:
        """Which of the values of a foreign key are there, or will be."""
        if (reference.parent, reference.theirs) == _EXPERIMENTS:
            return {(value,) for (value,) in values if str(value) in self._context.open}
        if (reference.parent, reference.theirs) == (RUNS.name, ("run_uuid",)):
            runs = self._context.writer.experiments_of_runs([str(value) for (value,) in values])
            return {(value,) for (value,) in values if value in runs}
        have = self._have[reference.parent, reference.theirs] & values
        if rest := values - have:
            have = have | self._target.there(reference.parent, reference.theirs, rest)
        planned = self._is_plan and reference.parent not in self._tables and reference.parent in COLUMNS
        return values if planned else have

    def _create(self, table: RowTable, row: Row) -> None:
        values = row.values
        names = tuple(column for column in values if column in table.types)
        stored = tuple(stored_value(table, column, values[column]) for column in names)
        self._context.writer.do(RowWriter.table_row, table.name, names, stored, _key(row))
        self._tally.created[ROWS.counted_as] += 1
        self._remember(row)
        if columns := withheld(row):
            self._secrets[f"{table.name} ({', '.join(columns)})"].append(_called(row))

    def end(self, name: str) -> None:
        """After the last row of a table: those that wait for another one of it."""
        table = self._target.table(name)
        while table is not None and self._waiting:
            waiting, self._waiting = self._waiting, []
            self._take_new(table, waiting)
            if len(self._waiting) == len(waiting):
                for row in self._waiting:
                    reference = self._missing(name, [row])[_key(row)]
                    self._left_out[name, _lacks(reference)].append(_key(row))
                self._waiting = []

    def finish(self) -> None:
        """Name what was not written, and what people have to enter again."""
        self._context.writer.do(RowWriter.flush_rows, self._failed)
        for (name, reason), keys in self._left_out.items():
            self._tally.leave_out_all(ROWS.many, f"of {name}", f"{len(keys):,} refer to {reason}", keys)
        for (name, reason), keys in self._placeless.items():
            self._tally.leave_out_all(ROWS.many, f"of {name}", f"{reason} ({len(keys):,} rows)", keys, NO_PLACE)
        for what, rows in self._secrets.items():
            self._tally.notes.append(f"to be entered again, as no snapshot holds secrets: {what} of {', '.join(rows)}")

    def _failed(self, key: Key, reason: str, *, is_taken: bool) -> None:
        """A row that the database refused."""
        self._tally.created[ROWS.counted_as] -= 1
        if is_taken:
            self._tally.conflict(*key, f"the target refused it: {reason}", key)
        else:
            self._tally.misfit(*key, f"the target refused it: {reason}")


def _key(row: Row) -> Key:
    return ROWS.one, ROWS.key(row)


def _picked(row: Row, columns: Sequence[str]) -> Values | None:
    """The values of some columns; None where one of them is NULL: to a database, that is equal to nothing."""
    values = row.values
    found = tuple(values.get(column) for column in columns)
    return None if any(value is None or isinstance(value, dict | list) for value in found) else found


def _lacks(reference: Reference) -> str:
    return f"{reference.parent} that are missing in the target ({', '.join(reference.own)})"


def _called(row: Row) -> str:
    """A row as people know it."""
    names: Any = [row.row.get(column) for column in ("secret_name", "name") if row.row.get(column)]
    key = ", ".join(map(str, row.key.values()))
    return f"{names[0]} ({key})" if names else key
