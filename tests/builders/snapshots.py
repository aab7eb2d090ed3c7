"""Records with defaults, and snapshots of them, written as mlmeta writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlmeta.schema import (
    KINDS,
    Assessment,
    Experiment,
    Kind,
    Line,
    LoggedModel,
    MetricHistory,
    ModelVersion,
    Point,
    Record,
    RegisteredModel,
    Run,
    Span,
    Summary,
    Trace,
    kind_of,
)
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.snapshot.writer import Committed, SnapshotWriter, utc_now
from mlmeta.storage import LocalStorage, Storage

BUCKET = "gs://source/artifacts"
T = 1_700_000_000_000
NOW = datetime(2025, 8, 15, 23, 29, 28, tzinfo=timezone.utc)
STAMP = "20250815_232928"


def experiment(experiment_id: int | str = "1", name: str = "made", **more: object) -> Experiment:
    defaults = {"artifact_location": f"{BUCKET}/{experiment_id}", "creation_time": T, "last_update_time": T}
    return _record(Experiment, experiment_id=str(experiment_id), name=name, **{**defaults, **more})


def run(run_id: str = "a" * 32, experiment_id: str = "1", **more: object) -> Run:
    defaults = {
        "run_name": f"run-{run_id[:1]}",
        "user_id": "ada",
        "status": "FINISHED",
        "start_time": T,
        "end_time": T + 1_000,
        "artifact_uri": f"{BUCKET}/{experiment_id}/{run_id}/artifacts",
        "tags": {"mlflow.runName": f"run-{run_id[:1]}", "mlflow.user": "ada"},
    }
    return _record(Run, run_id=run_id, experiment_id=experiment_id, **{**defaults, **more})


def history(key: str = "loss", *points: Point, run_id: str = "a" * 32) -> MetricHistory:
    steps, times, values = zip(*points or [(0, 1, 0.5), (1, 1, 1.0)], strict=True)
    return _record(MetricHistory, run_id=run_id, key=key, step=steps, timestamp=times, value=values)


def logged_model(model_id: str = "m-1", experiment_id: str = "1", **more: object) -> LoggedModel:
    defaults = {"name": model_id, "artifact_location": f"{BUCKET}/{model_id}", "status": "READY"}
    times = {"creation_timestamp": T, "last_updated_timestamp": T}
    return _record(LoggedModel, model_id=model_id, experiment_id=experiment_id, **{**defaults, **times, **more})


def model(*versions: ModelVersion, name: str = "made-model", **more: object) -> RegisteredModel:
    times = {"creation_timestamp": T, "last_updated_timestamp": T}
    return _record(RegisteredModel, name=name, **{**times, "versions": versions, **more})


def version(number: int = 1, **more: object) -> ModelVersion:
    defaults = {"source": f"{BUCKET}/v{number}", "creation_timestamp": T, "current_stage": "None", "status": "READY"}
    return _record(ModelVersion, version=number, **{**defaults, **more})


def trace(trace_id: str = f"tr-{'c' * 32}", experiment_id: str = "1", **more: object) -> Trace:
    defaults = {"timestamp": T, "duration": 5, "state": "OK", "tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"}}
    return _record(Trace, trace_id=trace_id, experiment_id=experiment_id, **{**defaults, **more})


def assessment(assessment_id: str = "a-1", value: object = 0.5, **more: object) -> Assessment:
    told = {"name": "quality", "type": "feedback", "source_type": "HUMAN", "created": T, "updated": T}
    return _record(Assessment, assessment_id=assessment_id, value=value, **{**told, **more})


def span(span_id: str = "1" * 16, trace_id: str = f"tr-{'c' * 32}", start: int = 1_000_000 * T, **more: object) -> Span:
    """As MLflow writes it."""
    ids = {"trace_id": "zMzMzMzMzMzMzMzMzMzMzA==", "span_id": span_id[:8], "parent_span_id": None}
    times = {"start_time_unix_nano": start, "end_time_unix_nano": start + 5_000_000}
    status = {"code": "STATUS_CODE_OK", "message": ""}
    content = {**ids, "name": "call", **times, "events": [], "status": status, "attributes": {}, "links": [], **more}
    return _record(Span, trace_id=trace_id, span_id=span_id, content=content)


def _record(kind: type[Any], **fields: object) -> Any:
    return kind.model_validate(fields)


RECORDS: tuple[Record, ...] = (
    Experiment(experiment_id="0", name="Default"),
    Run(run_id="r1", experiment_id="0", status="FINISHED", start_time=1, params={"ä": "ö"}),
    MetricHistory(run_id="r1", key="loss", step=[0, 1], timestamp=[1, 2], value=[1.0, 0.5]),
    RegisteredModel(name="m", versions=(ModelVersion(version=1, run_id="r1"),)),
)
"""A few, in order."""


def summary(**more: object) -> Summary:
    """What a backup knows before it has written anything."""
    blank = {"backup_timestamp": "", "backup_date": "", "mlflow_uri": "http://a", "stats": {}, "files": {}, "note": ""}
    return Summary.model_validate({**blank, **more})


def commit(
    storages: Storage | Sequence[Storage],
    records: Iterable[Line] = RECORDS,
    *,
    at: datetime = NOW,
    compress: bool = False,
    **more: object,
) -> Committed:
    """Write records, which are in order, as a snapshot, with `more` in its summary."""
    places = storages if isinstance(storages, Sequence) else [storages]
    with SnapshotWriter(places, at, compress=compress) as writer:
        for record in records:
            writer.add(record)
        return writer.commit(summary(**more))


def write(folder: Path, records: Iterable[Record], **more: object) -> str:
    """Write records, in any order, as a snapshot of this moment; its timestamp."""
    committed = commit(LocalStorage(folder), in_order(list(records)), at=utc_now(), **more)  # type: ignore[arg-type]
    return committed.summary.backup_timestamp


def snapshot_of(records: Iterable[Record], folder: Path) -> Snapshot:
    """A snapshot of this moment of these records, which are in order."""
    storage = LocalStorage(folder)
    return open_snapshot(storage, commit(storage, records, at=utc_now()).summary.backup_timestamp)


def in_order(records: list[Record]) -> Iterator[Record]:
    """As a source gives them: a record, and right after it those that follow it."""
    for kind in KINDS.values():
        if kind.follows is None:
            for record in _of(kind, records):
                yield record
                for other in KINDS.values():
                    if other.follows is kind and other.leader is not None:
                        yield from (r for r in _of(other, records) if other.leader(r) == kind.key(record))


def _of(kind: Kind[Any], records: list[Record]) -> list[Record]:
    return sorted((r for r in records if kind_of(r) is kind), key=kind.order)
