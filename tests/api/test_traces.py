"""Traces through a server: saved with their spans as its database has them, and back in another one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import backup
from tests.builders.tracing import SpanSpec, fill_traces, send_spans, start_trace, trace_id
from tests.support.databases import change
from tests.support.reading import data_files, raw
from tests.support.server import Server


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
