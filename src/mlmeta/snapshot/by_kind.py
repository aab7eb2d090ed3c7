"""The records of a snapshot by their kinds, for programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlmeta.errors import UsageError
from mlmeta.schema import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    METRICS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    DatasetRecord,
    EvaluationDataset,
    Experiment,
    HistoryLine,
    Kind,
    LoggedModel,
    MetricHistory,
    RegisteredModel,
    Row,
    Run,
    Span,
    Trace,
)
from mlmeta.schema.kind import R
from mlmeta.schema.words import closest
from mlmeta.snapshot.by_id import one_of
from mlmeta.snapshot.records import taken_apart

if TYPE_CHECKING:
    from pandas import DataFrame

    from mlmeta.snapshot.reader import AnyLed


class ByKind(ABC):
    """What has the records of a snapshot: all of it, or a part.

    Each method reads from the storage when its records are asked for, in the snapshot's order, and keeps none. Deleted
    ones are among them: see `lifecycle_stage`. A file is checked against its SHA-256 at its end: a
    `DamagedSnapshotError` may come after records were already given out. To read a file of a bucket several times, and
    download it once, use `Snapshot.kept_open`.
    """

    timestamp: str
    """Its name."""

    @abstractmethod
    def records(self, kind: Kind[R]) -> Iterator[R]:
        """The records of a kind."""

    @abstractmethod
    def led(self, kind: Kind[Any]) -> Iterator[AnyLed]:
        """The records of a kind that others follow, each with these."""

    @abstractmethod
    def lines(self, kind: Kind[Any]) -> Iterator[Any]:
        """The records of a kind that follows another, as lines; of a part, those of the whole snapshot."""

    def experiments(self) -> Iterator[Experiment]:
        """The experiments, by id."""
        return self.records(EXPERIMENTS)

    def runs(self) -> Iterator[Run]:
        """The runs, by experiment and start: params, tags, and the latest point of each metric."""
        return self.records(RUNS)

    def histories(self) -> Iterator[MetricHistory]:
        """The metric histories of all runs.

        A metric of a single point has none: that is in `Run.metrics`. A history of more than 10,000 points comes in
        pieces. See `history` for the points of one metric, and `to_pandas` for those of all.
        """
        return (history for item in self.led(RUNS) for history in item.followers())

    def logged_models(self) -> Iterator[LoggedModel]:
        """The logged models (MLflow 3), by experiment and creation."""
        return self.records(LOGGED_MODELS)

    def traces(self) -> Iterator[Trace]:
        """The traces with their assessments, by experiment and time; their spans are apart."""
        return self.records(TRACES)

    def spans(self) -> Iterator[Span]:
        """The spans of all traces."""
        return (span for item in self.led(TRACES) for span in item.followers())

    def evaluation_datasets(self) -> Iterator[EvaluationDataset]:
        """The evaluation datasets, by id; their records are apart."""
        return self.records(EVALUATION_DATASETS)

    def dataset_records(self) -> Iterator[DatasetRecord]:
        """The records of all evaluation datasets."""
        return self.records(DATASET_RECORDS)

    def models(self) -> Iterator[RegisteredModel]:
        """The registered models with their versions, by name; of some experiments, those with a version from them."""
        return self.records(MODELS)

    def rows(self) -> Iterator[Row]:
        """The rows of tables that no other kind models, such as webhooks."""
        return self.records(ROWS)

    def run(self, run_id: str) -> Run:
        """A run.

        Args:
            run_id: or the beginning of one that no other run has; also ``runs:/ID``.

        Raises:
            UsageError: there is none, or several.
        """
        return one_of(self.runs(), self.timestamp, RUNS, run_id)

    def history(self, run: Run | str, key: str) -> MetricHistory:
        """All points of a metric of a run, in columns, by step; step and time are 0 where an older script wrote none.

        It reads the file of runs and that of histories to their ends: for many, see `to_pandas`.

        Args:
            run: the run, or its id, or the beginning of one that no other run has.
            key: the metric.

        Raises:
            UsageError: there is no such run, or it has no such metric.
        """
        found = self.run(run if isinstance(run, str) else run.run_id)
        require_metric(found, key)
        return self.longer_history(found.run_id, key) or single(found, key)

    def longer_history(self, run_id: str, key: str) -> MetricHistory | None:
        """The history of a metric of a run; None where the run's latest point is all of it.

        Args:
            run_id: the whole id of a run that it has.
            key: the metric.
        """
        lines: Iterator[HistoryLine] = self.lines(METRICS)
        pieces = [taken_apart(line) for line in lines if (line.run_id, line.key) == (run_id, key)]
        return _joined(pieces) if pieces else None

    def to_pandas(self, kind: str) -> DataFrame:
        """The records of a kind as a table.

        Params, tags and metrics are columns such as ``params.lr``, as in `mlflow.search_runs`. Times are in UTC.
        ``metrics`` has a row for each point of each metric of each run.

        Args:
            kind: ``experiments``, ``runs``, ``metrics``, ``logged_models``, ``traces``, ``assessments``, ``spans``,
                ``evaluation_datasets``, ``dataset_records``, ``models``, ``model_versions`` or ``rows``.

        Raises:
            UsageError: it is another word, or pandas is not installed.
        """
        from mlmeta.snapshot.frames import frame

        return frame(self, kind)


def require_metric(run: Run, key: str) -> None:
    """See that a run has a metric.

    Raises:
        UsageError: it has not.
    """
    if key not in run.metrics:
        raise UsageError(f"run {run.run_id} has no metric {key!r}", hint=f"it has: {closest(key, run.metrics)}")


def single(run: Run, key: str) -> MetricHistory:
    """The history of a metric whose latest point is all of it; step and time are 0 where an older script wrote none."""
    latest = run.metrics[key]
    return MetricHistory(
        run_id=run.run_id, key=key, step=[latest.step or 0], timestamp=[latest.timestamp or 0], value=[latest.value]
    )


def _joined(pieces: list[MetricHistory]) -> MetricHistory:
    if len(pieces) == 1:
        return pieces[0]
    columns = {
        name: [one for piece in pieces for one in getattr(piece, name)] for name in ("step", "timestamp", "value")
    }
    return pieces[0].model_copy(update=columns)
