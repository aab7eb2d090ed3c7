"""The registry of record kinds: what a snapshot can hold, file by file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from mlmeta.schema.base import Record
from mlmeta.schema.experiments import Experiment
from mlmeta.schema.logged_models import LoggedModel
from mlmeta.schema.metrics import HistoryLine, MetricHistory
from mlmeta.schema.models import RegisteredModel
from mlmeta.schema.runs import Run

R = TypeVar("R", bound=Record)

Line = Record | HistoryLine
"""What can be written as a line of a snapshot."""


@dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of record.

    Args:
        name: the first part of its file's name, and its key in the summary.
        record: the class of its records.
        always: whether the file is written even when it is empty.
    """

    name: str
    record: type[R]
    always: bool = True


EXPERIMENTS = Kind("experiments", Experiment)
RUNS = Kind("runs", Run)
METRICS = Kind("metrics", MetricHistory)
LOGGED_MODELS = Kind("logged_models", LoggedModel, always=False)
MODELS = Kind("models", RegisteredModel)

KINDS: dict[str, Kind[Record]] = {
    kind.name: kind  # type: ignore[misc]
    for kind in (EXPERIMENTS, RUNS, METRICS, LOGGED_MODELS, MODELS)
}
"""All kinds, in the order in which a snapshot's files are published and read."""

_BY_RECORD: dict[type, Kind[Record]] = {kind.record: kind for kind in KINDS.values()}
_BY_RECORD[HistoryLine] = KINDS[METRICS.name]


def named(record: Line) -> tuple[str, str]:
    """What a record is, in a word, and what it is called among its like."""
    if isinstance(record, Experiment):
        return "experiment", record.experiment_id
    if isinstance(record, Run):
        return "run", record.run_id
    if isinstance(record, MetricHistory | HistoryLine):
        return "metric history", f"{record.run_id}/{record.key}"
    if isinstance(record, LoggedModel):
        return "logged model", record.model_id
    if isinstance(record, RegisteredModel):
        return "registered model", record.name
    raise TypeError(type(record).__name__)


def kind_of(record: Line) -> Kind[Record]:
    """The kind that a record is of."""
    return _BY_RECORD[type(record)]
