"""`mlmeta show --traces` and `--datasets`: the traces and evaluation datasets of a snapshot, and all of one."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.show import Shown, experiment_names, experiment_of, nested, where, within_workspaces
from mlmeta.errors import UsageError
from mlmeta.schema import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    EXPERIMENTS,
    SPANS,
    TRACES,
    DatasetRecord,
    EvaluationDataset,
    Span,
    Trace,
)
from mlmeta.schema.words import closest
from mlmeta.snapshot.by_id import one_of
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import open_snapshot

_UNKNOWN = "UNKNOWN"
_TYPE = "mlflow.spanType"


class TraceList(Shown):
    """Traces, the newest first.

    Args:
        experiments: names by id.
        traces: those that are shown.
        total: number of traces before the limit.
    """

    experiments: dict[str, str]
    traces: tuple[Trace, ...]
    total: int


class SpanNode(BaseModel):
    """A span in the tree of its trace; times are nanoseconds since the epoch.

    Args:
        depth: how many spans it is within.
        span_id: of the span.
        name: what people call it.
        type: such as ``LLM`` or ``CHAIN``.
        status: ``OK``, ``ERROR``, ``UNSET``, or what a database says of it.
        start: when it began; None: unknown.
        end: when it ended; None: unknown, or it never did.
        content: MLflow's own JSON of it; None where it was archived.
    """

    model_config = ConfigDict(frozen=True)

    depth: int
    span_id: str
    name: str
    type: str
    status: str
    start: int | None
    end: int | None
    content: Any = None


class TraceDetail(Shown):
    """Everything of a trace.

    Args:
        trace: with its assessments.
        experiment: its name.
        spans: of the trace, each followed by those within it.
    """

    trace: Trace
    experiment: str
    spans: tuple[SpanNode, ...]


def trace_list(
    selector: str = "latest",
    storage: str = "backups",
    experiment: str | None = None,
    *,
    limit: int | None = None,
    workspaces: str | Sequence[str] = (),
    of_source: str = "",
) -> TraceList:
    """The traces of a snapshot, or of one of its experiments.

    Args:
        selector: which snapshot.
        storage: where it is.
        experiment: a name, or an id that is nobody's name; None: all.
        limit: the most traces; None: all.
        workspaces: whose traces, and where to look for the experiment; none: of all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such experiment.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
    ids = {one.experiment_id for one in snapshot.records(EXPERIMENTS) if selection.has_workspace(one.workspace)}
    if experiment:
        ids = {experiment_of(snapshot, experiment, workspaces).experiment_id}
    is_limited = bool(experiment or selection.workspaces)
    counted = _Counted(t for t in snapshot.records(TRACES) if not is_limited or t.experiment_id in ids)
    newest = sorted(counted, key=_age) if limit is None else heapq.nsmallest(limit, counted, key=_age)
    names = experiment_names(snapshot)
    return TraceList(**where(snapshot, TRACES), experiments=names, traces=tuple(newest), total=counted.count)


def trace_detail(selector: str, storage: str, trace_id: str, *, of_source: str = "") -> TraceDetail:
    """Everything of a trace, with its tree of spans.

    Args:
        selector: which snapshot.
        storage: where it is.
        trace_id: or the beginning of one that no other trace has, with or without ``tr-``.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such trace, or several.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    trace = one_of(snapshot.traces(), snapshot.timestamp, TRACES, trace_id)
    names = experiment_names(snapshot)
    return TraceDetail(
        **where(snapshot, SPANS),
        trace=trace,
        experiment=names.get(trace.experiment_id, ""),
        spans=tuple(tree(line.record() for line in snapshot.lines(SPANS) if line.trace_id == trace.trace_id)),
    )


class _Counted:
    """Traces, counted while they go by."""

    def __init__(self, traces: Iterable[Trace]) -> None:
        self._traces = traces
        self.count = 0

    def __iter__(self) -> Iterator[Trace]:
        for trace in self._traces:
            self.count += 1
            yield trace


def _age(trace: Trace) -> tuple[int, str]:
    return -trace.timestamp, trace.trace_id


def tree(spans: Iterable[Span]) -> Iterator[SpanNode]:
    """Spans, each followed by those within it, in the order in which they began.

    A span whose parent is not among them stands at the top; so does one of several that are within each other.

    Args:
        spans: of one trace.
    """
    order = sorted(spans, key=lambda span: (span.started, span.span_id))
    return (_node(depth, span) for depth, span in nested(order, _own_id, _parent_id))


def _node(depth: int, span: Span) -> SpanNode:
    if span.content is None:
        told: dict[str, Any] = {"name": span.name, "type": span.type, "status": span.status}
        told |= {"start": span.start, "end": span.end}
    else:
        content = _object(span.content)
        told = {
            "name": content.get("name"),
            "type": _text(_object(content.get("attributes")).get(_TYPE)).strip('"'),
            "status": _text(_object(content.get("status")).get("code")).removeprefix("STATUS_CODE_"),
            "start": _whole(content.get("start_time_unix_nano")),
            "end": _whole(content.get("end_time_unix_nano")),
        }
    for key in ("name", "type", "status"):
        told[key] = _text(told[key]) or _UNKNOWN
    return SpanNode(depth=depth, span_id=span.span_id, content=span.content, **told)


def _own_id(span: Span) -> str:
    """As other spans' contents name it: in base64, where the database has it in hex."""
    return _text(_object(span.content).get("span_id")) or span.span_id


