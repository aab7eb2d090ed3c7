"""The order of records in a snapshot."""

from __future__ import annotations

from mlmeta.errors import InternalError
from mlmeta.schema import (
    Experiment,
    HistoryLine,
    Line,
    LoggedModel,
    MetricHistory,
    RegisteredModel,
    Run,
    experiment_order,
    logged_model_order,
    run_order,
)


class OrderGuard:
    """Holds records against the order that the format promises.

    After each history, `replaces_latest` says how many of its points the run's latest metrics had already: 0 or 1.
    """

    def __init__(self) -> None:
        self._experiment: tuple[int, int, str] | None = None
        self._run: tuple[tuple[int, int, str], tuple[bool, int, str]] | None = None
        self._history: tuple[str, str] = ("", "")
        self._current = Run(run_id="", experiment_id="", status="")
        self._logged_model: tuple[tuple[int, int, str], tuple[int, str]] | None = None
        self._model: str | None = None
        self.replaces_latest = 0

    def check(self, record: Line) -> None:
        """Take the next record.

        Raises:
            InternalError: it is out of order.
        """
        if isinstance(record, Experiment):
            key = experiment_order(record.experiment_id)
            self._must_grow("experiments", self._experiment, key)
            self._experiment = key
        elif isinstance(record, Run):
            place = (experiment_order(record.experiment_id), run_order(record))
            self._must_grow("runs", self._run, place)
            self._run, self._current, self._history = place, record, ("", "")
        elif isinstance(record, MetricHistory | HistoryLine):
            self._check_history(record)
        elif isinstance(record, LoggedModel):
            where = (experiment_order(record.experiment_id), logged_model_order(record))
            self._must_grow("logged models", self._logged_model, where)
            self._logged_model = where
        elif isinstance(record, RegisteredModel):
            self._must_grow("models", self._model, record.name)
            self._model = record.name

    def _check_history(self, record: MetricHistory | HistoryLine) -> None:
        if record.run_id != self._current.run_id or record.key < self._history[1]:
            raise InternalError(f"the history of {record.key} of run {record.run_id} came out of order")
        continues = self._history == (record.run_id, record.key)
        self.replaces_latest = int(not continues and record.key in self._current.metrics)
        self._history = (record.run_id, record.key)

    @staticmethod
    def _must_grow(what: str, previous: object, key: object) -> None:
        if previous is not None and not previous < key:  # type: ignore[operator]
            raise InternalError(f"{what} came out of order: {key} after {previous}")
