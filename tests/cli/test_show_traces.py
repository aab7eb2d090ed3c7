"""`mlmeta show --traces` and `--trace`: traces, the tree of their spans, and what people think of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mlmeta.commands.show_genai import tree
from mlmeta.errors import ExitCode
from mlmeta.schema import Span, Trace
from tests.builders.snapshots import experiment, write
from tests.support.cli import Cli

BEGAN = 1_700_000_000_000
TRACES = tuple(
    Trace.model_validate(
        {
            "trace_id": f"tr-{number}{'a' * 31}",
            "experiment_id": "1",
            "timestamp": BEGAN + number,
            "duration": duration,
            "state": "OK" if number else "ERROR",
            "request_preview": "wie spät ist es?",
            "tags": {"mlflow.traceName": f"chat-{number}", "mlflow.trace.spansLocation": "TRACKING_STORE"},
            "metadata": {
                "mlflow.trace.tokenUsage": '{"input_tokens": 1200, "output_tokens": 34, "total_tokens": 1234}',
                "mlflow.trace.session": "afternoon",
            },
        }
    )
    for number, duration in enumerate((70, 1_250, 125_000))
)
ASSESSED = Trace.model_validate(
    dict(TRACES[0])
    | {
        "assessments": [
            {"assessment_id": "a-1", "name": "good", "type": "feedback", "value": False, "rationale": "too short"}
            | {"source_type": "HUMAN", "source_id": "ada", "created": 1, "updated": 1, "valid": False},
        ]
    }
)


def span(name: str, parent: str = "", start: int = 0, **more: Any) -> Span:
    """A span of the first trace, as MLflow writes it: ids in base64."""
    content = {
        "trace_id": "eA==",
        "span_id": _coded(name),
        "parent_span_id": _coded(parent) if parent else None,
        "name": name,
        "start_time_unix_nano": BEGAN * 1_000_000 + start,
        "end_time_unix_nano": BEGAN * 1_000_000 + start + 2_500_000,
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {"mlflow.spanType": '"LLM"', "mlflow.spanInputs": '{"q": "wie spät?"}'},
    }
    return Span(trace_id=TRACES[0].trace_id, span_id=name.encode().hex(), content=content | more)


def _coded(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


SPANS = (
    span("root"),
    span("first", "root", 1_000_000),
    span("second", "root", 4_000_000, status={"code": "STATUS_CODE_ERROR", "message": "boom"}),
    span("deep", "first", 2_000_000),
)


@pytest.fixture
def saved(cli: Cli) -> Path:
    folder = cli.folder / "backups"
    write(folder, [experiment("1", "talk"), experiment("2", "silence"), ASSESSED, *TRACES[1:], *SPANS])
    return folder


def test_traces_are_listed_newest_first(cli: Cli, saved: Path) -> None:
    found = cli("show", "--traces", "--json").ok().data
    assert [trace["tags"]["mlflow.traceName"] for trace in found["traces"]] == ["chat-2", "chat-1", "chat-0"]
    shown = cli("show", "--traces", "--limit", "2").ok().out
    assert [
        word for word in ("chat-2", "talk", "2 min 5 s", "1.25 s", "1,234", "and 1 more") if word not in shown
    ] == []
    assert "chat-0" not in shown
    assert cli("show", "--traces", "--experiment", "silence").ok().out.strip() == "No traces."


def test_a_trace_is_shown_with_its_tree_of_spans(cli: Cli, saved: Path) -> None:
    shown = cli("show", "--trace", "tr-0aa").ok().out
    names = [line.split(" LLM")[0].rstrip() for line in shown.splitlines() if " LLM" in line]
    assert [len(name) - len(name.lstrip()) for name in names] == [len(names[0]) - 4 + deep for deep in (0, 2, 4, 2)]
    assert [name.strip() for name in names] == ["root", "first", "deep", "second"]
    wanted = ("wie spät ist es?", "afternoon", "1,200 input", "ERROR", "4 ms")
    assert [word for word in (*wanted, "good (replaced)", "human ada", "too short") if word not in shown] == []
    assert '{"q": "wie spät?"}' in cli("show", "--trace", "tr-0aa", "--verbose").ok().out


def test_a_trace_as_json_has_all_of_it(cli: Cli, saved: Path) -> None:
    found = cli("show", "--trace", TRACES[0].trace_id, "--json").ok().data
    assert [(node["name"], node["depth"]) for node in found["spans"]] == [
        ("root", 0),
        ("first", 1),
        ("deep", 2),
        ("second", 1),
    ]
    assert found["spans"][0]["content"] == json.loads(SPANS[0].model_dump_json())["content"]
    assert found["experiment"] == "talk"
    assert found["trace"]["assessments"][0]["value"] is False


def test_a_trace_without_spans_says_where_they_are(cli: Cli, saved: Path) -> None:
    assert "no spans in this snapshot: they are in TRACKING_STORE" in cli("show", "--trace", "tr-2").ok().out


def test_a_trace_that_is_not_there_or_not_clear_is_wrong_usage(cli: Cli, saved: Path) -> None:
    assert "has no trace 'tr-9'" in cli("show", "--trace", "tr-9").ended(ExitCode.USAGE).err
    assert "begin with 'tr-'" in cli("show", "--trace", "tr-").ended(ExitCode.USAGE).err


def test_spans_that_lead_nowhere_or_in_a_circle_are_there_once() -> None:
    odd = [span("lost", "gone"), span("a", "b", 1), span("b", "a", 2), span("self", "self", 3)]
    archived = Span(trace_id="t", span_id="9", content=None, name="old", status="OK", start=5, end=7)
    bare = Span(trace_id="t", span_id="8", content="not JSON")
    nodes = list(tree([*odd, archived, bare]))
    assert sorted(node.name for node in nodes) == ["UNKNOWN", "a", "b", "lost", "old", "self"]
    assert next(node for node in nodes if node.name == "old").type == "UNKNOWN"


def test_traces_are_counted_in_the_list(cli: Cli, saved: Path) -> None:
    heading, _, row = cli("list").ok().out.splitlines()[:3]
    assert heading.split()[3:7] == ["EXPERIMENTS", "RUNS", "TRACES", "MODELS"]
    assert row.split()[-7:-3] == ["2", "0", "3", "0"]
