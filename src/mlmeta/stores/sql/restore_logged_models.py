"""What happens to each logged model of a snapshot. All runs are restored by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlmeta.schema import LoggedModel, LoggedModelMetric
from mlmeta.stores.sql.changes import Change, changes, others
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.tables import LOGGED_MODEL_TABLE
from mlmeta.stores.sql.writer import RowWriter


class LoggedModelStep(Step[LoggedModel]):
    """Decides about logged models, whose metrics belong to runs as well."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(LOGGED_MODEL_TABLE, context)
        self._runs: Mapping[str, int] = {}

    def take(self, records: Sequence[LoggedModel]) -> None:
        """See `Step.take`."""
        wanted = sorted({metric.run_id for model in records for metric in model.metrics})
        self._runs = self._context.writer.experiments_of_runs(wanted)
        super().take(records)

    def _create(self, stored: LoggedModel) -> None:
        super()._create(stored)
        self._do(RowWriter.logged_model_metrics, self._with_runs(stored), self._runs)

    def _take_changed(self, stored: LoggedModel, found: LoggedModel, differences: Sequence[Change]) -> None:
        """Metrics go with their run when `mlflow gc` removes that; the model stays, and gets them back."""
        missing = _missing(stored, found)
        whole = found.model_copy(update={"metrics": tuple(sorted((*found.metrics, *missing), key=_place))})
        differences = changes(stored, whole)
        super()._take_changed(stored, found, differences)
        if missing and not others(differences):
            self._complete(self._with_runs(stored.model_copy(update={"metrics": missing})))

    def _complete(self, torn: LoggedModel) -> None:
        if torn.metrics:
            self._tally.created["logged model metrics"] += len(torn.metrics)
            self._tally.completed.add((*self._key(torn), "metrics"))
            self._do(RowWriter.logged_model_metrics, torn, self._runs)

    def _with_runs(self, model: LoggedModel) -> LoggedModel:
        """Without the metrics of runs that are not there, which the database can't hold; that is noted."""
        kept = tuple(metric for metric in model.metrics if metric.run_id in self._runs)
        if lost := len(model.metrics) - len(kept):
            reason = f"{lost} of its metrics belong to missing runs, and were left out"
            self._tally.leave_out(*self._key(model), reason, "metrics")
        return model.model_copy(update={"metrics": kept})


def _missing(stored: LoggedModel, found: LoggedModel) -> tuple[LoggedModelMetric, ...]:
    """The metrics that the target does not have, under whatever value."""
    there = {_place(metric) for metric in found.metrics}
    return tuple(metric for metric in stored.metrics if _place(metric) not in there)


def _place(metric: LoggedModelMetric) -> tuple[str, int, int, str]:
    """The primary key of a metric of a model, in the order of a snapshot."""
    return metric.key, metric.step, metric.timestamp, metric.run_id
