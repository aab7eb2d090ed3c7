"""Traces and spans that no server writes, from a store or a prepared snapshot: named or kept, and no harm to others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import mlmeta
from mlmeta import restore
from mlmeta.errors import ExitCode
from mlmeta.schema import SPANS, TRACES, SpanLine, Trace
from tests.builders.everything import fill_everything
from tests.support import hostile
from tests.support.cli import Cli

DEEP = "[" * 7_000
EVENTS = '"events": []'
TIME = '"start_time_unix_nano": 17'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with one of everything. Not to be changed."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    fill_everything(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def sound(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot of it. Not to be changed."""
    folder = tmp_path_factory.mktemp("sound")
    mlmeta.backup(f"sqlite:///{store}", str(folder))
    return folder


def _contents(content: str) -> Iterator[str]:
    """Contents of spans that a database can't hold as they are in columns."""
    yield content.replace(TIME, f'"start_time_unix_nano": 17{"0" * 20}')
    yield content.replace(TIME, '"start_time_unix_nano": -99999999917')
    yield content.replace('"end_time_unix_nano": 1', '"end_time_unix_nano": 9999999999991')
    for name in ("mlflow.llm.cost", "mlflow.llm.model"):
        yield content.replace('"attributes": {', f'"attributes": {{"{name}": "{DEEP}", ')
    yield content.replace('"attributes": {', '"attributes": {"mlflow.spanType": {"a": 1}, ')
    yield content.replace(EVENTS, f'"events": {"[" * 150 + "]" * 150}')
    yield content.replace('"trace_id": "', '"trace_id": "AAAA')


def _traces(trace: Trace, line: SpanLine) -> Iterator[tuple[Trace, list[SpanLine]]]:
    bare = trace.model_copy(update={"assessments": ()})
    odd: list[dict[str, Any]] = [
        {"timestamp": (1 << 63) - 1, "duration": (1 << 63) - 1},
        {"timestamp": -(1 << 63), "duration": -(1 << 63)},
        {"metadata": {"mlflow.trace.cost": DEEP, "mlflow.trace.tokenUsage": '{"input_tokens": 1e30}'}},
    ]
    for number, fields in enumerate(odd):
        yield bare.model_copy(update={"trace_id": f"odd-{number}", **fields}), []
    text = (line.content or b"").decode()
    for number, content in enumerate(_contents(text)):
        assert content != text
        trace_id = f"tr-{number:032x}"
        made = SpanLine.of_content(trace_id, line.span_id, content.encode())
        yield bare.model_copy(update={"trace_id": trace_id}), [made]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_they_come_back_in_every_database(
    kind: str, sound: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    snapshot = mlmeta.open_snapshot(str(sound), "latest")
    (trace, *_), (line, *_) = snapshot.records(TRACES), snapshot.lines(SPANS)
    items = sorted(_traces(trace, line), key=lambda item: TRACES.order(item[0]))

    def change(made: hostile.Snapshot) -> None:
        made.lines("traces", *(trace.to_line() for trace, _ in items))
        made.lines("spans", *(line.line for _, lines in items for line in lines))
        made.lines("rows")  # they may be of traces that are gone
        made.fields["tables"] = {}

    folder = str(hostile.build(sound, tmp_path, change).folder)
    uri = f"sqlite:///{tmp_path}/target.db" if kind == "sqlite" else str(request.getfixturevalue(kind)())
    done = restore(uri, hostile.BAD, folder, on_conflict="skip")
    assert [issue.message for issue in done.issues] == []
    assert (done.exit_code, done.created["traces"]) == (ExitCode.DONE, len(items))
    assert done.comparison is not None
    assert done.comparison.matching["trace"] == len(items)


IN_A_STORE = {
    "an assessment that is too deep": ("UPDATE assessments SET value = ?", "[" * 150 + "]" * 150, ExitCode.INCOMPLETE),
    "one with half a surrogate": ("UPDATE assessments SET value = ?", '"\\ud800"', ExitCode.INCOMPLETE),
    "one that no reader takes": ("UPDATE assessments SET value = ?", DEEP, ExitCode.INCOMPLETE),
    "metadata that no reader takes": ("UPDATE trace_request_metadata SET value = ?", DEEP, ExitCode.DONE),
    "a span that is no JSON": (
        f"UPDATE spans SET content = replace(content, '{EVENTS}', ?)",
        '"events": [NaN]',
        ExitCode.DONE,
    ),
    "a span that is too deep": (
        f"UPDATE spans SET content = replace(content, '{EVENTS}', ?)",
        f'"events": [{"[" * 300 + "]" * 300}]',
        ExitCode.DONE,
    ),
}


@pytest.mark.parametrize("name", IN_A_STORE)
def test_what_a_store_has_is_saved_or_named(name: str, store: Path, tmp_path: Path) -> None:
    statement, value, code = IN_A_STORE[name]
    source = tmp_path / "source.db"
    source.write_bytes(store.read_bytes())
    with closing(sqlite3.connect(source)) as db, db:
        db.execute(statement, (value,))
    done = mlmeta.backup(f"sqlite:///{source}", str(tmp_path / "b"))
    assert done.exit_code == code
    assert mlmeta.verify("latest", str(tmp_path / "b")).exit_code == ExitCode.DONE
    back = restore(f"sqlite:///{tmp_path}/target.db", "latest", str(tmp_path / "b"))
    assert back.exit_code == ExitCode.DONE, back.issues


def test_an_assessment_that_no_reader_takes_is_damage(sound: Path, tmp_path: Path) -> None:
    def change(made: hostile.Snapshot) -> None:
        content = made.path("traces").read_text()
        traces = json.loads(content)
        next(trace for trace in traces if trace["assessments"])["assessments"][0]["value"] = json.loads(
            "[" * 150 + "]" * 150
        )
        made.lines("traces", *(json.dumps(trace).encode() for trace in traces))

    folder = str(hostile.build(sound, tmp_path, change).folder)
    assert mlmeta.verify(hostile.BAD, folder).exit_code == ExitCode.DIFFERENT


def test_they_are_shown(sound: Path, tmp_path: Path, cli: Cli) -> None:
    (trace, *_) = mlmeta.open_snapshot(str(sound), "latest").records(TRACES)
    odd = {
        "timestamp": (1 << 63) - 1,
        "metadata": dict.fromkeys(("mlflow.trace.tokenUsage", "mlflow.trace.cost"), DEEP),
    }

    def change(made: hostile.Snapshot) -> None:
        made.lines("traces", trace.model_copy(update=odd).to_line())
        made.lines("spans")

    folder = str(hostile.build(sound, tmp_path, change).folder)
    assert (
        trace.trace_id.removeprefix("tr-")[:8] in cli("show", hostile.BAD, "--traces", "--storage", folder).ended(0).out
    )
    assert trace.trace_id in cli("show", hostile.BAD, "--trace", trace.trace_id, "--storage", folder).ended(0).out
