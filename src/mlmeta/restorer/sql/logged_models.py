"""What happens to each logged model of a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mlmeta.restorer.sql.holdings import Holdings
from mlmeta.restorer.sql.outcome import Outcome, Sink
from mlmeta.restorer.sql.stored import StoredForm, same
from mlmeta.schema import LoggedModel


class LoggedModelStep:
    """Decides about logged models, a batch at a time. All runs are restored by then.

    Args:
        holdings: what the target holds.
        outcome: counts and conflicts go here.
        sink: takes what is to be written.
        form: gives stored forms.
        experiments: ids that they may go into.
    """

    def __init__(
        self, holdings: Holdings, outcome: Outcome, sink: Sink, form: StoredForm, experiments: set[str]
    ) -> None:
        self._holdings = holdings
        self._outcome = outcome
        self._sink = sink
        self._form = form
        self._experiments = experiments
        self._shut_out: Counter[str] = Counter()

    def take(self, models: Sequence[LoggedModel]) -> None:
        """Decide about a batch."""
        self._sink.flush()
        existing = self._holdings.logged_models([model.model_id for model in models])
        runs = self._holdings.experiments_of_runs(sorted({m.run_id for model in models for m in model.metrics}))
        for model in models:
            stored = self._form.logged_model(model)
            if model.model_id in existing:
                self._take_existing(stored, existing[model.model_id])
            elif model.experiment_id not in self._experiments:
                self._shut_out[model.experiment_id] += 1
            else:
                self._outcome.created["logged models"] += 1
                self._sink.logged_model(self._with_runs(stored, runs), runs)

    def _take_existing(self, stored: LoggedModel, found: LoggedModel) -> None:
        if same(found, stored):
            self._outcome.present["logged models"] += 1
        else:
            self._outcome.conflict("logged model", stored.model_id, "the target has it with other content")

    def _with_runs(self, model: LoggedModel, runs: dict[str, int]) -> LoggedModel:
        """Without the metrics of runs that are not there, which the database can't hold; that is noted."""
        kept = tuple(metric for metric in model.metrics if metric.run_id in runs)
        if lost := len(model.metrics) - len(kept):
            reason = f"{lost} of its metrics are of runs that are not there, and were left out"
            self._outcome.leave_out("logged model", model.model_id, reason, "metrics")
        return model.model_copy(update={"metrics": kept})

    def finish(self) -> None:
        """Name the experiments whose logged models could not be written with them."""
        for experiment_id, count in self._shut_out.items():
            place = f"of experiment {experiment_id}"
            self._outcome.conflict("logged models", place, f"{count} have no place without it")
