"""What a screen of a width shows: what is copied stays whole, what is long ends in …, what is least goes."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from mlmeta.cli import show_runs
from mlmeta.cli.diff import _line
from mlmeta.cli.list import table
from mlmeta.cli.progress import progress
from mlmeta.cli.screen import drawn
from mlmeta.cli.text import (
    Block,
    Curve,
    Elastic,
    Pairs,
    Styled,
    Table,
    Verbatim,
    duration,
    iso_moment,
    moment,
    number,
)
from mlmeta.commands.show_runs import MetricOverSteps
from mlmeta.schema import Run
from mlmeta.schema.words import amount
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState
from mlmeta.snapshot.compare import Change
from tests.builders.snapshots import T, experiment, history, logged_model, model, run, trace, version, write
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.terminal import on_terminal

URL = "https://mlflow.internal.a-company-with-a-long-name.example.com:5000/path"


def shown(view: Iterable[Block], width: int = 80, *, wide: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as captured:
        console.print(drawn(view, wide=wide), crop=False)
    return [line.rstrip() for line in captured.get().splitlines()]


def wide_lines(lines: Iterable[str], width: int = 80) -> list[str]:
    return [line for line in lines if cell_len(line) > width]


def snapshots(count: int) -> list[SnapshotInfo]:
    return [
        SnapshotInfo(
            timestamp=f"20260101_{n:06}",
            state=SnapshotState.COMPLETE,
            source=URL if n % 2 else "./mlruns",
            size=10**9,
            age=n * 1000,
            stats={"experiments": 1, "runs": 1_234, "models": 3, "traces": 1},
        )
        for n in range(count)
    ]


def test_a_list_fits_and_names_what_it_leaves_out() -> None:
    lines = shown([table(snapshots(3))])
    assert wide_lines(lines) == []
    assert lines[0].split() == ["TIMESTAMP", "AGE", "SOURCE", "EXPS", "RUNS", "MODELS", "SIZE", "STATE"]
    assert [line[:15] for line in lines[2:5]] == [f"20260101_{n:06}" for n in range(3)]
    assert all(line.endswith("complete") and "1,234" in line for line in lines[2:5])
    assert "https://mlflow.…" in lines[3]
    assert "…" in lines[3]
    assert lines[5] == "no room for TRACES: --wide shows all"
    wide = shown([table(snapshots(3))], wide=True)
    assert URL in wide[3]
    assert "EXPERIMENTS" in wide[0]
    assert len(wide) == 5


def test_a_long_list_is_there_at_once() -> None:
    began = time.process_time()
    assert len(shown([table(snapshots(3000))])) == 3003
    assert time.process_time() - began < 2


def test_ids_and_times_are_short_only_where_there_is_no_room() -> None:
    rows = [(Elastic("a" * 32, "aaaaaaaa"), "模型🎈" * 9, Elastic("2026-01-01 10:11:12", "2026-01-01 10:11"), "7")]
    made = Table(
        ("ID", "NAME", "TIME", "LONG HEADING OF A NUMBER"),
        rows,
        right=("LONG HEADING OF A NUMBER",),
        whole=("ID", "TIME"),
    )
    (_, _, row) = shown([made], 160)
    assert "a" * 32 in row
    assert "10:11:12" in row
    for width in (40, 50, 79):
        lines = shown([made], width)
        assert "aaaaaaaa  " in lines[2]
        assert "2026-01-01 10:11 " in lines[2]
        assert lines[2].endswith("7")
        assert width < 50 or wide_lines(lines, width) == []


def test_a_line_is_folded_between_words_and_never_within_what_is_copied() -> None:
    command = "`mlmeta restore 20260101_000000 --storage gs://a-bucket/of-ours --tracking-uri sqlite:///mlflow.db`"
    lines = shown([f"  try {command} and look at {URL}/{URL} again", Verbatim("mlmeta " + "x y " * 40)], 60)
    assert lines[:3] == ["  try", f"  {command}", "  and look at"]
    assert lines[3] == f"  {URL}/{URL}"
    assert lines[5] == ("mlmeta " + "x y " * 40).rstrip()


def test_pairs_are_cut_unless_they_are_copied() -> None:
    values = {"a": "v" * 100, "k" * 50: "w" * 100}
    cut = shown([Pairs("title", values)])
    assert cut[:2] == ["", "title"]
    assert wide_lines(cut) == []
    assert cut[2].endswith("v…")
    assert cut[3].startswith("k" * 50 + "  w")
    assert shown([Pairs("", values, whole=True)])[0].endswith("v" * 100)


def test_a_curve_has_axes_and_marks() -> None:
    values = [1 / (x + 1) for x in range(2000)]
    lines = shown([Curve(range(2000), values, {1999: Styled("●", ""), 0: Styled("◆", "")}, "0", "1,999")], 60)
    assert wide_lines(lines, 60) == []
    assert lines[0].startswith("      1 ┤◆")
    assert lines[9].startswith(" 0.0005 ┤")
    assert lines[9].endswith("●")
    assert lines[10].startswith("        └─")
    assert (lines[11].split(), len(lines)) == (["0", "1,999"], 12)
    assert any("⠀" < character <= "⣿" for line in lines for character in line)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, 0.5, 0.7], ["◆ best (lowest): 0.5 at step 1", "● last: 0.7 at step 2", "3 points"]),
        ([3.0, 2.0, 1.0], ["◆ last, and best (lowest): 1 at step 2"]),
        ([2.0, 2.0], ["● last: 2 at step 1"]),
        ([1.0], ["● last: 1 at step 0", "1 point"]),
        ([float("nan"), float("inf")], ["● last: Infinity", "2 points, 2 of them not finite"]),
        ([-1.6e308, 1.6e308, float("-inf"), 0.0], ["best (lowest)", "1 of them not finite"]),
    ],
)
def test_what_is_said_of_a_history(values: list[float], said: list[str]) -> None:
    steps = tuple(range(len(values)))
    result = MetricOverSteps(
        timestamp="t", storage="s", run_id="r", key="train_loss", step=steps, timestamp_ms=steps, value=tuple(values)
    )
    lines = shown(show_runs.over_steps(result, verbose=False))
    assert [text for text in said if text not in "\n".join(lines)] == []


def test_lines_of_changes_hang_below_their_signs() -> None:
    lines = shown([[Styled("~ ", ""), "run " + "word " * 30]], 40)
    assert lines[0].startswith("~ run word")
    assert all(line.startswith("  word") for line in lines[1:])
    assert wide_lines(lines, 40) == []


def test_times_are_for_people() -> None:
    """In UTC, which they name; where two are compared, with the milliseconds. What is no time stays as it is."""
    made = [
        Change(kind="run", id="r", what="changed", field=field, before=before, after=T + 5, words=(str(before), "x"))
        for field, before in (("end_time", T + 4), ("end_time", None), ("params[end_time]", T))
    ]
    lines = shown([_line(change) for change in made], 120)
    now = "2023-11-14 22:13:20.005 UTC"
    assert lines == [
        f"~ run r: end_time: 2023-11-14 22:13:20.004 UTC → {now}",
        f"~ run r: end_time: None → {now}",
        f"~ run r: params[end_time]: {T} → x",
    ]
    assert [moment(None), moment(T), moment(10**17)] == ["-", "2023-11-14 22:13:20 UTC", str(10**17)]
    assert iso_moment("2026-11-27T06:10:18.500000+00:00") == "2026-11-27 06:10:18 UTC"
    for odd in ("2025-08-15T23:29:28", "0001-01-01T00:00:00+23:59", "yesterday"):
        assert iso_moment(odd) == odd
    assert [*map(duration, (3, 1250, 59_970, 125_000, 6_555_000))] == [
        "3 ms",
        "1.25 s",
        "1 min 0 s",
        "2 min 5 s",
        "1 h 49 min",
    ]


def test_long_values_of_a_change_are_whole_where_that_is_asked_for() -> None:
    long, map_ = "v" * 300, {"step": 1, "note": "w" * 100}
    change = Change(kind="run", id="r", what="changed", field="tags[a]", before=long, after=map_, words=("'v…", "{…"))
    assert shown([_line(change)], 1000) == ["~ run r: tags[a]: 'v… → {…"]
    told = f"~ run r: tags[a]: '{long}' → {json.dumps(map_)}"
    assert shown([_line(change, in_full=True)], 1000) == [told]
    history = change.model_copy(update={"before": {"points": 1}, "words": ("1 point", "2 points: 1 new, 0 gone")})
    assert shown([_line(history, in_full=True)], 1000) == ["~ run r: tags[a]: 1 point → 2 points: 1 new, 0 gone"]


def test_one_of_many() -> None:
    assert [amount(1, many) for many in ("metric histories", "model aliases", "traces", "runs")] == [
        "1 metric history",
        "1 model alias",
        "1 trace",
        "1 run",
    ]
    assert amount(1234, "metric histories") == "1,234 metric histories"


def test_numbers() -> None:
    values = (0.1234567, 1234567.8, 5e-324, 1.7e308, 100000, float("nan"), float("-inf"))
    assert [*map(number, values)] == [
        "0.123457",
        "1,234,568",
        "4.94066e-324",
        "1.7e+308",
        "100,000",
        "NaN",
        "-Infinity",
    ]


PARENT, CHILD, GRANDCHILD, OTHER = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)


@pytest.fixture
def swept(cli: Cli) -> Cli:
    """A parent with runs in it, many params, models made and used."""
    params = {f"param_{n:02}": "always" for n in range(20)}
    latest = {"loss": {"value": 0.5, "step": 1, "timestamp": T}}

    def nested(run_id: str, parent: str, minute: int, **more: Any) -> Run:
        return run(run_id, start_time=T + 60_000 * minute, tags={"mlflow.parentRunId": parent}, **more)

    records = [
        experiment("1", "sweep"),
        run(PARENT, run_name="parent " + "long " * 20, model_outputs=[{"model_id": "m-made", "step": 3}]),
        nested(
            CHILD, PARENT, 1, params={**params, "zeta": "10"}, metrics=latest, model_inputs=[{"model_id": "m-made"}]
        ),
        nested(GRANDCHILD, CHILD, 3, params={**params, "zeta": "9"}),
        run(OTHER, start_time=T + 120_000),
        history("loss", run_id=CHILD),
        logged_model("m-made", name="encoder", source_run_id=PARENT),
        model(version(1), version(2, run_id=PARENT, current_stage="Production"), aliases={"champion": 2}),
        trace("tr-" + "0a" * 16),
        trace("tr-" + "0b" * 16),
    ]
    write(cli.folder / "backups", records, mlflow_uri=URL)
    return cli


def test_runs_are_nested_and_further_columns_named(swept: Cli) -> None:
    lines = swept("show", "--experiment", "sweep").ok().out.splitlines()
    assert lines[1].split()[:5] == ["run_id", "run_name", "status", "start_time", "params.zeta"]
    assert [line[:34].rstrip() for line in lines[3:7]] == [OTHER, PARENT, CHILD, GRANDCHILD]
    assert [
        line[34:].index(name) for line, name in zip(lines[3:7], ("run-d", "parent", "run-b", "run-c"), strict=True)
    ] == [0, 0, 2, 4]
    assert lines[7] == (
        "further params: param_02, param_03, param_04, param_05, param_06, param_07 and 12 more "
        "(`--column params.KEY`; --verbose names all)"
    )
    data = swept("show", "--experiment", "sweep", "--json").ok().data
    assert (data["run_ids"], data["depths"]) == ([OTHER, PARENT, CHILD, GRANDCHILD], [0, 0, 1, 2])
    assert len(data["further"]) == 18
    data = swept("show", "--experiment", "sweep", "--sort", "params.zeta", "--json").ok().data
    assert data["run_ids"][:2] == [GRANDCHILD, CHILD]  # 9, 10
    by_param = swept("show", "--experiment", "sweep", "--sort", "params.param_19 DESC", "--limit", "2", "--json")
    assert by_param.ok().data["columns"][3] == by_param.data["sorted_by"] == "params.param_19"
    assert len(by_param.data["rows"]) == 2
    data = swept("show", "--experiment", "sweep", "--sort", "run_id DESC", "--json").ok().data
    assert (data["run_ids"], data["depths"]) == ([OTHER, GRANDCHILD, CHILD, PARENT], [0, 0, 0, 0])


def test_a_run_names_its_models_and_relatives(swept: Cli) -> None:
    lines = [" ".join(line.split()) for line in swept("show", "--run", "a").ok().out.splitlines()]
    assert [
        x for x in ("m-made encoder (step 3)", "made-model 2 Production, @champion", "nested 1 run") if x not in lines
    ] == []
    lines = [" ".join(line.split()) for line in swept("show", "--run", "b").ok().out.splitlines()]
    assert lines[lines.index("models used") + 1] == "m-made encoder"
    assert any(line.startswith("within parent long") and line.endswith(f"({PARENT})") for line in lines)


def test_a_metric_over_runs_is_a_curve_and_a_row_for_each(cli: Cli) -> None:
    latest = [{"loss": {"value": value, "step": 0, "timestamp": T}} for value in (0.5, 0.2, 0.9)]
    runs = [run(f"{n}" * 32, metrics=metrics, start_time=T + n) for n, metrics in enumerate(latest)]
    write(cli.folder / "backups", [experiment("1", "sweep"), *runs])
    lines = cli("show", "--experiment", "sweep", "--metric", "loss").ok().out.splitlines()
    assert "┤" in lines[1]
    assert "◆" in lines[10]
    rows = [line.split("  ") for line in lines[-3:]]
    assert [row[1] for row in rows] == ["0" * 32, "1" * 32, "2" * 32]
    assert [row[-1] for row in rows] == ["0.5", "◆ best (lowest)", "● last"]
    lines = cli("show", "--experiment", "sweep", "--metric", "loss", "--limit", "1").ok().out.splitlines()
    assert f"◆ best (lowest): 0.2 of run {'1' * 32} (run-1), 2023-11-14 22:13:20 UTC" in lines
    assert [line.split()[2] for line in lines[-2:]] == ["2" * 32, "2"]
    data = cli("show", "--experiment", "sweep", "--metric", "loss", "--limit", "1", "--json").ok().data
    assert [one["run_id"] for one in data["runs"]] == ["2" * 32]


def test_ids_may_be_cut_short_with_and_without_their_prefix(swept: Cli) -> None:
    for words in ("0a", "tr-0a", "0a0a0a0a", "tr-" + "0a" * 16, "0a" * 16):
        assert swept("show", "--trace", words, "--json").ok().data["trace"]["trace_id"] == "tr-" + "0a" * 16
    said = swept("show", "--trace", "0").ended(2).err
    assert f"begin with '0': tr-{'0a' * 16}, tr-{'0b' * 16}\n  write more of the id\n" in said


def test_on_a_terminal_of_80_columns(swept: Cli) -> None:
    """One look at a real one: escapes aside, nothing is wider than the terminal, and what is copied is whole."""
    code, seen = on_terminal(swept.folder, "show", "--experiment", "sweep", columns=80)
    assert code == 0
    lines = seen.splitlines()
    assert any(line.startswith("aaaaaaaa  parent long") for line in lines)
    escapes = re.compile(r"\x1b\[[0-9;]*m")
    assert "no room for params.zeta, params.param_00, params.param_01: --wide shows all" in " ".join(
        escapes.sub("", seen).split()
    )
    code, seen = on_terminal(swept.folder, "show", "--experiment", "sweep", "--wide", columns=80)
    assert ("long " * 20).strip() in seen


def test_a_pipe_gets_all_of_it(swept: Cli, tmp_path: Path) -> None:
    assert URL in swept("list").ok().out
    assert "tr-" + "0a" * 16 in swept("show", "--traces").ok().out


def _work(on: Console) -> None:
    with progress(on) as told:
        told.expect("runs", 4000)
        told.phase("reading runs")
        told.advance("runs", 1000)
        told.advance("metric points", 70_000)
        time.sleep(0.25)
        told.advance("runs", 1000)
        time.sleep(0.25)
        told.phase("reading models")
        told.advance("models", 1)
        told.phase("waiting")


def test_progress_is_a_line_a_phase_and_one_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlmeta.cli.progress._EVERY", 0.1)
    out = io.StringIO()
    _work(Console(file=out, width=10_000))
    *between, last, models = out.getvalue().splitlines()
    assert between[0].startswith("reading runs … 1,000/4,000 runs, 70,000 metric points, ")
    assert any("/s, " in line and " left" in line for line in between)
    assert last.startswith("reading runs: 2,000 runs, 70,000 metric points, 0.")
    assert models.startswith("reading models: 1 model, 0.0 s")


def test_progress_on_a_terminal_fits_in_it() -> None:
    out = io.StringIO()
    _work(Console(file=out, width=80, force_terminal=True, color_system=None))
    assert "1,000/4,000 runs" in out.getvalue()
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", out.getvalue())]
    assert wide_lines(lines) == []
    assert [line for line in lines if line.startswith("reading runs: 2,000 runs, 70,000 metric points, 0.")]


def test_progress_counts_what_the_result_counts(cli: Cli, databases: Databases) -> None:
    done = cli("backup", "--tracking-uri", databases.uri("filled")).ok()
    stats = cli("list", "--json").ok().data["snapshots"][0]["stats"]
    told = f"{stats['runs']} runs, {stats['metric_points']} metric points"
    assert f"reading runs: {told}, " in done.err
    assert told in done.out
    restored = cli("restore", "latest", "--tracking-uri", "sqlite:///target.db").ok()
    assert f"restoring runs: {told}, " in restored.err
    checked, read_back = (
        re.search(rf"{phase}: ([\d,]+ records), ", restored.err)
        for phase in ("verifying the snapshot and looking at the target", "reading the target back")
    )
    assert checked is not None
    assert read_back is not None
    assert read_back[1] == checked[1]
