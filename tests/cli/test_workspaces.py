"""Workspaces on the command line: what `--workspace` limits, and how equal names are told apart."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlmeta import backup
from mlmeta.snapshot.retention import Rules
from tests.support.cli import Cli

pytestmark = pytest.mark.slow  # a store with workspaces is made by an MLflow server


@pytest.fixture
def uri(with_workspaces: Path, tmp_path: Path) -> str:
    """A store of the test's own."""
    return f"sqlite:///{shutil.copy(with_workspaces, tmp_path / 'mlflow.db')}"


@pytest.fixture
def saved(cli: Cli, uri: str) -> Cli:
    """The command line, beside a snapshot of all workspaces."""
    cli("backup", "--tracking-uri", uri).ok()
    return cli


def test_show(saved: Cli) -> None:
    whole = saved("show").ok().out
    assert "WORKSPACE" in whole
    assert [whole.count(f" {name} ") for name in ("team-a", "team-b")] == [3, 1]
    part = saved("show", "--workspace", "team-b").ok().out
    assert "team-b" in part
    assert "only default" not in part
    models = saved("show", "--models").ok().out
    assert [models.count(f" {name}") + models.count(f"\n{name}") for name in ("team-a/churn", "team-b/churn")] == [2, 2]
    named = saved("show", "--models", "--workspace", "team-a", "--json").ok().data["models"]
    assert [(model["workspace"], model["name"]) for model in named] == [("team-a", "churn"), ("team-a", "greeting")]


def test_a_name_in_several_workspaces(saved: Cli) -> None:
    """It is asked which is meant."""
    asked = saved("show", "--experiment", "churn").ended(2)
    assert "default (id 1), team-b (id 2), team-a (id 3)" in asked.err
    assert "--workspace NAME" in asked.err
    assert "team-b 0" in saved("show", "--experiment", "churn", "--workspace", "team-b").ok().out
    assert "team-a 0" in saved("show", "--experiment", "3").ok().out


def test_backup_and_restore_of_a_part(cli: Cli, uri: str) -> None:
    part = cli("backup", "--tracking-uri", uri, "--workspace", "team-a", "--workspace", "default", "--json").ok()
    assert part.data["workspaces"] == ["default", "team-a"]
    assert part.data["stats"]["experiments"] == 6
    assert "limited to 2 workspaces: default, team-a" in cli("show").ok().out
    cli("verify").ok()
    target = f"sqlite:///{cli.folder / 'new.db'}"
    arguments = ("restore", "--timestamp", "latest", "--tracking-uri", target, "--json")
    assert "team-b" in cli(*arguments, "--workspace", "team-b").ended(2).err
    done = cli(*arguments, "--workspace", "team-a").ok()
    assert done.data["created"]["experiments"] == 3
    assert [text for text in done.document["warnings"] if "--enable-workspaces" in text]


def test_a_limit_is_part_of_what_snapshots_are_measured_by(uri: str, tmp_path: Path) -> None:
    """One of a part is no measure for one of all, and does not push it out."""
    storage = str(tmp_path / "backups")
    backup(uri, storage, keep=Rules(last=1))
    part = backup(uri, storage, workspaces="team-b", keep=Rules(last=1))
    assert (part.shrunken, part.pruned) == ("", {f"{storage}/": ()})
    again = backup(uri, storage, workspaces=["team-b"], if_changed=True)
    assert again.unchanged_since == part.timestamp


def test_diff_of_a_part(saved: Cli, uri: str) -> None:
    with closing(sqlite3.connect(saved.folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE registered_models SET description = 'new' WHERE workspace = 'team-b'")
    found = saved("diff", "--tracking-uri", uri, "--json").ended(4).data["comparison"]["changes"]
    assert [one["id"] for one in found] == ["team-b/another", "team-b/churn"]
    saved("diff", "--tracking-uri", uri, "--workspace", "team-a").ok()
    saved("diff", "--tracking-uri", uri, "--workspace", "team-b").ended(4)