def _parent_id(span: Span) -> str | None:
    return span.parent_span_id if span.content is None else _text(_object(span.content).get("parent_span_id")) or None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


class DatasetRow(BaseModel):
    """An evaluation dataset and the number of its records."""

    model_config = ConfigDict(frozen=True)

    dataset: EvaluationDataset
    records: int


class DatasetList(Shown):
    """Evaluation datasets, those that were changed last first.

    Args:
        experiments: names by id.
        datasets: those that are shown.
        total: number of datasets before the limit.
    """

    experiments: dict[str, str]
    datasets: tuple[DatasetRow, ...]
    total: int


class DatasetDetail(Shown):
    """An evaluation dataset with its records.

    Args:
        dataset: itself.
        experiments: names of those that it belongs to, by id; those that are gone have none.
        records: those that are shown.
        total: number of records before the limit.
    """

    dataset: EvaluationDataset
    experiments: dict[str, str]
    records: tuple[DatasetRecord, ...]
    total: int


def dataset_list(
    selector: str = "latest",
    storage: str = "backups",
    experiment: str | None = None,
    *,
    limit: int | None = None,
    workspaces: str | Sequence[str] = (),
    of_source: str = "",
) -> DatasetList:
    """The evaluation datasets of a snapshot.

    Args:
        selector: which snapshot.
        storage: where it is.
        experiment: name or id of the one whose datasets are wanted; None: of all.
        limit: most datasets; None: all.
        workspaces: whose datasets, and where to look for the experiment; none: of all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such experiment.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
    wanted = experiment_of(snapshot, experiment, workspaces).experiment_id if experiment else ""
    inside = (one for one in snapshot.records(EVALUATION_DATASETS) if selection.has_workspace(one.workspace))
    found = [one for one in inside if not wanted or wanted in one.experiment_ids]
    found.sort(key=lambda one: -(one.last_update_time or 0))
    counts = Counter(record.dataset_id for record in snapshot.records(DATASET_RECORDS))
    return DatasetList(
        **where(snapshot, EVALUATION_DATASETS),
        experiments=experiment_names(snapshot),
        datasets=tuple(DatasetRow(dataset=one, records=counts[one.dataset_id]) for one in found[:limit]),
        total=len(found),
    )


def dataset_detail(
    selector: str, storage: str, name: str, *, limit: int | None = None, of_source: str = ""
) -> DatasetDetail:
    """An evaluation dataset with its records.

    Args:
        selector: which snapshot.
        storage: where it is.
        name: of the dataset, or its id, or the beginning of one that no other has.
        limit: most records; None: all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such dataset, or several.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    dataset, names = _dataset(snapshot, name), experiment_names(snapshot)
    own = (one for one in snapshot.records(DATASET_RECORDS) if one.dataset_id == dataset.dataset_id)
    records = tuple(islice(own, limit))
    return DatasetDetail(
        **where(snapshot),
        dataset=dataset,
        experiments={number: names.get(number, "") for number in dataset.experiment_ids},
        records=records,
        total=len(records) + sum(1 for _ in own),
    )


def _dataset(snapshot: Snapshot, wanted: str) -> EvaluationDataset:
    there = list(snapshot.records(EVALUATION_DATASETS))
    exact = [one for one in there if one.dataset_id == wanted]
    found = exact or [one for one in there if one.name == wanted]
    found = found or [one for one in there if one.dataset_id.removeprefix("d-").startswith(wanted.removeprefix("d-"))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"snapshot {snapshot.timestamp} has no evaluation dataset {wanted!r}",
            hint=f"it has: {closest(wanted, (one.name for one in there))}",
        )
    raise UsageError(
        f"{len(found):,} evaluation datasets are named {wanted!r}, or have ids that begin so",
        hint=f"name one by its id: {', '.join(one.dataset_id for one in found[:10])}",
    )
