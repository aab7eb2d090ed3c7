"""Parts of a store or snapshot: what was chosen, and what was left out on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlmeta.errors import ExitCode, UsageError
from mlmeta.schema import GROUPS, Selection
from tests.support.cli import Cli
from tests.support.databases import Databases

STORE = ("--tracking-uri", "sqlite:///mlflow.db", "--json")


@pytest.fixture
def store(cli: Cli, databases: Databases) -> Path:
    path = cli.folder / "mlflow.db"
    databases.copy("filled", path)
    return path


def listed(cli: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("list", "--json").ok().data["snapshots"]
    return found


def test_a_backup_without_a_part_is_measured_and_pruned_by_its_like_alone(cli: Cli, store: Path) -> None:
    whole = cli("backup", *STORE).ok().data
    part = cli("backup", *STORE, "--without", "models", "--keep-last", "1", "--if-changed").ok().data
    assert whole["stats"]["models"]
    assert not part["stats"]["models"]
    assert part["shrunken"] == ""
    assert part["without"] == ["models"]
    again = cli("backup", *STORE, "--without", "models", "--keep-last", "1").ok().data
    assert [one["timestamp"] for one in listed(cli)] == [again["timestamp"], whole["timestamp"]]
    assert [one["without"] for one in listed(cli)] == [["models"], []]
    assert "saved without models" in cli("show", again["timestamp"]).ok().out


def test_what_one_side_was_saved_without_is_not_compared(cli: Cli, store: Path) -> None:
    whole = cli("backup", *STORE).ok().data["timestamp"]
    part = cli("backup", *STORE, "--without", "models").ok().data["timestamp"]
    compared = cli("diff", whole, part, "--json").ok().data["comparison"]
    assert "registered model" not in compared["records"]
    assert compared["records"]["run"]["same"]
    cli("diff", part, *STORE).ok()


def test_parts_are_restored_one_after_another(cli: Cli, store: Path) -> None:
    timestamp = cli("backup", *STORE).ok().data["timestamp"]
    to = ("restore", "--timestamp", timestamp, "--tracking-uri", "sqlite:///new.db", "--json")
    runs = cli(*to, "--only", "runs").ok().data["created"]
    assert runs["runs"]
    assert "models" not in runs
    rest = cli(*to, "--only", "runs", "--only", "models").ok().data
    assert rest["created"].keys() == {"models", "model versions"}
    assert rest["present"]["runs"] == runs["runs"]


def test_a_part_that_does_not_exist_is_refused(cli: Cli, store: Path) -> None:
    assert cli("backup", *STORE, "--without", "span").code == ExitCode.USAGE
    with pytest.raises(UsageError, match="no group 'trace'") as caught:
        Selection(only="trace")
    assert caught.value.hint.startswith("there are runs, traces")


def test_records_that_follow_others_go_with_them() -> None:
    from mlmeta.schema import EXPERIMENTS, METRICS, MODELS, RUNS

    for group in GROUPS:
        selection = Selection(only=(group,))
        assert selection.means(METRICS) == selection.means(RUNS) == (group == "runs")
        assert selection.means(EXPERIMENTS) == (group not in {"models", "auth"})
        assert selection.means(MODELS) == (group == "models")
    assert not Selection(without=("runs",)).means(METRICS)
    assert Selection(without=("runs",)).means(EXPERIMENTS), "what else needs them is there"
