"""Reads back what was restored: the snapshot's records beside the target's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

from mlmeta.schema import (
    EXPERIMENTS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    Experiment,
    Record,
    RegisteredModel,
    Row,
    leading_kinds,
)
from mlmeta.snapshot.compare import Item, Pair, with_followers
from mlmeta.snapshot.reader import Led, RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.existing import DEFAULT_ID, DEFAULT_NAME, ExistingRows, experiment_number
from mlmeta.stores.sql.kind_steps import run_batches
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.model_steps import is_other
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.row_target import RowTarget, kept_form, key_of
from mlmeta.stores.sql.rows import RowTable
from mlmeta.stores.sql.stored import StoredForm, as_far_as_known
from mlmeta.stores.sql.tables import TABLES
from mlmeta.stores.sql.trace_steps import trace_batches
from mlmeta.stores.sql.walk import suffix_of
from mlmeta.stores.target import MERGE, RENAME, OnConflict, RestoreOptions

R = TypeVar("R", bound=Record)


def read_back(
    part: Selected, existing: ExistingRows, options: RestoreOptions, numbers: Mapping[str, str]
) -> Iterator[Pair]:
    """Each record of a part of a snapshot beside the target's, which should be the stored form of it.

    Args:
        part: of the snapshot.
        existing: what the target has now.
        options: of the restore.
        numbers: ids of experiments that have another one in the target.
    """
    form = StoredForm(Rewriter(options.rewrite), numbers)
    names = _Names(existing, form, suffix_of(part.snapshot.timestamp), options.on_conflict)
    for kind in leading_kinds():
        if kind is RUNS:
            yield from _runs(part, existing, form)
            continue
        if kind is TRACES:
            yield from _traces(part, existing, form)
            continue
        if kind is ROWS:
            yield from _rows(part, existing, form)
            continue
        if kind.name not in TABLES:
            continue
        for batch in batches(part.records(kind), TABLES[kind.name].at_once):
            if named := _NAMED.get(kind.name):
                yield from (_meant(pair, part) for pair in named(batch, names))
            else:
                yield from _records(batch, TABLES[kind.name], existing, form)


def _meant(pair: Pair, part: Selected) -> Pair:
    """A pair without what of the target's record is not meant, such as other versions of a model."""
    if part.picked is None or not isinstance(pair.right, RegisteredModel):
        return pair
    return replace(pair, right=part.picked.part_of(pair.right))


def _rows(part: Selected, existing: ExistingRows, form: StoredForm) -> Iterator[Pair]:
    with existing.row_target() as target:
        for name, own in groupby(map(form.of_row, part.records(ROWS)), attrgetter("table")):
            table = target.table(name)
            for batch in batches(own):
                found = _found(target, table, batch)
                for row in batch:
                    there = found.get(ROWS.key(row))
                    expected = kept_form(row, there) if there is not None else None
                    yield Pair(row, there, expected)


def _found(target: RowTarget, table: RowTable | None, rows: Sequence[Row]) -> dict[str, Row]:
    """What the target has of some rows, by their keys; what MLflow puts there itself is as it should be."""
    there: dict[str, Row] = {}
    if table is not None:
        known = [row for row in rows if {*table.key} <= row.values.keys()]
        found = target.rows(table, known)
        there = {ROWS.key(row): found[key_of(table, row)] for row in known if key_of(table, row) in found}
    return {ROWS.key(row): row for row in rows if ROWS.key(row) not in there and target.seeded(row)} | there


def _records(batch: Sequence[R], table: KindTable[R], existing: ExistingRows, form: StoredForm) -> Iterator[Pair]:
    there = existing.records(table, [table.row_key(record) for record in batch])
    for record in batch:
        yield _pair(record, form.of(record), there.get(table.kind.key(record)))


def _pair(own: Item, stored: Item, found: Item | None) -> Pair:
    return Pair(own, found, as_far_as_known(stored, found) if found is not None else None)


@dataclass(frozen=True)
class _Names:
    """What it takes to find records whose names are unique, so that a restore may have changed them.

    Args:
        existing: what the target has.
        form: gives stored forms.
        suffix: put behind a name that was taken.
        on_conflict: of the restore.
    """

    existing: ExistingRows
    form: StoredForm
    suffix: str
    on_conflict: OnConflict


def _experiments(batch: Sequence[Experiment], names: _Names) -> Iterator[Pair]:
    return (_experiment(record, names) for record in batch)


def _experiment(record: Experiment, names: _Names) -> Pair:
    stored = names.form.of(record)
    number = experiment_number(stored.experiment_id)
    found = names.existing.experiment(number) if number is not None else None
    if found is None:
        return Pair(record, None)
    if names.on_conflict in {RENAME, MERGE} and found.name == stored.name + names.suffix:
        stored = stored.model_copy(update={"name": found.name})
    if number == DEFAULT_ID and found.name == stored.name == DEFAULT_NAME and names.on_conflict != MERGE:
        return Pair(record, record)  # one that is in use keeps its own attributes; the plan says so
    return _pair(record, stored, found)


def _runs(part: Selected, existing: ExistingRows, form: StoredForm) -> Iterator[Pair]:
    waiting: deque[RunLines] = deque()
    records = existing.runs_with_histories(_asked(run_batches(part.led(RUNS)), waiting))
    for found in with_followers(records):
        if isinstance(found, Led):
            while (own := waiting.popleft()).record.run_id != found.record.run_id:
                yield Pair(own, None)
            yield _pair(own, Led(form.of(own.record), own.lines), found)
    yield from (Pair(own, None) for own in waiting)


def _asked(batches: Iterable[list[RunLines]], waiting: deque[RunLines]) -> Iterator[list[str]]:
    """The ids of runs; the runs themselves wait."""
    for batch in batches:
        waiting.extend(batch)
        yield [item.record.run_id for item in batch]


def _traces(part: Selected, existing: ExistingRows, form: StoredForm) -> Iterator[Pair]:
    for batch in trace_batches(part.led(TRACES)):
        there = {item.record.trace_id: item for item in existing.traces([item.record.trace_id for item in batch])}
        for own in batch:
            found = there.pop(own.record.trace_id, None)
            yield _pair(own, Led(form.of(own.record), own.lines), found)


def _models(models: Sequence[RegisteredModel], names: _Names) -> Iterator[Pair]:
    for workspace, some in groupby(models, attrgetter("workspace")):
        yield from _models_of(workspace, list(some), names)


def _models_of(workspace: str | None, models: Sequence[RegisteredModel], names: _Names) -> Iterator[Pair]:
    suffix = names.suffix if names.on_conflict == RENAME else ""
    wanted = [model.name for model in models]
    found = names.existing.models(workspace, wanted + [name + suffix for name in wanted if suffix])
    for model in models:
        stored = names.form.of(model)
        renamed = stored.model_copy(update={"name": stored.name + suffix})
        candidates = [(one, found[one.name]) for one in (stored, renamed) if one.name in found]
        same = [pair for pair in candidates if not is_other(*pair)] or candidates
        yield _pair(model, *same[0]) if same else Pair(model, None)


_NAMED: dict[str, Callable[[Sequence[Any], _Names], Iterator[Pair]]] = {
    EXPERIMENTS.name: _experiments,
    MODELS.name: _models,
}
"""The kinds whose names are unique, so that a restore may have changed them."""
