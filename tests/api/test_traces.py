"""Traces through a server: saved with their spans as its database has them, and back in another one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import backup
from tests.builders.tracing import SpanSpec, assess, fill_traces, send_spans, start_trace, trace_id
from tests.support.databases import change
from tests.support.proxy import Proxy, proxy
from tests.support.reading import data_files, raw
from tests.support.server import Server

pytestmark = pytest.mark.uvicorn


@pytest.fixture
def traced(server: Server) -> Server:
    """A server with an experiment that has traces."""
    client = MlflowClient(server.uri)
    experiment_id = client.create_experiment("traced")
    fill_traces(server.uri, experiment_id, client.create_run(experiment_id, start_time=1).info.run_id)
    return server


def test_spans_are_what_the_database_has_to_the_byte(traced: Server, tmp_path: Path) -> None:
    saved = backup(traced.uri, [str(tmp_path)])
    assert saved.exit_code == 0, saved.skipped
    assert [saved.stats[kind] for kind in ("traces", "spans", "assessments")] == [4, 6, 6]
    with closing(sqlite3.connect(traced.database)) as db:
        rows = db.execute("SELECT trace_id, content FROM spans ORDER BY trace_id, start_time_unix_nano").fetchall()
    lines = data_files(tmp_path)["spans"].decode().splitlines()[1:-1]
    assert [line.partition('"content":')[2].removesuffix(",").removesuffix("}") for line in lines] == [
        content for _, content in rows
    ]


def test_the_same_bytes_through_a_server_and_from_its_database(traced: Server, tmp_path: Path) -> None:
    client = MlflowClient(traced.uri)
    for number, experiment_id in enumerate((client.create_experiment("more"), client.create_experiment("gone")), 20):
        send_spans(traced.uri, number, [SpanSpec(2), SpanSpec(1, 2)], experiment_id)
    error = {"error_code": "E", "error_message": "", "stack_trace": ""}
    assess(traced.uri, 20, "a-20", feedback={"value": None, "error": error})
    empty = ("source_id", "run_id", "span_id", "rationale", "overrides")
    assigned = ", ".join(f"{name} = ''" for name in empty)  # a client of the database itself leaves it at that
    change(traced.database, f"UPDATE assessments SET {assigned} WHERE assessment_id = 'a-20'")
    client.delete_experiment(experiment_id)
    through, straight = (backup(uri, [str(tmp_path / uri[:4])]) for uri in (traced.uri, traced.backend))
    assert data_files(tmp_path / "http") == data_files(tmp_path / "sqli")
    assert through.stats == straight.stats
    (said,) = next(one["assessments"] for one in raw(tmp_path / "http", "traces") if one["trace_id"] == trace_id(20))
    assert [said[name] for name in empty] == [None] * 5
    assert [text for text in through.warnings if "spans" in text] == [
        text for text in straight.warnings if "spans" in text
    ]
    assert any("spans of 1 trace are not in the tracking store" in text for text in through.warnings)


def test_what_is_said_of_a_trace(traced: Server, tmp_path: Path) -> None:
    backup(traced.uri, [str(tmp_path)])
    first, second, third, fourth = raw(tmp_path, "traces")
    assert [one["trace_id"] for one in (first, second, third, fourth)] == [trace_id(number) for number in range(1, 5)]
    assert (first["timestamp"], first["duration"], first["state"]) == (1_700_000_001_123, 35, "OK")
    assert (second["state"], second["duration"], third["duration"]) == ("ERROR", 1500, 1)
    assert (first["client_request_id"], first["request_preview"]) == ("client-1", "Grüße")
    assert first["tags"]["mlflow.traceName"] == "first"
    assert first["metadata"]["mlflow.trace.session"] == "s-1"
    assert json.loads(first["metadata"]["mlflow.trace.tokenUsage"])["total_tokens"] == 7
    found = {one["assessment_id"]: one for one in first["assessments"]}
    assert list(found) == [f"a-{number}" for number in range(1, 7)]
    assert [one["value"] for one in found.values()] == [
        *(3, [1, 2.5, "x"], "yes", {"a": None, "b": [1, {"c": 2.5}]}, None, {"issue_name": "slow"})
    ]
    assert [found[one]["valid"] for one in ("a-1", "a-2")] == [False, True]
    assert (found["a-1"]["created"], found["a-1"]["updated"]) == (1_700_006_400_500, 1_700_006_401_000)
    assert found["a-5"]["error"]["error_message"] == "too many"


def test_a_value_that_the_api_cuts_is_named_and_one_that_is_just_as_long_is_not(server: Server, tmp_path: Path) -> None:
    for number, length in enumerate((249, 250, 251, 1000), start=1):
        start_trace(server.uri, number, trace_metadata={"note": "x" * length}, tags={"tag": "y" * (length + 3846)})
    saved = backup(server.uri, [str(tmp_path)])
    assert saved.exit_code == 3
    assert [(one.kind, one.id) for one in saved.skipped] == [
        (f"trace {field}", f"{trace_id(number)}/{key}")
        for field, key in (("metadata", "note"), ("tags", "tag"))
        for number in (3, 4)
    ]


def test_one_trace_that_cannot_be_read_is_named_alone(traced: Server, tmp_path: Path) -> None:
    change(traced.database, "UPDATE spans SET content = '{' WHERE trace_id = ?", trace_id(2))
    change(traced.database, "UPDATE assessments SET value = 'no JSON' WHERE trace_id = ?", trace_id(1))
    send_spans(traced.uri, 5, [SpanSpec(1)], "1")
    saved = backup(traced.uri, [str(tmp_path)])
    assert saved.exit_code == 3
    assert [(one.kind, one.id) for one in saved.skipped] == [
        ("spans", trace_id(2)),
        ("traces", "of experiment 1, number 1"),
    ]
    assert [one["trace_id"] for one in raw(tmp_path, "traces")] == [trace_id(number) for number in range(2, 6)]
    assert saved.stats["spans"] == 3


def _ended(server: Server, number: int, spans: int = 1) -> None:
    """A trace as MLflow's client leaves it: with a count of its spans."""
    send_spans(server.uri, number, [SpanSpec(one + 1) for one in range(spans)])
    start_trace(server.uri, number, trace_metadata={"mlflow.trace.sizeStats": f'{{"num_spans": {spans}}}'})


