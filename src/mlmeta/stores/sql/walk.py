"""One way through a snapshot, for the plan and for the restore alike, so that the two can't differ."""

from __future__ import annotations

from collections.abc import Iterable

from mlmeta.progress import Progress
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.fitting import Fitting
from mlmeta.stores.sql.holdings import Holdings
from mlmeta.stores.sql.limits import Limits
from mlmeta.stores.sql.outcome import Outcome, Sink
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.restore_experiments import ExperimentStep
from mlmeta.stores.sql.restore_logged_models import LoggedModelStep
from mlmeta.stores.sql.restore_models import ModelStep
from mlmeta.stores.sql.restore_runs import RunStep, run_batches
from mlmeta.stores.sql.stored import StoredForm
from mlmeta.stores.target import RestoreOptions


def walk(
    part: Selected,
    holdings: Holdings,
    sink: Sink,
    options: RestoreOptions,
    limits: Limits,
    progress: Progress,
    *,
    compare: bool,
) -> Outcome:
    """Decide about every record, and hand those that are missing to the sink.

    Args:
        part: of the snapshot.
        holdings: what the target holds.
        sink: takes what is missing.
        options: how conflicts, locations and deleted records are dealt with.
        limits: what the target can hold.
        progress: units ``experiments``, ``runs``, ``metric points``, ``logged models``,
            ``models``.
        compare: whether histories are looked at; a plan for an empty target needs none.

    Raises:
        SnapshotError: the snapshot is damaged.
        MlmetaError: the target can't be used.
    """
    outcome = Outcome(undelete=options.undelete)
    rewriter = Rewriter(options.rewrite)
    suffix = suffix_of(part.snapshot.timestamp)
    form = StoredForm(rewriter)
    fitting = Fitting(limits, outcome, StoredForm(rewriter.again()))
    experiments = ExperimentStep(holdings, outcome, sink, options.on_conflict, suffix, limits)
    progress.phase("restoring experiments")
    for record in fitting.records(part.experiments()):
        experiments.take(record, form.of(record))
        progress.advance("experiments")
    progress.phase("restoring runs")
    runs = RunStep(holdings, outcome, sink, form, experiments.open)
    _runs(fitting.runs(part.runs_with_lines(histories=compare)), runs, progress)
    progress.phase("restoring logged models")
    logged = LoggedModelStep(holdings, outcome, sink, form, experiments.open, runs.coming)
    for some in batches(fitting.records(part.logged_models())):
        logged.take(some)
        progress.advance("logged models", len(some))
    logged.finish()
    models = ModelStep(holdings, outcome, sink, options.on_conflict, suffix, limits)
    progress.phase("restoring models")
    for batch in batches(fitting.records(part.models())):
        models.take([form.of(model) for model in batch])
        progress.advance("models", len(batch))
    outcome.notes.extend(rewriter.notes())
    return outcome


def suffix_of(timestamp: str) -> str:
    """What `RENAME` puts behind a name that is taken.

    Args:
        timestamp: of the snapshot.
    """
    return f" (restored {timestamp})"


def _runs(items: Iterable[RunLines], step: RunStep, progress: Progress) -> None:
    for batch in run_batches(items):
        step.take(batch)
        progress.advance("runs", len(batch))
        progress.advance("metric points", sum(item.size for item in batch))
    step.finish()
