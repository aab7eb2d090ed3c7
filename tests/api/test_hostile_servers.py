"""A server that is broken or means ill: it ends soon, is named, and nothing half-written is left."""

from __future__ import annotations

import itertools
import time
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlmeta import backup, open_snapshot, verify
from mlmeta.errors import UnreachableError
from mlmeta.schema import RUNS
from mlmeta.stores.api import bounded, connection, paging
from tests.support.cli import Cli
from tests.support.hostile_server import Answer, Asked, experiment, hostile_server, run

RUN_SEARCH = "/runs/search"
HISTORY = "/metrics/get-history"
BULK = "/get-history-bulk"
MODELS = "/registered-models/search"
NOTHING = {"experiments": 2, "runs": 0, "models": 0, "model_versions": 0, "metric_points": 0}
_numbers = itertools.count()


def _status(code: int, **headers: str) -> Answer:
    return lambda asked: asked.reply({"error_code": "INTERNAL_ERROR", "message": "boom"}, code, **headers)


def _body(content: Any, **headers: str) -> Answer:
    return lambda asked: asked.reply(content, **headers)


def _runs(*found: Any) -> Answer:
    return lambda asked: asked.reply({"runs": found} if asked.content["experiment_ids"] == ["1"] else {})


def _endless(what: str, **page: Any) -> Answer:
    return lambda asked: asked.reply({**page, "next_page_token": what or f"t{next(_numbers)}"})


def _flood(asked: Asked) -> None:
    asked.begin(content_type="application/json")
    asked.wfile.write(b'{"runs": "')
    while True:
        asked.wfile.write(b"a" * 1_000_000)


def _line_flood(asked: Asked) -> None:
    asked.begin(transfer_encoding="chunked")
    while True:
        asked.wfile.write(b"0" * 1_000_000)


def _header_flood(asked: Asked) -> None:
    while True:
        asked.wfile.write(b"HTTP/1.1 100 Continue\r\nX: " + b"a" * 60_000 + b"\r\n\r\n")


def _reset(asked: Asked) -> None:
    asked.close_connection = True
    asked.connection.close()


