"""`mlmeta show`: what is in a snapshot, on the screen and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import legacy
from tests.support.cli import Cli
from tests.support.databases import Databases

MODES = {
    "overview": ((), ["churn", "größe 模型", "abandoned", "deleted"]),
    "runs": (("--experiment", "churn"), ["parent", "child-0", "child-2", "FINISHED", "0.1"]),
    "columns": (("--experiment", "churn", "--column", "tags.fold", "--column", "run_name"), ["child-1", "tags.fold"]),
    "a run": (("--run", "RUN"), ["child-1", "loss", "0.1", "fold"]),
    "over runs": (("--experiment", "churn", "--metric", "loss"), ["child-1", "deleted", "0.5"]),
    "over steps": (("--run", "RUN", "--metric", "loss"), ["19"]),
    "models": (("--models",), ["churn-model", "Production", "champion", "it's empty", "greeting"]),
}


def _arguments(databases: Databases, mode: str) -> list[str]:
    return [databases.content.runs["child-1"][:12] if word == "RUN" else word for word in MODES[mode][0]]


@pytest.mark.parametrize("mode", MODES)
def test_on_screen(snapshots: Path, cli: Cli, databases: Databases, mode: str) -> None:
    shown = cli("show", *_arguments(databases, mode)).ok()
    assert [text for text in MODES[mode][1] if text not in shown.out] == []
    assert "\x1b" not in shown.out + shown.err


@pytest.mark.parametrize("mode", MODES)
def test_as_json(snapshots: Path, cli: Cli, databases: Databases, mode: str) -> None:
    found = cli("show", *_arguments(databases, mode), "--json").ok().document
    assert found["status"] == "success"
    assert found["data"]["timestamp"]


@pytest.mark.parametrize("mode", MODES)
def test_quiet_still_shows_what_was_asked_for(snapshots: Path, cli: Cli, databases: Databases, mode: str) -> None:
    done = cli("show", "--quiet", *_arguments(databases, mode)).ok()
    assert done.out
    assert done.err == ""


def test_odd_numbers_as_strict_json(snapshots: Path, cli: Cli, databases: Databases) -> None:
    run = databases.content.runs["odd"]
    metrics = cli("show", "--run", run, "--json").ok().data["run"]["metrics"]
    assert metrics["nan"]["value"] == "NaN"
    assert metrics["tiny"]["value"] == 5e-324
    assert metrics["huge step"]["step"] == 2**62
    cli("show", "--run", run).ok()
    for metric in ("nan", "infinite", "unordered", "repeated", "negative step", "huge step", "single"):
        cli("show", "--run", run, "--metric", metric, "--json").ok()
        cli("show", "--run", run, "--metric", metric).ok()


def test_the_whole_history(snapshots: Path, cli: Cli, databases: Databases) -> None:
    data = cli("show", "--run", databases.content.runs["child-1"], "--metric", "loss", "--json").ok().data
    assert data["step"] == list(range(20))
    assert data["value"] == [1 / (step + 1) + 1 for step in range(20)]


def test_sorted_and_limited(snapshots: Path, cli: Cli) -> None:
    shown = cli("show", "--experiment", "churn", "--sort", "metrics.loss DESC", "--limit", "2").ok().out
    assert [name for name in ("child-2", "child-1", "child-0") if name in shown] == ["child-2", "child-1"]
    data = cli("show", "--experiment", "churn", "--sort", "params.lr", "--json").ok().data
    assert data["total"] == 5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--experiment", "chrun"), "churn"),
        (("--run", "zzz"), "--experiment"),
        (("--metric", "loss"), "--run"),
        (("--experiment", "churn", "--metric", "lost"), "loss"),
        (("--experiment", "churn", "--column", "run"), "run_id"),
        (("--experiment", "churn", "--sort", "runid"), "run_id"),
        (("--experiment", "churn", "--column", "metrics.lost"), "there are: metrics.loss, "),
        (("--experiment", "churn", "--column", "statsu"), "there are: status, "),
        (("--experiment", "churn", "--column", "fold"), "there are: tags.fold, "),
        (("--experiment", "churn", "--sort", "params.LR DESC"), "there are: params.lr, "),
        (("--experiment", "churn", "--sort", "loss"), "there are: metrics.loss, "),
        (("--experiment", "churn", "--limit", "0"), "limit"),
    ],
)
def test_wrong_words_are_usage_errors_with_a_hint(
    snapshots: Path, cli: Cli, arguments: tuple[str, ...], named: str
) -> None:
    done = cli("show", *arguments).ended(2)
    assert named in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sort", "metrics.loss"), "--sort is for the runs of an experiment"),
        (("--run", "a", "--column", "x", "--sort", "y"), "--column and --sort are for the runs of an experiment"),
        (("--models", "--experiment", "churn"), "--models shows the models of all experiments"),
        (("--models", "--metric", "loss"), "--models and --metric are shown one at a time"),
    ],
)
def test_an_option_is_not_passed_over(snapshots: Path, cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    assert message in cli("show", *arguments, "--storage", str(snapshots)).ended(2).err
    env: dict[str, str | None] = {"MLMETA_COLUMN": "params.lr", "MLMETA_SORT": "params.lr"}  # for all calls
    assert cli("show", "--storage", str(snapshots), env=env).ok()


def test_an_experiment_without_runs_has_any_column(snapshots: Path, cli: Cli) -> None:
    done = cli("show", "--experiment", "Default", "--column", "metrics.loss", "--sort", "params.lr")
    assert done.ok().out.startswith("Default: 0 runs")


@pytest.mark.parametrize("arguments", [(), ("--experiment", "old-churn"), ("--models",), ("--run", "b")])
def test_legacy_snapshots(cli: Cli, arguments: tuple[str, ...]) -> None:
    legacy.write(cli.folder / "backups", nested=True)
    cli("show", *arguments).ok()
    assert cli("show", *arguments, "--json").ok().data["timestamp"] == legacy.TIMESTAMP


def test_a_legacy_metric_has_no_step(cli: Cli) -> None:
    legacy.write(cli.folder / "backups")
    data = cli("show", "--run", "b", "--metric", "loss", "--json").ok().data
    assert (data["step"], data["value"]) == ([None], ["NaN"])
    cli("show", "--run", "b", "--metric", "loss").ok()
    cli("show", "--experiment", "old-churn", "--metric", "loss").ok()
