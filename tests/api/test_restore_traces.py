"""Traces through a server, back in another one: under their ids, with their spans, and never over what is there."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from mlmeta import backup, restore
from mlmeta.schema import Experiment, Span, Trace
from tests.builders.snapshots import write
from tests.builders.tracing import SpanSpec, assess, fill_traces, send_spans, start_trace, trace_id
from tests.support.databases import Databases, change
from tests.support.reading import raw
from tests.support.restoring import restore_as_planned
from tests.support.server import Server
from tests.support.server import server as running_server

pytestmark = pytest.mark.uvicorn


@pytest.fixture(scope="module")
def _other(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("other")
    databases.copy("empty", folder / "mlflow.db")
    with running_server(folder, uvicorn=True) as running:
        yield running


@pytest.fixture
def other(_other: Server, databases: Databases) -> Server:
    """A second server with an empty store."""
    databases.load("empty", _other.database)
    return _other


@pytest.fixture
def saved(server: Server, tmp_path: Path) -> Path:
    """A folder with a snapshot of a server that has traces in an experiment, of a run, and in a deleted experiment."""
    client = MlflowClient(server.uri)
    experiment_id = client.create_experiment("traced")
    fill_traces(server.uri, experiment_id, client.create_run(experiment_id, start_time=1).info.run_id)
    gone = client.create_experiment("gone")
    send_spans(server.uri, 20, [SpanSpec(1)], gone)
    client.delete_experiment(gone)
    assert backup(server.uri, [str(tmp_path / "saved")]).exit_code == 0
    return tmp_path / "saved"


def shown(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a snapshot without what a server says by itself, and without ids of experiments and runs."""
    found = raw(folder, kind)
    for one in found if kind == "traces" else ():
        del one["experiment_id"]
        one["tags"] = {k: v for k, v in one["tags"].items() if not k.startswith("mlmeta.")}
        for key in ("mlflow.trace.infoFinalized", "mlflow.sourceRun"):
            one["metadata"].pop(key, None)
    return found


def test_from_a_server_into_another_and_back(saved: Path, other: Server, tmp_path: Path) -> None:
    done = restore_as_planned(other, saved)
    assert done.exit_code == 0, done.issues
    assert (done.created["traces"], done.created["assessments"]) == (5, 6)
    assert backup(other.uri, [str(tmp_path / "again")]).exit_code == 0
    assert shown(tmp_path / "again", "traces") == shown(saved, "traces")
    assert raw(tmp_path / "again", "spans") == raw(saved, "spans")
    runs = {one["run_id"] for one in raw(tmp_path / "again", "runs")}
    assert {one["metadata"].get("mlflow.sourceRun") for one in raw(tmp_path / "again", "traces")} == {None, *runs}
    stages = {one["name"]: one["lifecycle_stage"] for one in raw(tmp_path / "again", "experiments")}
    assert stages["gone"] == "deleted"


def test_twice(saved: Path, other: Server) -> None:
    assert restore(other.uri, "latest", str(saved)).exit_code == 0
    before = _rows(other)
    done = restore_as_planned(other, saved)
    assert done.exit_code == 0, done.issues
    assert (done.created.get("traces", 0), done.present["traces"]) == (0, 5)
    assert _rows(other) == before


def test_a_trace_that_is_there_stays_as_it_is(saved: Path, other: Server) -> None:
    send_spans(other.uri, 1, [SpanSpec(9, name="mine")])
    start_trace(other.uri, 1, tags={"mine": "yes"})
    send_spans(other.uri, 30, [SpanSpec(1)])
    done = restore_as_planned(other, saved)
    assert done.exit_code == 0, done.issues
    assert done.present["traces"] == 1
    with closing(sqlite3.connect(other.database)) as db:
        (names,) = db.execute("SELECT group_concat(name) FROM spans WHERE trace_id = ?", (trace_id(1),)).fetchone()
        experiments = {
            row[0] for row in db.execute("SELECT experiment_id FROM spans WHERE trace_id = ?", (trace_id(1),))
        }
    assert (names, experiments) == ("mine", {0})


@pytest.mark.parametrize("stopped_after", ["spans", "info", "assessment"])
def test_what_a_killed_restore_left_is_filled(saved: Path, other: Server, tmp_path: Path, stopped_after: str) -> None:
    assert restore(other.uri, "latest", str(saved)).exit_code == 0
    whole = _rows(other)
    timestamp = next(value for _, key, value in whole["trace_tags"] if key == "mlmeta.snapshot")
    change(other.database, "UPDATE trace_tags SET value = ? WHERE key = 'mlmeta.snapshot'", f"filling {timestamp}")
    if stopped_after != "assessment":
        change(other.database, "DELETE FROM assessments WHERE assessment_id > 'a-1'")
        change(other.database, "UPDATE assessments SET valid = 1")
    if stopped_after == "spans":
        change(other.database, "DELETE FROM assessments")
        change(other.database, "DELETE FROM trace_request_metadata")
        change(other.database, "DELETE FROM trace_tags WHERE key NOT LIKE 'ml%'")
        change(other.database, "UPDATE trace_info SET timestamp_ms = 1, execution_time_ms = 2, request_preview = NULL")
    done = restore_as_planned(other, saved)
    assert done.exit_code == 0, done.issues
    assert done.created["traces"] == 5
    assert _rows(other) == whole


