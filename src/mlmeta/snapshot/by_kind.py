"""The records of a snapshot by their kinds, for programs: one by one, and as tables of pandas."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from mlmeta.errors import UsageError
from mlmeta.installing import how_to_install
from mlmeta.schema import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    METRICS,
    MODELS,
    ROWS,
    RUNS,
    SPANS,
    TRACES,
    WITH_PARTS,
    DatasetRecord,
    EvaluationDataset,
    Experiment,
    HistoryLine,
    Kind,
    LatestMetric,
    LoggedModel,
    MetricHistory,
    Record,
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
    from pandas import DataFrame, Series

    from mlmeta.snapshot.reader import AnyLed

_TIME = re.compile(r"(?:\w+_)?(?:time|timestamp)|created|updated")
"""The names of fields that are milliseconds since the epoch."""
_WORKSPACE = "workspace"
_BIG = 1 << 63

Cell = tuple[str, Any]


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


def frame(source: ByKind, name: str) -> DataFrame:
    """The records of a kind as a table.

    Args:
        source: a snapshot, or a part of one.
        name: of the kind.

    Raises:
        UsageError: there is no such kind, or pandas is not installed.
    """
    kinds = {kind.name: kind for kind in WITH_PARTS if not kind.on_request}
    if name not in kinds:
        raise UsageError(f"there is no kind {name!r}", hint=f"there are: {closest(name, kinds)}")
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        hint = f"{how_to_install('pandas')} (it comes with mlflow, but not with mlflow-skinny)"
        raise UsageError("pandas is not installed", hint=hint) from error
    if name == METRICS.name:
        return _points(source)
    kind = kinds[name]
    fields = _fields(kind)
    owner = next((one for one in WITH_PARTS if kind in one.parts.values()), None)
    if owner is not None:
        known = [field for place, field in enumerate(_fields(owner)) if place == 0 or field.name == _WORKSPACE]
        return _table((*known, *fields), _parts(source, owner, known, kind))
    records = source.spans() if kind.name == SPANS.name else source.records(kind)
    return _table(fields, (_cells(record, fields) for record in records))


def _points(source: ByKind) -> DataFrame:
    """Each point of each metric of each run. In arrays: there may be many millions."""
    import numpy as np
    import pandas as pd

    run_ids, keys, sizes = [], [], array("q")
    step, timestamp, value = array("q"), array("q"), array("d")
    for item in source.led(RUNS):
        pieces = list(item.followers())
        alone = item.record.metrics.keys() - {piece.key for piece in pieces}
        for history in sorted((*pieces, *(single(item.record, key) for key in alone)), key=attrgetter("key")):
            run_ids.append(history.run_id)
            keys.append(history.key)
            sizes.append(history.size)
            step.extend(history.step)
            timestamp.extend(history.timestamp)
            value.extend(history.value)
    return pd.DataFrame(
        {
            "run_id": np.repeat(np.array(run_ids, dtype=object), sizes),
            "key": np.repeat(np.array(keys, dtype=object), sizes),
            "step": np.array(step),
            "timestamp": _moments(timestamp),
            "value": np.array(value),
        }
    )


def _table(fields: Sequence[_Field], rows: Iterable[Iterable[Cell]]) -> DataFrame:
    """A table with a row for each record.

    Args:
        fields: of a record; each has a column in any case, except for maps, whose columns follow by name.
        rows: the cells of each record.
    """
    import pandas as pd

    columns: dict[str, list[Any]] = {field.column: [] for field in fields if not field.is_map}
    fixed = tuple(columns)
    count = 0
    for cells in rows:
        for name, value in cells:
            column = columns.setdefault(name, [])
            column += [None] * (count - len(column))
            column.append(value)
        count += 1
    names = (*fixed, *sorted(columns.keys() - {*fixed}))
    return pd.DataFrame({name: _series(name, columns[name] + [None] * (count - len(columns[name]))) for name in names})


def _series(name: str, values: list[Any]) -> Series[Any]:
    """A column: times in UTC, and whole numbers that stay such where some are missing."""
    import pandas as pd

    if _TIME.fullmatch(name):
        return _moments(values)
    numbers = [value for value in values if value is not None]
    lacks_some = 0 < len(numbers) < len(values)
    return pd.Series(values, dtype="Int64" if lacks_some and all(map(_is_whole, numbers)) else None)


def _is_whole(value: Any) -> bool:
    """Whether a column of whole numbers has room for a value: JSON may have bigger ones."""
    return type(value) is int and -_BIG <= value < _BIG


def _moments(milliseconds: Iterable[int | None]) -> Series[Any]:
    """Milliseconds since the epoch as times. In that very unit: MLflow takes years that have no nanoseconds."""
    import numpy as np
    import pandas as pd

    return pd.Series(np.array(milliseconds, dtype="datetime64[ms]")).dt.tz_localize("UTC")


class _Field(NamedTuple):
    """A field of a record, and the column that it has; a map of names that people gave has one for each of them."""

    name: str
    column: str
    is_map: bool


def _fields(kind: Kind[Any]) -> tuple[_Field, ...]:
    """The fields of a kind's records, without those that hold parts: these are a kind of their own."""
    found = ((name, field) for name, field in kind.record.model_fields.items() if name not in kind.parts)
    return tuple(_Field(name, field.alias or name, _is_map(field.annotation)) for name, field in found)


def _is_map(annotation: Any) -> bool:
    return get_origin(annotation) is dict and get_args(annotation)[1] is not Any


def _cells(record: Record, fields: Sequence[_Field]) -> Iterator[Cell]:
    """What a record has in each column."""
    for name, column, is_map in fields:
        value = getattr(record, name)
        if is_map:
            yield from (
                (f"{column}.{key}", one.value if isinstance(one, LatestMetric) else one) for key, one in value.items()
            )
        else:
            yield column, _bare(value)


def _bare(value: Any) -> Any:
    """A value without our own classes."""
    if isinstance(value, LatestMetric):
        return value.value
    if isinstance(value, Record):
        return value.model_dump(by_alias=True)
    return [_bare(one) for one in value] if isinstance(value, tuple) else value


def _parts(source: ByKind, owner: Kind[Any], known: Sequence[_Field], kind: Kind[Any]) -> Iterator[Iterator[Cell]]:
    """The cells of all parts of a kind, each with those by which the record is known that it is a part of."""
    place = next(name for name, part in owner.parts.items() if part is kind)
    fields = _fields(kind)
    for record in source.records(owner):
        for part in getattr(record, place):
            yield chain(_cells(record, known), _cells(part, fields))
