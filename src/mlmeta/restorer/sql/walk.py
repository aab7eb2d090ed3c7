"""One way through a snapshot, for the plan and for the restore alike, so that the two can't differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlmeta.progress import Progress
from mlmeta.restorer.rewrite import Rewriter
from mlmeta.restorer.sql.experiments import LARGEST_ID, ExperimentStep
from mlmeta.restorer.sql.holdings import Holdings
from mlmeta.restorer.sql.logged_models import LoggedModelStep
from mlmeta.restorer.sql.models import ModelStep
from mlmeta.restorer.sql.outcome import Outcome, Sink
from mlmeta.restorer.sql.runs import RunStep, run_batches
from mlmeta.restorer.sql.stored import StoredForm
from mlmeta.snapshot.selecting import Selected
from mlmeta.tracking.sql.batches import batches


@dataclass(frozen=True)
class Ways:
    """How a restore is done.

    Args:
        on_conflict: one of `WAYS`.
        suffix: put behind a name that is taken.
        kind: of database.
        rewriter: for artifact locations.
        undelete: whether what is deleted in the target becomes active again.
    """

    on_conflict: str
    suffix: str
    kind: str
    rewriter: Rewriter
    undelete: bool = False


def walk(part: Selected, holdings: Holdings, sink: Sink, ways: Ways, progress: Progress, *, compare: bool) -> Outcome:
    """Decide about every record, and hand those that are missing to the sink.

    Args:
        part: of the snapshot.
        holdings: what the target holds.
        sink: takes what is missing.
        ways: how conflicts, names and locations are dealt with.
        progress: units ``experiments``, ``runs``, ``metric points``, ``logged models``,
            ``models``.
        compare: whether runs are looked at, and their histories; a plan for an empty target needs neither.

    Raises:
        SnapshotError: the snapshot is damaged.
        MlmetaError: the target can't be used.
    """
    outcome = Outcome(undelete=ways.undelete)
    form = StoredForm(ways.rewriter)
    experiments = ExperimentStep(holdings, outcome, sink, ways.on_conflict, ways.suffix, LARGEST_ID[ways.kind])
    progress.phase("restoring experiments")
    for record in part.experiments():
        experiments.take(record, form.experiment(record))
        progress.advance("experiments")
    progress.phase("restoring runs")
    if compare or outcome.conflicts or ways.rewriter.is_needed or part.run_count is None:
        runs = RunStep(holdings, outcome, sink, form, experiments.open)
        _runs(part, runs, progress, histories=compare)
        comes: Callable[[str], bool] = runs.coming.__contains__
    else:  # a plan for an empty target: there is nothing to decide about any of them
        outcome.created["runs"] += part.run_count
        comes = bool  # any run that has an id
    progress.phase("restoring logged models")
    logged = LoggedModelStep(holdings, outcome, sink, form, experiments.open, comes)
    for some in batches(part.logged_models()):
        logged.take(some)
        progress.advance("logged models", len(some))
    logged.finish()
    models = ModelStep(holdings, outcome, sink, ways.on_conflict, ways.suffix)
    progress.phase("restoring models")
    for batch in batches(part.models()):
        models.take([form.model(model) for model in batch])
        progress.advance("models", len(batch))
    outcome.notes.extend(ways.rewriter.notes())
    return outcome


def _runs(part: Selected, step: RunStep, progress: Progress, *, histories: bool) -> None:
    for items in run_batches(part.runs_with_lines(histories=histories)):
        step.take(items)
        progress.advance("runs", len(items))
        progress.advance("metric points", sum(item.size for item in items))
    step.finish()
