"""The part of a snapshot that a selection means."""

from __future__ import annotations

from collections.abc import Iterator

from mlmeta.errors import UsageError
from mlmeta.schema import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODELS,
    RUNS,
    Experiment,
    LoggedModel,
    RegisteredModel,
    Run,
    Selection,
)
from mlmeta.snapshot.reader import RunHistories, RunLines, Snapshot


class Selected:
    """A snapshot, limited to a selection.

    Args:
        snapshot: the whole.
        selection: the part.

    Raises:
        UsageError: the snapshot has no experiment of a selected name.
    """

    def __init__(self, snapshot: Snapshot, selection: Selection) -> None:
        self.snapshot = snapshot
        self.selection = selection
        self._ids = self._experiment_ids() if selection.experiments else None

    def _experiment_ids(self) -> set[str]:
        names = {e.name: e.experiment_id for e in self.snapshot.records(EXPERIMENTS)}
        for wanted in self.selection.experiments:
            if wanted not in names:
                raise UsageError(
                    f"snapshot {self.snapshot.timestamp} has no experiment {wanted!r}",
                    hint=f"`mlmeta show {self.snapshot.timestamp}` names them",
                )
        return {names[name] for name in self.selection.experiments}

    def experiments(self) -> Iterator[Experiment]:
        """The experiments, by id."""
        for experiment in self.snapshot.records(EXPERIMENTS) if self.selection.runs else ():
            if self._ids is None or experiment.experiment_id in self._ids:
                yield experiment

    def runs(self) -> Iterator[RunHistories]:
        """The runs, with their histories, in the snapshot's order."""
        return (item for item in self.snapshot.runs() if self._means(item.run)) if self.selection.runs else iter(())

    def runs_with_lines(self, *, histories: bool = True) -> Iterator[RunLines]:
        """Like `runs`, with the histories where these are wanted, not taken apart."""
        if not self.selection.runs:
            return iter(())
        without = (RunLines(run, ()) for run in self.snapshot.records(RUNS))
        items = self.snapshot.runs_with_lines() if histories else without
        return (item for item in items if self._means(item.run))

    def _means(self, run: Run) -> bool:
        return self._ids is None or run.experiment_id in self._ids

    def logged_models(self) -> Iterator[LoggedModel]:
        """The logged models, in the snapshot's order."""
        for model in self.snapshot.records(LOGGED_MODELS) if self.selection.runs else ():
            if self._ids is None or model.experiment_id in self._ids:
                yield model

    def models(self) -> Iterator[RegisteredModel]:
        """The registered models, by name; of a limited selection those with a version from one of its runs."""
        if not self.selection.models:
            return
        run_ids = self._run_ids()
        for model in self.snapshot.records(MODELS):
            if run_ids is None or any(version.run_id in run_ids for version in model.versions):
                yield model

    def _run_ids(self) -> set[str] | None:
        if self._ids is None:
            return None
        return {run.run_id for run in self.snapshot.records(RUNS) if run.experiment_id in self._ids}
