"""What happens to each logged model of a snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set

from mlmeta.schema import LoggedModel, LoggedModelMetric
from mlmeta.stores.sql.changes import changes, is_deleted, others
from mlmeta.stores.sql.holdings import Holdings
from mlmeta.stores.sql.outcome import Outcome, Sink
from mlmeta.stores.sql.stored import StoredForm, same
from mlmeta.stores.sql.tables import LOGGED_MODEL_TABLE
from mlmeta.stores.target import Key


class LoggedModelStep:
    """Decides about logged models, a batch at a time. All runs are restored by then.

    Args:
        holdings: what the target holds.
        outcome: counts and conflicts go here.
        sink: takes what is to be written.
        form: gives stored forms.
        experiments: ids that they may go into.
        coming: ids of runs that will be written, for a plan, which can't look them up.
    """

    def __init__(
        self,
        holdings: Holdings,
        outcome: Outcome,
        sink: Sink,
        form: StoredForm,
        experiments: set[str],
        coming: Set[str],
    ) -> None:
        self._coming = coming
        self._holdings = holdings
        self._outcome = outcome
        self._sink = sink
        self._form = form
        self._experiments = experiments
        self._shut_out: defaultdict[str, list[Key]] = defaultdict(list)

    def take(self, models: Sequence[LoggedModel]) -> None:
        """Decide about a batch."""
        self._sink.flush()
        existing = self._holdings.logged_models([model.model_id for model in models])
        runs = self._runs(models)
        for model in models:
            stored = self._form.of(model)
            if model.model_id in existing:
                self._take_existing(stored, existing[model.model_id], runs)
            elif model.experiment_id not in self._experiments:
                self._shut_out[model.experiment_id].append(("logged model", model.model_id))
            elif problem := LOGGED_MODEL_TABLE.state_problem(stored):
                self._outcome.misfit("logged model", stored.model_id, f"it {problem}")
            else:
                self._outcome.created["logged models"] += 1
                self._sink.logged_model(self._with_runs(stored, runs), runs)

    def _runs(self, models: Sequence[LoggedModel]) -> dict[str, int]:
        """The runs of their metrics that are in the target, or will be, with their experiments."""
        wanted = sorted({metric.run_id for model in models for metric in model.metrics})
        coming = {run_id: 0 for run_id in wanted if run_id in self._coming}
        return {**coming, **self._holdings.experiments_of_runs(wanted)}

    def _take_existing(self, stored: LoggedModel, found: LoggedModel, runs: dict[str, int]) -> None:
        key = ("logged model", stored.model_id)
        if same(found, stored):
            self._outcome.was_there("logged models", key)
            return
        missing = _missing(stored, found)
        whole = found.model_copy(update={"metrics": tuple(sorted((*found.metrics, *missing), key=_place))})
        differences = changes(stored, whole)
        if reason := others(differences):
            self._outcome.conflict(*key, f"the target has it with other content: {reason}", key)
            return
        if self._outcome.was_there("logged models", key, differences, deleted=is_deleted(stored, found)):
            self._sink.undelete("logged_models", stored.model_id)
        self._complete(stored.model_copy(update={"metrics": missing}), runs)

    def _complete(self, torn: LoggedModel, runs: dict[str, int]) -> None:
        """Metrics go with their run when `mlflow gc` removes that; the model stays."""
        whole = self._with_runs(torn, runs) if torn.metrics else torn
        if whole.metrics:
            self._outcome.created["logged model metrics"] += len(whole.metrics)
            self._outcome.completed.add(("logged model", torn.model_id, "metrics"))
            self._sink.logged_model_metrics(whole, runs)

    def _with_runs(self, model: LoggedModel, runs: dict[str, int]) -> LoggedModel:
        """Without the metrics of runs that are not there, which the database can't hold; that is noted."""
        kept = tuple(metric for metric in model.metrics if metric.run_id in runs)
        if lost := len(model.metrics) - len(kept):
            reason = f"{lost} of its metrics are of runs that are not there, and were left out"
            self._outcome.leave_out("logged model", model.model_id, reason, "metrics")
        return model.model_copy(update={"metrics": kept})

    def finish(self) -> None:
        """Name the experiments whose logged models could not be written with them."""
        for experiment_id, models in self._shut_out.items():
            reason = f"{len(models)} have no place without it"
            self._outcome.conflict("logged models", f"of experiment {experiment_id}", reason, *models)


def _missing(stored: LoggedModel, found: LoggedModel) -> tuple[LoggedModelMetric, ...]:
    """The metrics that the target does not have, under whatever value."""
    there = {_place(metric) for metric in found.metrics}
    return tuple(metric for metric in stored.metrics if _place(metric) not in there)


def _place(metric: LoggedModelMetric) -> tuple[str, int, int, str]:
    """The primary key of a metric of a model, in the order of a snapshot."""
    return metric.key, metric.step, metric.timestamp, metric.run_id
