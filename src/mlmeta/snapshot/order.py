"""The order of records in a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlmeta.errors import InternalError
from mlmeta.schema import (
    Experiment,
    History,
    HistoryLine,
    Line,
    LoggedModel,
    MetricHistory,
    Record,
    RegisteredModel,
    Run,
    experiment_order,
    logged_model_order,
    run_order,
)
from mlmeta.snapshot.reader import RunLines


def place(item: Record | RunLines) -> tuple[Any, ...]:
    """Where an experiment, run, logged model or registered model stands among those of a store, kind after kind."""
    if isinstance(item, RunLines):
        item = item.run
    if isinstance(item, Run):
        return 1, experiment_order(item.experiment_id), run_order(item)
    if isinstance(item, Experiment):
        return 0, experiment_order(item.experiment_id)
    if isinstance(item, LoggedModel):
        return 2, experiment_order(item.experiment_id), logged_model_order(item)
    if isinstance(item, RegisteredModel):
        return 3, item.name
    raise InternalError(f"a {type(item).__name__} has no place of its own")


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
        self._checks: dict[type, Callable[[Any], None]] = {
            Experiment: self._check_experiment,
            Run: self._check_run,
            MetricHistory: self._check_history,
            HistoryLine: self._check_history,
            LoggedModel: self._check_logged_model,
            RegisteredModel: self._check_model,
        }

    def check(self, record: Line) -> None:
        """Take the next record.

        Raises:
            InternalError: it is out of order.
        """
        self._checks[type(record)](record)

    def _check_experiment(self, record: Experiment) -> None:
        key = experiment_order(record.experiment_id)
        self._must_grow("experiments", self._experiment, key)
        self._experiment = key

    def _check_run(self, record: Run) -> None:
        place = (experiment_order(record.experiment_id), run_order(record))
        self._must_grow("runs", self._run, place)
        self._run, self._current, self._history = place, record, ("", "")

    def _check_logged_model(self, record: LoggedModel) -> None:
        where = (experiment_order(record.experiment_id), logged_model_order(record))
        self._must_grow("logged models", self._logged_model, where)
        self._logged_model = where

    def _check_model(self, record: RegisteredModel) -> None:
        self._must_grow("models", self._model, record.name)
        self._model = record.name

    def _check_history(self, record: History) -> None:
        run_id, key, last = record.run_id, record.key, self._history[1]
        if run_id != self._current.run_id or key < last:
            raise InternalError(f"the history of {key} of run {run_id} came out of order")
        self.replaces_latest = int(self._history != (run_id, key) and key in self._current.metrics)
        self._history = (run_id, key)

    @staticmethod
    def _must_grow(what: str, previous: object, key: object) -> None:
        if previous is not None and not previous < key:  # type: ignore[operator]
            raise InternalError(f"{what} came out of order: {key} after {previous}")
