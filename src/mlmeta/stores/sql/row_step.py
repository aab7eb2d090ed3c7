"""What a restore does with rows: one that is missing is written, where all that it refers to is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS, ROWS, RUNS, Row
from mlmeta.schema.rows import SEED_WORKSPACE, is_known
from mlmeta.schema.words import amount
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.changes import INCIDENTAL
from mlmeta.stores.sql.known_tables import ACTING
from mlmeta.stores.sql.left_tables import why_no_rows
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.row_inserts import Candidate, NoPlaceError, RowShape
from mlmeta.stores.sql.row_target import Reference, RowTarget, UnfitError, Values, differing, key_of, withheld
from mlmeta.stores.sql.rows import RowTable
from mlmeta.stores.sql.steps import RestoreContext
from mlmeta.stores.sql.tables import COLUMNS
from mlmeta.stores.sql.writer import Planned, RowWriter
from mlmeta.stores.target import NO_PLACE, Key

_AT_ONCE = 2000
"""Rows that are decided about together."""

_DELETED = "deleted_timestamp"
"""A column with the time at which a row was deleted; NULL: it was not."""
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
        step = RowStep(context, target, tables, part.selection.tables)
        for names in step.passes([name for name in tables if not (context.options.inert and name in ACTING)]):
            rows = (context.form.of_row(row) for row in part.records(ROWS) if row.table in names)
            for name, own in groupby(rows, attrgetter("table")):
                for batch in batches(own, _AT_ONCE):
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
        named: tables that may be written, though nothing tells that they are MLflow's.
    """

    def __init__(
        self, context: RestoreContext, target: RowTarget, tables: Mapping[str, int], named: Sequence[str]
    ) -> None:
        self._context = context
        self._tally = context.tally
        self._target = target
        self._tables = tables
        self._named = named
        self._is_plan = isinstance(context.writer, Planned)
        self._needed: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        self._have: defaultdict[tuple[str, tuple[str, ...]], set[Values]] = defaultdict(set)
        self._waiting: list[Row] = []
        self._shapes: dict[tuple[str, ...], RowShape] = {}
        self._left_out: dict[tuple[str, str], list[Key]] = defaultdict(list)
        self._placeless: dict[tuple[str, str], list[Key]] = defaultdict(list)
        self._forbidden: dict[tuple[str, str], list[Key]] = defaultdict(list)
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
        if problem := self._closed(name):
            self._forbidden[name, problem].extend(map(_key, rows))
            return
        for shape, own in groupby(rows, lambda row: self._shape(table, row)):
            self._take(shape, list(own))

    def _closed(self, name: str) -> str:
        """Why no row may be written into a table, whatever the snapshot has; empty: it may.

        Who can write into a storage can make a snapshot with rows of any table.
        """
        if why := why_no_rows(name):
            return f"no row of {name} is ever written: it is {why}"
        if is_known(name) or name in self._named or name in self._target.saved:
            return ""
        return f"nothing tells that the target's table {name} is MLflow's: --table {name} restores its rows"

    def _shape(self, table: RowTable, row: Row) -> RowShape:
        columns = (table.name, *row.key, "", *row.row)
        if columns not in self._shapes:
            self._shapes[columns] = RowShape(table, row, self._context.limits)
        return self._shapes[columns]

    def _take(self, shape: RowShape, rows: Sequence[Row]) -> None:
        fitting = [candidate for row in rows if (candidate := self._fitted(shape, row)) is not None]
        found = self._target.rows(shape.table, [row for row, _ in fitting])
        if not found and not any(self._target.seeded(row) for row, _ in fitting):
            self._take_new(shape, fitting)
            return
        new = []
        for row, values in fitting:
            there = found.get(key_of(shape.table, row))
            if there is None and not self._target.seeded(row):
                new.append((row, values))
            elif there is not None and (columns := differing(row, there)):
                self._take_other(row, there, columns)
            else:
                self._tally.present[ROWS.counted_as] += 1
                self._remember(shape, [(row, values)])
        self._take_new(shape, new)

    def _fitted(self, shape: RowShape, row: Row) -> Candidate | None:
        """A row with what the target would hold for it; None where it can't, which is noted."""
        try:
            return row, shape.stored(row)
        except NoPlaceError as error:
            self._placeless[row.table, str(error)].append(_key(row))
        except UnfitError as error:
            self._tally.misfit(*_key(row), f"it {error}")
        return None

    def _take_other(self, row: Row, there: Row, columns: Sequence[str]) -> None:
        if row.table == "workspaces" and {c: v for c, v in there.values.items() if v is not None} == SEED_WORKSPACE:
            self._context.writer.do(RowWriter.replace_row, row)
            self._tally.created[ROWS.counted_as] += 1
            return
        if row.table == "workspaces":
            self._tally.notes.append(f"the workspace {row.key.get('name')} is there: it keeps its own attributes")
            self._tally.present[ROWS.counted_as] += 1
            self._tally.existing.add(_key(row))
            return
        if _is_deleted(row, there, columns):
            key = _key(row)
            if self._tally.was_there(ROWS.counted_as, key, deleted=True):
                self._tally.completed.add((*key, f"row[{_DELETED}]"))
                self._context.writer.do(RowWriter.undelete_row, row, _DELETED)
            return
        shown = ", ".join(columns)
        self._tally.conflict(*_key(row), f"the target has it with other content: {shown}", _key(row))

    def _remember(self, shape: RowShape, rows: Sequence[Candidate]) -> None:
        """Other rows may refer to these."""
        for columns in self._needed.get(shape.table.name, ()):
            picked = shape.picking(columns)
            self._have[shape.table.name, columns].update(picked(values) for _, values in rows)

    def _take_new(self, shape: RowShape, rows: Sequence[Candidate]) -> None:
        """Write rows that are not there, but for those that can't be."""
        if not rows:
            return
        taken, missing = self._taken(shape, rows), self._missing(shape, rows)
        writable = [row for place, row in enumerate(rows) if place not in taken and place not in missing]
        for place, reason in taken.items():
            key = _key(rows[place][0])
            self._tally.conflict(*key, reason, key)
        for place in missing.keys() - taken.keys():
            if missing[place].parent == shape.table.name:
                self._waiting.append(rows[place][0])
            else:
                self._left_out[shape.table.name, _lacks(missing[place])].append(_key(rows[place][0]))
        self._create(shape, writable)

    def _taken(self, shape: RowShape, rows: Sequence[Candidate]) -> dict[int, str]:
        """The rows that have what must be unique and belongs to another row, by their place, with the reason."""
        found: dict[int, str] = {}
        if self._target.is_empty(shape.table.name):
            return found
        for columns in self._target.uniques(shape.table.name):
            wanted = [shape.picking(columns)(values) for _, values in rows]
            there = self._target.there(shape.table.name, columns, {v for v in wanted if None not in v})
            reason = f"its {' and '.join(columns)} belong to another row of the target"
            found.update((place, reason) for place, values in enumerate(wanted) if values in there)
        return found

    def _missing(self, shape: RowShape, rows: Sequence[Candidate]) -> dict[int, Reference]:
        """The rows that refer to something that is not there, by their place, and by which reference."""
        found: dict[int, Reference] = {}
        for reference in self._target.references(shape.table.name):
            picked = shape.picking(reference.own)
            wanted = [picked(values) for _, values in rows]
            asked = {values for values in wanted if None not in values}  # NULL refers to nothing
            if lacking := asked - self._there(reference, asked):
                found.update((place, reference) for place, values in enumerate(wanted) if values in lacking)
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

    def _create(self, shape: RowShape, rows: Sequence[Candidate]) -> None:
        self._context.writer.do(RowWriter.table_rows, shape.table.name, shape.names, rows)
        self._tally.created[ROWS.counted_as] += len(rows)
        self._remember(shape, rows)
        if shape.table.secret:
            for row, _ in rows:
                if columns := withheld(shape.table, row):
                    self._secrets[f"{shape.table.name} ({', '.join(columns)})"].append(_called(row))

    def end(self, name: str) -> None:
        """After the last row of a table: those that wait for another one of it."""
        table = self._target.table(name)
        while table is not None and self._waiting:
            waiting, self._waiting = self._waiting, []
            before = self._tally.created[ROWS.counted_as]
            self.take(name, waiting)
            if self._tally.created[ROWS.counted_as] == before:
                own = next(one for one in self._target.references(name) if one.parent == name)
                self._left_out[name, _lacks(own)].extend(map(_key, self._waiting))
                self._waiting = []

    def finish(self) -> None:
        """Name what was not written, and what people have to enter again."""
        self._context.writer.do(RowWriter.flush_rows, self._failed)
        for (name, reason), keys in self._left_out.items():
            self._tally.leave_out_all(ROWS.many, f"of {name}", f"{len(keys):,} refer to {reason}", keys)
        for (name, reason), keys in self._forbidden.items():
            self._tally.leave_out_all(ROWS.many, f"of {name}", f"{reason} ({amount(len(keys), 'rows')})", keys)
        for (name, reason), keys in self._placeless.items():
            self._tally.leave_out_all(
                ROWS.many, f"of {name}", f"{reason} ({amount(len(keys), 'rows')})", keys, NO_PLACE
            )
        for what, rows in self._secrets.items():
            self._tally.notes.append(f"to be entered again, as no snapshot holds secrets: {what} of {', '.join(rows)}")

    def _failed(self, row: Row, reason: str, *, is_taken: bool) -> None:
        """A row that the database refused."""
        self._tally.created[ROWS.counted_as] -= 1
        if is_taken:
            self._tally.conflict(*_key(row), f"the target refused it: {reason}", _key(row))
        else:
            self._tally.misfit(*_key(row), f"the target refused it: {reason}")


def _key(row: Row) -> Key:
    return ROWS.one, ROWS.key(row)


def _is_deleted(row: Row, there: Row, columns: Sequence[str]) -> bool:
    """Whether the target has nothing else of a row than that it is deleted; MLflow keeps deleted webhooks."""
    is_lost = _DELETED in row.row and row.row[_DELETED] is None and there.row.get(_DELETED) is not None
    return is_lost and {*columns} <= {_DELETED, *INCIDENTAL}


def _lacks(reference: Reference) -> str:
    return f"{reference.parent} that are missing in the target ({', '.join(reference.own)})"


def _called(row: Row) -> str:
    """A row as people know it."""
    names: Any = [row.row.get(column) for column in ("secret_name", "name") if row.row.get(column)]
    key = ", ".join(map(str, row.key.values()))
    return f"{names[0]} ({key})" if names else key
