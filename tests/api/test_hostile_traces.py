"""What a server may say of traces and spans: never a crash, never without an end, never more than it may take."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mlmeta import backup
from mlmeta.stores.api import spans as spans_module
from tests.builders.tracing import trace_id
from tests.support.hostile_server import Answer, Asked, hostile_server
from tests.support.reading import raw


def info(number: int, experiment_id: str = "1", **fields: Any) -> dict[str, Any]:
    """A trace, as MLflow's API shows it."""
    return {
        "trace_id": trace_id(number),
        "trace_location": {"mlflow_experiment": {"experiment_id": experiment_id}},
        "request_time": f"2023-11-14T22:13:{number:02}Z",
        "state": "OK",
        "tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"},
        **fields,
    }


def span(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A span in MLflow's JSON."""
    return {
        "trace_id": "AAAAAAAAAAAAAAAAAAAAAQ==",
        "span_id": f"{number:016x}",
        "start_time_unix_nano": number,
        **fields,
    }


def found(*infos: Any, **more: Any) -> Answer:
    """A search that finds these in experiment 1, and nothing in the other."""

    def answer(asked: Asked) -> None:
        where = [one["mlflow_experiment"]["experiment_id"] for one in asked.content["locations"]]
        asked.reply({"traces": list(infos), **more} if "1" in where else {})

    return answer


def body(content: bytes) -> Answer:
    return lambda asked: asked.reply(content)


BODIES: dict[str, bytes] = {
    "a page of a proxy": b"<html>",
    "a list": b"[]",
    "no spans": b"{}",
    "numbers": b'{"spans":[1]}',
    "no ids": b'{"spans":[{}]}',
    "an id of another type": b'{"spans":[{"span_id": 5}]}',
    "cut off": json.dumps({"spans": [span()]}, separators=(",", ":")).encode()[:-2],
    "cut off after a comma": b'{"spans":[' + json.dumps(span()).encode() + b",",
    "more behind": b'{"spans":[]} {}',
    "no UTF-8": b'{"spans":["\xff"]}',
    "nested": b'{"spans":[' + b"[" * 100_000,
    "a span twice": json.dumps({"spans": [span(), span()]}, separators=(",", ":")).encode(),
    "a span at two times": json.dumps({"spans": [span(), span(start_time_unix_nano=9)]}).encode(),
    "half a letter for an id": b'{"spans":[{"span_id":"\\ud800"}]}',
    "too many values": b'{"spans":[{"span_id":"a","x":[' + b"0," * 2_000_000 + b"0]}]}",
}


@pytest.mark.parametrize("name", BODIES)
def test_odd_spans_are_named_and_the_rest_is_saved(tmp_path: Path, name: str) -> None:
    def answer(asked: Asked) -> None:
        asked.reply(BODIES[name] if asked.path.endswith(trace_id(2)) else {"spans": [span()]})

    answers = {"/traces/search": found(info(1), info(2), info(3)), "/get-trace-artifact": answer}
    with hostile_server(answers) as server:
        saved = backup(server.uri, [str(tmp_path)])
    assert [(one.kind, one.id) for one in saved.skipped] == [("spans", trace_id(2))]
    assert (saved.stats["traces"], saved.stats["spans"]) == (3, 2)


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        (info(2, trace_id=""), "without an id"),
        (info(2, request_time="yesterday"), trace_id(2)),
        (info(2, request_time=5), trace_id(2)),
        (info(2, execution_duration="1e99s"), trace_id(2)),
        (info(2, trace_location={}), trace_id(2)),
        (info(2, "7"), trace_id(2)),
        (info(2, tags={"a": None}), trace_id(2)),
        (info(2, trace_metadata=[1]), trace_id(2)),
        (info(2, assessments=[{}]), trace_id(2)),
        (info(2, assessments="a"), trace_id(2)),
        (info(2, tags={"\ud800": "x"}), trace_id(2)),
        (info(2, request_time="2020-01-01T00:00:00Z"), trace_id(2)),
        (info(1), ""),
    ],
)
def test_an_odd_trace_is_named_and_the_rest_is_saved(tmp_path: Path, odd: dict[str, Any], named: str) -> None:
    answers: dict[str, Answer] = {"/traces/search": found(info(1), odd, info(3))}
    answers["/get-trace-artifact"] = body(b'{"spans":[]}')
    with hostile_server(answers) as server:
        saved = backup(server.uri, [str(tmp_path)])
    assert [(one.kind, one.id) for one in saved.skipped] == ([("trace", named)] if named else [])
    assert [one["trace_id"] for one in raw(tmp_path, "traces")] == [trace_id(1), trace_id(3)]


@pytest.mark.parametrize(
    "search",
    [
        found("a", 1),
        body(b'{"traces": 5}'),
        body(b"[]"),
        body(b"<html>"),
        lambda asked: asked.reply({"error_code": "PERMISSION_DENIED", "message": "no"}, 403),
    ],
)
def test_a_search_that_cannot_be_read_is_named(tmp_path: Path, search: Answer) -> None:
    with hostile_server({"/traces/search": search}) as server:
        saved = backup(server.uri, [str(tmp_path)])
    assert {one.kind for one in saved.skipped} == {"traces"}
    assert saved.skipped[0].id.startswith("of experiment 1")
    assert saved.exit_code == 3
    assert saved.stats["runs"] == 6


def test_pages_without_end(tmp_path: Path) -> None:
    answers = {"/traces/search": found(info(1), next_page_token="again"), "/get-trace-artifact": body(b'{"spans":[]}')}
    with hostile_server(answers) as server:
        saved = backup(server.uri, [str(tmp_path)])
    assert [(one.kind, one.id) for one in saved.skipped] == [("traces", "of experiment 1, the rest")]
    assert saved.stats["traces"] == 1


@cache
def _large(size: int) -> Callable[[Asked], None]:
    text = json.dumps({"spans": [span(attributes={"mlflow.spanInputs": "x, " * (size // 3)})]}).encode()
    return lambda asked: asked.reply(text)


def test_large_spans_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large for a batch is asked for by itself; what is larger still is named. None of it piles up."""
    monkeypatch.setattr(spans_module, "_BATCH_BYTES", 1 << 20)
    monkeypatch.setattr(spans_module, "_ONE_BYTES", 2 << 20)
    monkeypatch.setattr(spans_module, "_MOST_BYTES", 8 << 20)
    sizes = dict.fromkeys(range(1, 25), 6 << 20) | {25: 1000, 26: 9 << 20, 27: 1000}
    answers: dict[str, Answer] = {
        "/traces/search": found(*map(info, sizes)),
        "/get-trace-artifact": lambda asked: _large(sizes[int(asked.path[-32:], 16)])(asked),
    }
    with hostile_server(answers) as server:
        tracemalloc.start()
        saved = backup(server.uri, [str(tmp_path)], jobs=2)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert [(one.kind, one.id) for one in saved.skipped] == [("spans", trace_id(26))]
    assert "8 MiB" in saved.skipped[0].reason
    assert saved.stats["spans"] == 26
    assert most < 120 << 20, f"{most >> 20} MiB"