def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(512)) + packer.flush()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps before the rest is given up; the number itself has a test in `test_failures`."""
    monkeypatch.setattr(paging, "_MOST_LOST", 2)


UNREADABLE: dict[str, tuple[Answer, str]] = {
    "500": (_status(500), "INTERNAL_ERROR: boom"),
    "429 for an hour": (_status(429, retry_after="3600"), "INTERNAL_ERROR: boom"),
    "503 until 9999": (_status(503, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"), "INTERNAL_ERROR: boom"),
    "503 for a word": (_status(503, retry_after="\xb2"), "INTERNAL_ERROR: boom"),
    "403": (_status(403), "INTERNAL_ERROR: boom"),
    "empty": (_body(b""), "the reply is empty"),
    "HTML": (_body(b"<html>login</html>", content_type="text/html"), "the reply is text/html"),
    "an array": (_body([]), "not a JSON object"),
    "cut": (_body(b'{"runs": ['), "not in a valid JSON"),
    "no list": (_body({"runs": 5}), "Failed to parse runs"),
    "a surrogate": (_body(b'{"runs":[{"info":{"run_id":"\\ud800"}}]}'), "Failed to parse"),
    "flooded": (_flood, "larger than 32 MiB"),
    "one line": (_line_flood, ""),
    "headers": (_header_flood, "larger than 32 MiB"),
    "reset": (_reset, ""),
    "a bomb": (_body(_bomb(), content_encoding="gzip"), "larger than 32 MiB"),
    "not packed": (_body({"runs": []}, content_encoding="gzip"), "can't be unpacked"),
    "packed otherwise": (_body(b"{}", content_encoding="br"), "encoded as 'br'"),
    "deep": (_body(b'{"runs":' + b"[" * 100_000), "not in a valid JSON"),
    "5,000 digits": (_body(b'{"runs":[{"info":{"start_time":' + b"9" * 5000 + b"}}]}"), "not in a valid JSON"),
    "many keys": (_body(b'{"runs":{' + b'"":1,' * 5_000_000 + b'"":1}}'), "more than 1,000,000 values"),
    "a redirect": (lambda a: a.begin(307, location="http://localhost:1/", content_length="0"), "http://localhost"),
    "a circle": (lambda a: a.begin(307, location=a.path, content_length="0"), ""),
    "no new pages": (_endless("", runs=[]), "the same page again and again"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_runs_that_can_not_be_read_are_named(tmp_path: Path, what: str) -> None:
    answer, reason = UNREADABLE[what]
    before = psutil.Process().memory_info().rss
    began = time.monotonic()
    with hostile_server({RUN_SEARCH: answer}) as server:
        result = backup(server.uri, [str(tmp_path)])
    assert time.monotonic() - began < 45
    assert psutil.Process().memory_info().rss - before < 300 << 20
    assert result.exit_code == 3
    assert result.stats == NOTHING
    assert [skipped.id for skipped in result.skipped] == ["experiment 1, all", "experiment 2, all"]
    assert all(reason in skipped.reason for skipped in result.skipped)
    assert server.count(RUN_SEARCH) < 1500
    assert verify(storage=str(tmp_path)).exit_code == 0


SOME: dict[str, tuple[Answer, list[int], list[str]]] = {
    "no id": (_runs(run(1, run_id=""), run(2)), [2], ["it has no id"]),
    "nothing": (_runs({}, run(2)), [2], ["it has no id"]),
    "an odd stage": (_runs(run(1, lifecycle_stage="odd"), run(2)), [2], ["its lifecycle stage is 'odd'"]),
    "twice": (_runs(run(1), run(1), run(2)), [1, 2], []),
    "twice, apart": (
        _runs(run(1), run(2), run(1, start_time=9000)),
        [1, 2],
        ["the server returned it twice, in two places"],
    ),
    "out of order": (_runs(run(5), run(1)), [5], ["the server returned it out of order"]),
    "of another": (_runs(run(1, "2"), run(2)), [2], ["the server returned it as one of experiment 1, not 2"]),
}


@pytest.mark.parametrize("what", SOME)
def test_a_run_that_is_odd_costs_that_run(tmp_path: Path, what: str) -> None:
    answer, saved, reasons = SOME[what]
    with hostile_server({RUN_SEARCH: answer}) as server:
        result = backup(server.uri, [str(tmp_path)])
    assert result.exit_code == (3 if reasons else 0)
    assert [skipped.reason for skipped in result.skipped] == reasons
    assert [record.run_id for record in open_snapshot(str(tmp_path)).records(RUNS)] == [f"{n:032x}" for n in saved]
    assert verify(storage=str(tmp_path)).exit_code == 0


def test_a_page_token_that_comes_again(tmp_path: Path) -> None:
    def same(asked: Asked) -> None:
        number = next(_numbers)
        asked.reply({"runs": [run(number, asked.content["experiment_ids"][0])], "next_page_token": "same"})

    with hostile_server({RUN_SEARCH: same}) as server:
        result = backup(server.uri, [str(tmp_path)])
    assert [skipped.id for skipped in result.skipped] == ["experiment 1, the rest", "experiment 2, the rest"]
    assert server.count(RUN_SEARCH) <= 6


OTHERS: dict[str, tuple[dict[str, Answer], list[tuple[str, str]]]] = {
    "registry 404": ({MODELS: _status(404)}, [("registered model", "all")]),
    "registry off": (
        {MODELS: lambda a: a.reply({"error_code": "FEATURE_DISABLED", "message": "off"}, 400)},
        [("registered model", "all")],
    ),
    "registry empty": ({MODELS: _body(b"")}, [("registered model", "all")]),
    "registry without end": (
        {MODELS: _endless("", registered_models=[{"name": "m", "creation_timestamp": 1}])},
        [("registered model", "the rest"), ("registered model", "the rest (prompts)")],
    ),
    "an invalid version": (
        {
            MODELS: _body({"registered_models": [{"name": "m", "creation_timestamp": 1}]}),
            "/model-versions/search": _body({"model_versions": [{"name": "m", "version": "x"}]}),
        },
        [("registered model", "m")],
    ),
    "histories 500": (
        {HISTORY: _status(500)},
        [("metric history", f"{n:032x}/loss") for n in (10, 11, 12, 20, 21, 22)],
    ),
    "histories without end": (
        {HISTORY: _endless("", metrics=[{"key": "loss", "value": 1, "step": 1, "timestamp": 1}])},
        [("metric history", f"{n:032x}/loss") for n in (10, 11, 12, 20, 21, 22)],
    ),
    "bulk of others": ({BULK: _body({"metrics": [{"run_id": "x", "value": 1, "step": 1, "timestamp": 1}]})}, []),
    "bulk without end": ({BULK: _body(b'{"metrics":' + b"[" * 100_000)}, []),
    "bulk busy": ({BULK: _status(503, retry_after="3600")}, []),
    "two experiments of an id": (
        {"/experiments/search": lambda a: a.reply({"experiments": [experiment(1), experiment(1, name="x")]})},
        [("experiment", "1")],
    ),
    "an experiment without a name": (
        {"/experiments/search": lambda a: a.reply({"experiments": [experiment(1), experiment(2, name="")]})},
        [("experiment", "2")],
    ),
    "logged models 500": (
        {"/logged-models/search": _status(500)},
        [("logged models", "of experiment 1"), ("logged models", "of experiment 2")],
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_else_can_not_be_read_is_named(tmp_path: Path, what: str) -> None:
    answers, skipped = OTHERS[what]
    with hostile_server(answers) as server:
        result = backup(server.uri, [str(tmp_path)])
    assert [(one.kind, one.id) for one in result.skipped] == skipped
    assert result.exit_code == (3 if skipped else 0)
    assert result.stats["runs"] == (3 if "experiment" in what and "models" not in what else 6)
    assert verify(storage=str(tmp_path)).exit_code == 0


def test_credentials_do_not_follow_to_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token")
    with hostile_server() as other:
        elsewhere = other.uri.replace("127.0.0.1", "localhost")

        def away(asked: Asked) -> None:
            asked.begin(307, location=f"{elsewhere}{asked.path}", content_length="0")

        with hostile_server({RUN_SEARCH: away}) as server:
            result = backup(server.uri, [str(tmp_path)])
    assert result.exit_code == 3
    assert other.asked == []
    assert all("Authorization" in headers for _, headers in server.asked)


def test_a_proxy_that_the_environment_names_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with hostile_server() as server, hostile_server() as proxy:
        first = backup(server.uri, [str(tmp_path)])
        asked = len(server.asked)
        monkeypatch.setenv("http_proxy", proxy.uri)
        second = backup(server.uri, [str(tmp_path)])
    assert first.exit_code == second.exit_code == 0
    assert len(server.asked) == asked
    assert proxy.asked


def _drip(first: bytes) -> Answer:
    def answer(asked: Asked) -> None:
        asked.wfile.write(first)
        while True:
            asked.wfile.write(b" ")
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_reply_that_drips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setattr(bounded, "_GRACE", 0.2)
    monkeypatch.setattr(bounded, "_SLOW", 0.3)
    with hostile_server({RUN_SEARCH: _drip(first)}) as server:
        result = backup(server.uri, [str(tmp_path)])
    assert [skipped.id for skipped in result.skipped] == ["experiment 1, all", "experiment 2, all"]


def test_a_server_that_only_fails_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_STANDSTILL", 0.0)
    with hostile_server({RUN_SEARCH: _status(500)}) as server, pytest.raises(UnreachableError, match="no call"):
        backup(server.uri, [str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_server_from_before_experiments_were_searched(tmp_path: Path) -> None:
    """MLflow 1.27 and older know a list of experiments, and neither a bulk endpoint nor logged models."""

    def unknown(asked: Asked) -> None:
        asked.reply(b"<!doctype html><title>404 Not Found</title>", 404, content_type="text/html")

    answers: dict[str, Answer] = {
        "/experiments/search": unknown,
        "/experiments/list": lambda asked: asked.reply({"experiments": [experiment(1), experiment(2)]}),
        "/logged-models/search": unknown,
        "/traces/search": unknown,
        "/version": lambda asked: asked.reply(b"1.27.0"),
    }
    with hostile_server(answers) as server:
        result = backup(server.uri, [str(tmp_path)])
    assert result.exit_code == 0, result.skipped
    assert (result.stats["experiments"], result.stats["runs"], result.stats["metric_points"]) == (2, 6, 12)


def test_on_screen(cli: Cli) -> None:
    with hostile_server({RUN_SEARCH: _body(b"<html>", content_type="text/html")}) as server:
        done = cli("backup", "--tracking-uri", server.uri).ended(3)
    assert "not saved: run experiment 1, all: the reply is text/html" in done.err
    assert "bug" not in done.err
