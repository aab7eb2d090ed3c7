"""One way through a snapshot, for the plan and for the restore alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import (
    DATASET_RECORDS,
    DEFAULT_WORKSPACE,
    EVALUATION_DATASETS,
    EXPERIMENTS,
    FOLLOWERS,
    LOGGED_MODELS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    HistoryLine,
    Run,
    leading_kinds,
)
from mlmeta.snapshot.reader import Led
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.existing import ExistingRows
from mlmeta.stores.sql.fitting import Fitting
from mlmeta.stores.sql.joining import renumbered
from mlmeta.stores.sql.kind_steps import ExperimentStep, LoggedModelStep, RunStep, run_batches
from mlmeta.stores.sql.limits import Limits
from mlmeta.stores.sql.model_steps import ModelStep
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.row_step import restore_rows
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.stored import StoredForm
from mlmeta.stores.sql.tables import TABLES
from mlmeta.stores.sql.tally import RestoreTally
from mlmeta.stores.sql.trace_steps import DatasetRecordStep, EvaluationDatasetStep, TraceStep, trace_batches
from mlmeta.stores.sql.writer import RowWriter, Writer
from mlmeta.stores.target import MERGE, RestoreOptions

_NAMED = 20
_STEPS: dict[str, Callable[[RestoreContext], Step[Any]]] = {
    EXPERIMENTS.name: ExperimentStep,
    LOGGED_MODELS.name: LoggedModelStep,
    EVALUATION_DATASETS.name: EvaluationDatasetStep,
    DATASET_RECORDS.name: DatasetRecordStep,
    MODELS.name: ModelStep,
}
"""The kinds, beside runs, of which MLflow wants more than that a record is there once."""


def walk(
    part: Selected,
    existing: ExistingRows,
    writer: Writer,
    options: RestoreOptions,
    limits: Limits,
    progress: Progress,
    *,
    compare: bool,
) -> RestoreTally:
    """Decide about every record, and hand those that are missing to the writer.

    Args:
        part: of the snapshot.
        existing: what the target has already.
        writer: takes what is missing.
        options: how conflicts, locations and deleted records are dealt with.
        limits: what the target can hold.
        progress: units ``metric points``, and the kinds' own.
        compare: whether histories and spans are looked at; a plan for an empty target needs none.

    Raises:
        SnapshotError: the snapshot is damaged.
        MlmetaError: the target can't be used.
    """
    tally = RestoreTally(undelete=options.undelete)
    rewriter = Rewriter(options.rewrite)
    suffix = suffix_of(part.snapshot.timestamp)
    tally.experiment_ids = numbers_in(part, existing, lambda: limits, options)
    form = StoredForm(rewriter, tally.experiment_ids)
    context = RestoreContext(existing, writer, form, limits, options, suffix, tally, part)
    fitting = Fitting(limits, tally, StoredForm(rewriter.again()))
    for kind in (kind for kind in leading_kinds() if kind.name in TABLES and part.snapshot.may_have(kind)):
        progress.phase(f"restoring {kind.counted_as}")
        if kind.name in FOLLOWERS:
            _LED[kind.name](part, context, fitting, progress, compare=compare)
            continue
        step = _STEPS[kind.name](context) if kind.name in _STEPS else Step[Any](TABLES[kind.name], context)
        for batch in batches(fitting.records(part.records(kind)), TABLES[kind.name].at_once):
            step.take(batch)
            progress.advance(kind.counted_as, len(batch))
        step.finish()
    if part.snapshot.may_have(ROWS):
        progress.phase("restoring rows")
        restore_rows(part, context, progress)
    tally.notes.extend(rewriter.notes())
    if tally.experiment_ids:
        names = {one.experiment_id: one.name for one in part.records(EXPERIMENTS)}
        tally.notes.append(_renumbered(tally.experiment_ids, names))
    if tally.replaced:
        tally.notes.append(_replaced(tally.replaced))
    if tally.workspaces:
        writer.do(RowWriter.ensure_workspaces, tally.workspaces)
        tally.notes.append(_needs_workspaces(tally.workspaces))
    return tally


def _needs_workspaces(names: Iterable[str]) -> str:
    named = ", ".join(sorted(names))
    return (
        f"it has other workspaces than `{DEFAULT_WORKSPACE}` ({named}): its server needs --enable-workspaces to start"
    )


def _replaced(told: Sequence[str]) -> str:
    named = "; ".join(told[:_NAMED])
    more = f"; and {len(told) - _NAMED:,} more" if len(told) > _NAMED else ""
    return f"the snapshot's are later, and took the place of what the target had: {named}{more}"


def _renumbered(numbers: Mapping[str, str], names: Mapping[str, str]) -> str:
    told = [f"{names[own]!r} ({own}) is {there}" for own, there in islice(numbers.items(), _NAMED)]
    more = f", and {len(numbers) - _NAMED:,} more" if len(numbers) > _NAMED else ""
    return f"experiments have other numbers in the target than in the snapshot: {', '.join(told)}{more}"


def numbers_in(
    part: Selected, existing: ExistingRows, limits: Callable[[], Limits], options: RestoreOptions
) -> dict[str, str]:
    """The ids of the snapshot's experiments that have another one in the target, or get one: see `renumbered`.

    Only a merge gives any.
    """
    if options.on_conflict != MERGE:
        return {}
    return renumbered(part, existing, limits(), suffix_of(part.snapshot.timestamp))


def suffix_of(timestamp: str) -> str:
    """What `RENAME` puts behind a name that is taken, and a merge where it can't be the same.

    Args:
        timestamp: of the snapshot.
    """
    return f" (restored {timestamp})"


def _runs(part: Selected, context: RestoreContext, fitting: Fitting, progress: Progress, *, compare: bool) -> None:
    step = RunStep(context)
    for batch in run_batches(fitting.runs(part.led(RUNS, lines=compare))):
        step.take_items(batch)
        progress.advance("runs", len(batch))
        progress.advance("metric points", sum(map(_points, batch)))
    step.finish()


def _points(item: Led[Run, HistoryLine]) -> int:
    """Points of a run, as a snapshot counts them: a metric without a history is one."""
    return item.size + len(item.record.metrics.keys() - {line.key for line in item.lines})


def _traces(part: Selected, context: RestoreContext, fitting: Fitting, progress: Progress, *, compare: bool) -> None:
    step = TraceStep(context)
    for batch in trace_batches(fitting.traces(part.led(TRACES, lines=compare))):
        step.take_items(batch)
        progress.advance("traces", len(batch))
        progress.advance("spans", sum(len(item.lines) for item in batch))
    step.finish()


_LED: dict[str, Callable[..., None]] = {RUNS.name: _runs, TRACES.name: _traces}
"""The kinds that others follow."""
