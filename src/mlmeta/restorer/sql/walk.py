"""One way through a snapshot, for the plan and for the restore alike, so that the two can't differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlmeta.errors import UsageError
from mlmeta.progress import Progress
from mlmeta.restorer.rewrite import Rewriter
from mlmeta.restorer.sql.experiments import LARGEST_ID, ExperimentStep
from mlmeta.restorer.sql.holdings import Holdings
from mlmeta.restorer.sql.models import ModelStep
from mlmeta.restorer.sql.outcome import Outcome, Sink
from mlmeta.restorer.sql.runs import RunStep, run_batches, without_histories
from mlmeta.restorer.sql.stored import StoredForm
from mlmeta.schema import EXPERIMENTS, MODELS, RUNS, Experiment, RegisteredModel, Selection
from mlmeta.snapshot.reader import RunHistories, Snapshot
from mlmeta.tracking.sql.batches import batches


class Part:
    """A part of a snapshot, as a selection names it.

    Args:
        snapshot: to be read.
        selection: of it.

    Raises:
        UsageError: the snapshot has no experiment of a selected name.
    """

    def __init__(self, snapshot: Snapshot, selection: Selection) -> None:
        self._snapshot = snapshot
        self._selection = selection
        self._ids = self._selected() if selection.experiments else None

    def _selected(self) -> set[str]:
        wanted = set(self._selection.experiments)
        found = {e.experiment_id: e.name for e in self._snapshot.records(EXPERIMENTS) if e.name in wanted}
        if unknown := wanted.difference(found.values()):
            raise UsageError(
                f"snapshot {self._snapshot.timestamp} has no experiment {', '.join(map(repr, sorted(unknown)))}",
                hint=f"`mlmeta show {self._snapshot.timestamp}` lists what it has",
            )
        return set(found)

    def experiments(self) -> Iterator[Experiment]:
        """The selected experiments."""
        if self._selection.runs:
            for record in self._snapshot.records(EXPERIMENTS):
                if self._ids is None or record.experiment_id in self._ids:
                    yield record

    def runs(self, *, histories: bool = True) -> Iterator[RunHistories]:
        """The selected runs, with their histories where these are wanted."""
        if self._selection.runs:
            records = self._snapshot.runs() if histories else without_histories(self._snapshot.records(RUNS))
            for item in records:
                if self._ids is None or item.run.experiment_id in self._ids:
                    yield item

    def models(self) -> Iterator[RegisteredModel]:
        """The selected models: all, or those with a version from a run of a selected experiment."""
        if not self._selection.models:
            return
        if self._ids is None:
            yield from self._snapshot.records(MODELS)
            return
        runs = {run.run_id for run in self._snapshot.records(RUNS) if run.experiment_id in self._ids}
        for model in self._snapshot.records(MODELS):
            if any(version.run_id in runs for version in model.versions):
                yield model


@dataclass(frozen=True)
class Ways:
    """How a restore is done.

    Args:
        on_conflict: one of `WAYS`.
        suffix: put behind a name that is taken.
        kind: of database.
        rewriter: for artifact locations.
    """

    on_conflict: str
    suffix: str
    kind: str
    rewriter: Rewriter


def walk(part: Part, holdings: Holdings, sink: Sink, ways: Ways, progress: Progress, *, compare: bool) -> Outcome:
    """Decide about every record, and hand those that are missing to the sink.

    Args:
        part: of the snapshot.
        holdings: what the target holds.
        sink: takes what is missing.
        ways: how conflicts, names and locations are dealt with.
        progress: units ``experiments``, ``runs``, ``metric points``, ``models``.
        compare: whether metric histories are read; a plan for an empty target needs none.

    Raises:
        SnapshotError: the snapshot is damaged.
        MlmetaError: the target can't be used.
    """
    outcome = Outcome()
    form = StoredForm(ways.rewriter)
    experiments = ExperimentStep(holdings, outcome, sink, ways.on_conflict, ways.suffix, LARGEST_ID[ways.kind])
    progress.phase("restoring experiments")
    for record in part.experiments():
        experiments.take(record, form.experiment(record))
        progress.advance("experiments")
    runs = RunStep(holdings, outcome, sink, form, experiments.open)
    progress.phase("restoring runs")
    for items in run_batches(part.runs(histories=compare)):
        runs.take(items)
        progress.advance("runs", len(items))
        progress.advance("metric points", sum(len(history.step) for item in items for history in item.histories))
    runs.finish()
    models = ModelStep(holdings, outcome, sink, ways.on_conflict, ways.suffix)
    progress.phase("restoring models")
    for batch in batches(part.models()):
        models.take([form.model(model) for model in batch])
        progress.advance("models", len(batch))
    outcome.notes.extend(ways.rewriter.notes())
    return outcome
