"""Makes a snapshot of a given size, fast and always the same: `python -m tests.benchmarks.generate M FOLDER`."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mlmeta.schema import (
    Assessment,
    Experiment,
    LatestMetric,
    Line,
    MetricHistory,
    ModelVersion,
    RegisteredModel,
    Run,
    SpanLine,
    Trace,
)
from mlmeta.storage import open_storage
from tests.builders.snapshots import commit

_START = 1_700_000_000_000
_RUNS_PER_EXPERIMENT = 500


@dataclass(frozen=True)
class Size:
    """How much: runs, metric keys of each, points of each key; traces, of ten spans with 1.2 kB each."""

    runs: int
    keys: int
    steps: int
    traces: int = 0


SIZES = {
    "S": Size(100, 10, 20),
    "M": Size(1_000, 10, 100),
    "L": Size(10_000, 20, 50),
    "W": Size(100_000, 1, 1),
    "X": Size(1_000_000, 1, 1),
    "T": Size(1, 1, 1, 10_000),
    "U": Size(1, 1, 1, 100_000),
}


def records(size: Size) -> Iterator[Line]:
    """All records, in a snapshot's order."""
    experiments = math.ceil(size.runs / _RUNS_PER_EXPERIMENT)
    for number in range(experiments + 1):
        yield Experiment(
            experiment_id=str(number),
            name=f"experiment {number}" if number else "Default",
            artifact_location=f"gs://bucket/artifacts/{number}",
            creation_time=_START,
            last_update_time=_START,
            tags={"team": "growth"} if number else {},
        )
    for number in range(size.runs):
        yield from _run(number, size)
    for number in range(size.traces):
        yield from _trace(number)
    for number in range(max(1, size.runs // 100)):
        yield _model(number)


def _run(number: int, size: Size) -> Iterator[Line]:
    experiment = number // _RUNS_PER_EXPERIMENT + 1
    run_id = f"{number:032x}"
    start = _START + number * 1000
    columns = {f"metric_{key:02d}": _column(number, key, size.steps) for key in range(size.keys)}
    yield Run(
        run_id=run_id,
        experiment_id=str(experiment),
        run_name=f"run-{number}",
        user_id="ada",
        status="FINISHED",
        start_time=start,
        end_time=start + 900,
        artifact_uri=f"gs://bucket/artifacts/{experiment}/{run_id}/artifacts",
        params={f"param_{i}": str(number * i) for i in range(10)},
        tags={
            "mlflow.user": "ada",
            "mlflow.runName": f"run-{number}",
            "mlflow.source.name": "train.py",
            "mlflow.source.type": "LOCAL",
            "stage": "bench",
        },
        metrics={
            key: LatestMetric(value=values[-1], step=size.steps - 1, timestamp=start + size.steps - 1)
            for key, values in columns.items()
        },
    )
    if size.steps > 1:
        for key, values in columns.items():
            steps = list(range(size.steps))
            yield MetricHistory(run_id=run_id, key=key, step=steps, timestamp=[start + s for s in steps], value=values)


def _column(number: int, key: int, steps: int) -> list[float]:
    return [math.exp(-step / steps) + key + number / 7 for step in range(steps)]


def _trace(number: int) -> Iterator[Line]:
    trace_id = f"tr-{number:032x}"
    start = _START + number * 100
    yield Trace(
        trace_id=trace_id,
        experiment_id="1",
        timestamp=start,
        duration=90,
        state="OK",
        request_preview='{"question": "what?"}',
        response_preview='"that"',
        tags={
            "mlflow.artifactLocation": f"gs://bucket/artifacts/1/traces/{trace_id}/artifacts",
            "mlflow.trace.spansLocation": "TRACKING_STORE",
            "mlflow.traceName": "answer",
        },
        metadata={
            "mlflow.source.name": "agent.py",
            "mlflow.trace.infoFinalized": "true",
            "mlflow.trace.session": f"s-{number // 10}",
            "mlflow.trace.sizeStats": json.dumps({"num_spans": _SPANS}),
            "mlflow.trace.tokenUsage": json.dumps({"input_tokens": number, "output_tokens": 7}),
            "mlflow.trace_schema.version": "3",
            "mlflow.user": "ada",
        },
        assessments=(_assessment(number, start),),
    )
    for place in range(_SPANS):
        yield SpanLine.of_content(trace_id, f"{place + 1:016x}", _content(number, place, start))


_SPANS = 10


def _assessment(number: int, start: int) -> Assessment:
    told = {"assessment_id": f"a-{number:032x}", "name": "quality", "type": "feedback", "value": number % 5}
    return Assessment.model_validate({**told, "source_type": "HUMAN", "created": start, "updated": start})


def _content(number: int, place: int, start: int) -> bytes:
    """As MLflow writes it."""
    began = (start + place) * 1_000_000
    text = f'part {place} of the answer to question {number}, with an ü and "quotes". ' * 6
    attributes = {
        "mlflow.traceRequestId": f'"tr-{number:032x}"',
        "mlflow.spanType": '"TOOL"',
        "mlflow.spanInputs": json.dumps({"question": text[:300]}, ensure_ascii=False),
        "mlflow.spanOutputs": json.dumps(text, ensure_ascii=False),
    }
    content = {
        "trace_id": base64.b64encode(number.to_bytes(16, "big")).decode(),
        "span_id": base64.b64encode((place + 1).to_bytes(8, "big")).decode(),
        "parent_span_id": base64.b64encode((1).to_bytes(8, "big")).decode() if place else None,
        "name": f"step {place}",
        "start_time_unix_nano": began,
        "end_time_unix_nano": began + 900_000,
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": attributes,
        "links": [],
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _model(number: int) -> RegisteredModel:
    return RegisteredModel(
        name=f"model-{number:05d}",
        creation_timestamp=_START,
        last_updated_timestamp=_START,
        aliases={"champion": 3},
        versions=tuple(
            ModelVersion(
                version=version,
                creation_timestamp=_START,
                last_updated_timestamp=_START,
                current_stage="None",
                source=f"gs://bucket/artifacts/1/{number:032x}/artifacts/model",
                run_id=f"{number:032x}",
                status="READY",
            )
            for version in (1, 2, 3)
        ),
    )


def write(size: Size, folder: Path) -> str:
    """Write the snapshot, and return its timestamp."""
    started = datetime(2026, 1, 1, tzinfo=timezone.utc)
    storage = open_storage(str(folder))
    committed = commit(storage, records(size), at=started, mlflow_uri="benchmark", note="made up")
    return committed.summary.backup_timestamp


if __name__ == "__main__":
    print(write(SIZES[sys.argv[1]], Path(sys.argv[2])))  # noqa: T201
