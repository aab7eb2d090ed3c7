"""A store whose model registry is somewhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mlmeta.progress import Progress
from mlmeta.schema import RegisteredModel, Run, Selection
from mlmeta.stores.base import Earlier
from mlmeta.stores.source import Item, Source


class SplitSource:
    """Experiments and runs of one source, the model registry of another.

    Args:
        runs: has the experiments and runs.
        models: has the model registry.
    """

    def __init__(self, runs: Source, models: Source) -> None:
        self._runs = runs
        self._models = models
        self.info = replace(runs.info, point_in_time=False)

    def experiment_names(self) -> set[str]:
        """See `Source.experiment_names`."""
        return self._runs.experiment_names()

    def read(self, selection: Selection, progress: Progress, earlier: Earlier | None = None) -> Iterator[Item]:
        """See `Source.read`."""
        run_ids: set[str] | None = set() if selection.experiments else None
        if selection.runs or run_ids is not None:
            for item in self._runs.read(replace(selection, runs=True, models=False), progress, earlier):
                if run_ids is not None and isinstance(item, Run):
                    run_ids.add(item.run_id)
                if selection.runs:
                    yield item
        if selection.models:
            for item in self._models.read(Selection(runs=False), progress):
                if run_ids is None or not isinstance(item, RegisteredModel) or belongs(item, run_ids):
                    yield item

    def warnings(self) -> tuple[str, ...]:
        """See `Source.warnings`."""
        return (*self._runs.warnings(), *self._models.warnings())

    def close(self) -> None:
        """See `Source.close`."""
        self._runs.close()
        self._models.close()


def belongs(model: RegisteredModel, run_ids: set[str]) -> bool:
    """Whether a model has a version from one of the runs."""
    return any(version.run_id in run_ids for version in model.versions)