def _asked_for(through: Proxy) -> list[str]:
    return sorted(one.path.partition("request_id=")[2] for one in through.requests if "get-trace-artifact" in one.path)


def test_spans_that_cannot_have_changed_are_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    for number in range(1, 8):
        _ended(server, number, spans=2)
    send_spans(server.uri, 8, [SpanSpec(1)])  # nobody says how many there will be
    start_trace(server.uri, 9, state="IN_PROGRESS")
    with proxy(server.uri) as through:
        first = backup(through.uri, [str(tmp_path / "a")])
        assert len(_asked_for(through)) == 8
        change(server.database, "DELETE FROM trace_info WHERE request_id = ?", trace_id(2))  # gone
        start_trace(server.uri, 3, execution_duration="0.5s")  # went on
        change(server.database, "DELETE FROM trace_request_metadata WHERE request_id = ?", trace_id(4))
        more = {"trace_metadata": {"mlflow.trace.sizeStats": '{"num_spans": 3}'}}
        send_spans(server.uri, 5, [SpanSpec(3)])
        start_trace(server.uri, 5, **more)
        _ended(server, 10)  # new
        change(server.database, "UPDATE trace_tags SET value = 'other' WHERE request_id = ?", trace_id(6))
        change(server.database, "UPDATE trace_tags SET value = 'TRACKING_STORE' WHERE key LIKE '%spansLocation'")
        through.requests.clear()
        second = backup(through.uri, [str(tmp_path / "a")], incremental=True)
        assert _asked_for(through) == [trace_id(number) for number in (3, 4, 5, 8, 10)]
        full = backup(through.uri, [str(tmp_path / "b")])
    assert second.incremental_base == first.timestamp
    assert data_files(tmp_path / "a", second.timestamp) == data_files(tmp_path / "b")
    assert second.stats == full.stats


def test_a_damaged_base_is_not_used(server: Server, tmp_path: Path) -> None:
    _ended(server, 1)
    first = backup(server.uri, [str(tmp_path)])
    (spans,) = tmp_path.glob("spans_*")
    spans.write_bytes(spans.read_bytes().replace(b'"span"', b'"spam"'))
    second = backup(server.uri, [str(tmp_path)], incremental=True)
    assert second.exit_code == 0
    assert not second.incremental_base
    assert b'"span"' in data_files(tmp_path, second.timestamp)["spans"]
    assert first.timestamp != second.timestamp