def test_links_of_a_database_come_back_under_new_ids(server: Server, other: Server, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    run_id = client.create_run("0", start_time=1).info.run_id
    for number in range(1, 4):
        start_trace(server.uri, number)
    client.link_traces_to_run([trace_id(number) for number in (1, 2)], run_id)
    versions = [{"name": "a/b", "version": "3"}]
    asked = {"trace_id": trace_id(3), "prompt_versions": versions}
    requests.post(f"{server.uri}/api/2.0/mlflow/traces/link-prompts", json=asked, timeout=30).raise_for_status()
    assert backup(server.backend, [str(tmp_path)]).exit_code == 0
    for _ in range(2):
        done = restore_as_planned(other, tmp_path)
        assert done.exit_code == 0, done.issues
    (new_id,) = (run.info.run_id for run in MlflowClient(other.uri).search_runs(["0"]))
    query = "SELECT source_id, destination_type, destination_id FROM entity_associations"
    with closing(sqlite3.connect(other.database)) as db:
        assert sorted(db.execute(query).fetchall()) == [
            (trace_id(1), "run", new_id),
            (trace_id(2), "run", new_id),
            (trace_id(3), "prompt_version", "a/b/3"),
        ]


def _rows(server: Server) -> dict[str, list[Any]]:
    queries = {
        "trace_info": "SELECT request_id, timestamp_ms, execution_time_ms, status, request_preview FROM trace_info",
        "trace_tags": "SELECT request_id, key, value FROM trace_tags",
        "trace_request_metadata": "SELECT request_id, key, value FROM trace_request_metadata",
        "assessments": "SELECT assessment_id, trace_id, value, valid, created_timestamp, overrides FROM assessments",
        "spans": "SELECT trace_id, span_id, content FROM spans",
    }
    with closing(sqlite3.connect(server.database)) as db:
        return {table: sorted(db.execute(query).fetchall()) for table, query in queries.items()}


def _span(number: int, trace: str = trace_id(1), **fields: Any) -> Span:
    """A span in MLflow's JSON, as a snapshot has it."""
    content = {
        "trace_id": base64.b64encode(bytes.fromhex(trace.removeprefix("tr-"))).decode(),
        "span_id": base64.b64encode(number.to_bytes(8, "big")).decode(),
        "parent_span_id": None,
        "name": "span",
        "start_time_unix_nano": 1_700_000_000_000_000_000 + number,
        "end_time_unix_nano": 1_700_000_000_500_000_000,
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {"mlflow.traceRequestId": f'"{trace}"'},
        "links": [],
        **fields,
    }
    return Span(trace_id=trace, span_id=f"{number:016x}", content=content)


def _trace(identifier: str, **fields: Any) -> Trace:
    told = {"experiment_id": "0", "timestamp": 1_700_000_000_000, "duration": 500, "state": "OK", **fields}
    tags = {"mlflow.trace.spansLocation": "TRACKING_STORE"}
    return Trace.model_validate({"trace_id": identifier, "tags": tags, **told})


DEFAULT = Experiment(experiment_id="0", name="Default", artifact_location="gs://bucket/artifacts/0", creation_time=1)


def test_attributes_in_any_form(other: Server, tmp_path: Path) -> None:
    """Most arrive as they are; what is no JSON or no plain number, as the value that it stands for."""
    texts = {
        "map": '{"a": 1e3,  "b":"\\u00fc", "a": 2, "big": 1180591620717411303424}',
        "list": '[1e3, {"x":null}]',
        "text": '"ü🎈"',
        "number in a text": '"1"',
        "map in a text": '"{\\"a\\": 1}"',
        "half a letter": '"\\ud800"',
        "deep": "[" * 60 + "]" * 60,
        "true": "true",
        "null": "null",
        "not a number": "NaN",
    }
    events = [
        {"name": "e", "time_unix_nano": 5, "attributes": {"a": 1, "b": 2.5, "c": [1, None, {"d": True}], "n": None}}
    ]
    links = [{"trace_id": trace_id(7), "span_id": f"{3:016x}", "attributes": {"a": 1}}]
    exact = _span(1, attributes={"mlflow.traceRequestId": f'"{trace_id(1)}"', **texts}, events=events, links=links)
    forms = _span(2, attributes={"mlflow.traceRequestId": f'"{trace_id(1)}"', "float": "1e3", "no JSON": "plain"})
    done = restore_as_planned(other, tmp_path, DEFAULT, _trace(trace_id(1)), exact, forms)
    assert done.exit_code == 0, done.issues
    with closing(sqlite3.connect(other.database)) as db:
        one, two = (content for (content,) in db.execute("SELECT content FROM spans ORDER BY span_id"))
    assert one == json.dumps(exact.content, ensure_ascii=False)
    assert [json.loads(two)["attributes"][key] for key in ("float", "no JSON")] == ["1000.0", '"plain"']


def test_what_a_server_does_not_take_is_named(other: Server, tmp_path: Path) -> None:
    other_id, second, third = "0" * 32, trace_id(2), trace_id(3)
    number = {"mlflow.traceRequestId": f'"{second}"', "big": str(2**70)}
    archived = Span(trace_id=third, span_id=f"{1:016x}", content=None, start=5)
    made = (
        *(_trace(other_id), _span(1, other_id)),
        *(_trace(trace_id(1)), _span(1), _span(2, end_time_unix_nano=None)),
        *(_trace(second), _span(1, second, attributes=number)),
        _span(2, second, links=[{"trace_id": "tr-1", "span_id": "2", "attributes": None}]),
        *(_trace(third), archived),
    )
    done = restore_as_planned(other, tmp_path, DEFAULT, *made)
    assert done.exit_code == 3, done.issues
    assert [(one.id, one.field) for one in done.refused] == [
        (other_id, "spans"),
        (trace_id(1), f"spans[{2:016x}]"),
        (second, f"spans[{1:016x}]"),
        (second, f"spans[{2:016x}]"),
        (third, "spans"),
    ]
    with closing(sqlite3.connect(other.database)) as db:
        found = db.execute("SELECT request_id, timestamp_ms, execution_time_ms, status FROM trace_info").fetchall()
        spans = db.execute("SELECT trace_id, span_id FROM spans ORDER BY 1, 2").fetchall()
    assert sorted(found) == [(one, 1_700_000_000_000, 500, "OK") for one in (other_id, trace_id(1), second, third)]
    assert spans == [(trace_id(1), f"{1:016x}"), (second, f"{1:016x}"), (second, f"{2:016x}")]


def test_an_assessment_that_is_somewhere_else_is_named(other: Server, tmp_path: Path) -> None:
    given = {"name": "q", "type": "feedback", "source_type": "HUMAN", "created": 1, "updated": 2}
    two = [{**given, "assessment_id": one, "value": 1} for one in ("a-1", "a-2")]
    send_spans(other.uri, 9, [SpanSpec(1)])
    assess(other.uri, 9, "a-1")
    write(tmp_path, [DEFAULT, _trace(trace_id(1), assessments=two)])
    done = restore(other.uri, "latest", str(tmp_path))
    assert done.exit_code == 3, done.issues
    assert [(one.kind, one.id, one.field) for one in done.refused] == [("assessment", f"{trace_id(1)} a-1", "")]
    assert done.created["assessments"] == 1
    with closing(sqlite3.connect(other.database)) as db:
        assert db.execute("SELECT count(*) FROM assessments WHERE trace_id = ?", (trace_id(1),)).fetchone() == (1,)


def test_times_values_and_texts_of_any_kind(other: Server, tmp_path: Path) -> None:
    given = {"name": "q", "source_type": "CODE", "created": 1_700_000_000_001, "updated": 1_700_000_000_002}
    values = [None, True, 0, -1.5, 1 << 50, "", "ü", [], {}, [None, [1]], {"a": {"b": None}}]
    assessments = [
        {**given, "assessment_id": f"a-{kind}-{number:02}", "type": kind, "value": value}
        for kind in ("feedback", "expectation")
        for number, value in enumerate(values)
        if not (kind == "expectation" and value is None)
    ]
    traces = [
        _trace(trace_id(1), assessments=assessments, metadata={"long": "x" * 1000, "mlflow.modelId": "m-1"}),
        _trace(trace_id(2), timestamp=1_700_000_000_001, duration=None, state="IN_PROGRESS"),
        _trace(trace_id(3), timestamp=1_700_000_000_002, duration=0, state="STATE_UNSPECIFIED", request_preview=""),
        _trace(trace_id(4), timestamp=4_102_444_800_000, duration=1 << 40, tags={"long": "y" * 8000}),
    ]
    done = restore_as_planned(other, tmp_path, DEFAULT, *traces)
    assert done.exit_code == 0, done.issues
    with closing(sqlite3.connect(other.database)) as db:
        assert db.execute("SELECT length(value) FROM trace_request_metadata WHERE key = 'long'").fetchone() == (1000,)


def test_an_id_that_means_something_in_addresses(other: Server, tmp_path: Path) -> None:
    says = {"assessment_id": "a-1", "name": "good", "type": "feedback", "value": True}
    trace = Trace.model_validate(
        {"trace_id": "tr?a#b%2Fc", "experiment_id": "7", "timestamp": 5, "duration": 1, "state": "OK"}
        | {"tags": {"team": "a", "mlflow.trace.spansLocation": "TRACKING_STORE"}}
        | {"assessments": [says | {"source_type": "HUMAN", "source_id": "ada", "created": 1, "updated": 1}]}
    )
    write(tmp_path / "made", [Experiment(experiment_id="7", name="odd", artifact_location="gs://bucket/7"), trace])
    done = restore_as_planned(other, tmp_path / "made")
    assert (done.exit_code, done.created["traces"], done.created["assessments"]) == (0, 1, 1), done.issues
