"""Parts that are asked for, and that are not there: said, not passed over."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from mlmeta import backup, diff
from mlmeta.errors import ExitCode, UsageError
from tests.builders.snapshots import experiment, trace, write
from tests.support.cli import Cli

RECORDS = (experiment("1", "talk"),)


@pytest.fixture
def saved(cli: Cli) -> Path:
    """A storage with a snapshot that leaves traces out."""
    folder = cli.folder / "backups"
    write(folder, RECORDS, without=["traces"])
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db"),
        ("diff", "--tracking-uri", "sqlite:///new.db"),
    ],
)
def test_a_choice_that_leaves_nothing_is_refused(cli: Cli, saved: Path, command: tuple[str, ...]) -> None:
    done = cli(*command, "--only", "traces", "--without", "traces").ended(ExitCode.USAGE)
    assert "--only traces and --without traces leave nothing" in done.err
    assert not (cli.folder / "new.db").exists()


def test_a_restore_of_what_was_left_out_is_refused(cli: Cli, saved: Path) -> None:
    restore = ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db", "--only")
    done = cli(*restore, "traces").ended(ExitCode.USAGE)
    assert "has no traces: its backup left them out; nothing was written" in done.err
    assert "has no datasets" in cli(*restore, "datasets").ok().err


def test_a_restore_of_what_an_older_version_did_not_save_is_refused(cli: Cli) -> None:
    write(cli.folder / "backups", RECORDS, schema_version="1.1")
    done = cli("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db", "--only", "traces")
    assert "the version of mlmeta that made it did not save them yet" in done.ended(ExitCode.USAGE).err


def test_what_one_side_lacks_is_not_said_to_be_unchanged(cli: Cli, saved: Path) -> None:
    write(cli.folder / "backups", [*RECORDS, trace()])
    done = cli("diff", "latest~1", "latest", "--only", "traces").ended(ExitCode.USAGE)
    assert "not both sides have traces" in done.err
    assert "traces were not compared: " in cli("diff", "latest~1", "latest").ok().err


def test_show_says_why_there_is_nothing(cli: Cli, saved: Path) -> None:
    assert "has no traces: its backup left them out" in cli("show", "--traces").ok().err
    assert cli("show", "--datasets").ok().err == ""


@pytest.mark.parametrize("view", [(), ("--traces",), ("--models",), ("--datasets",), ("--experiment", "talk")])
def test_a_workspace_that_is_not_there(cli: Cli, saved: Path, view: tuple[str, ...]) -> None:
    done = cli("show", *view, "--workspace", "nonsense").ended(ExitCode.USAGE)
    assert "has nothing in workspace 'nonsense'" in done.err


def test_a_part_that_there_is_not_can_not_be_left_out(saved: Path) -> None:
    for command in (partial(backup, "sqlite:///new.db"), partial(diff, storage=str(saved))):
        with pytest.raises(UsageError, match="there is no part 'span' to leave out"):
            command(without="span")


@pytest.mark.parametrize("others", [("--models",), ("--dataset", "d"), ("--run", "r")])
def test_two_views_at_once(cli: Cli, saved: Path, others: tuple[str, ...]) -> None:
    done = cli("show", "--traces", *others).ended(ExitCode.USAGE)
    assert "are shown one at a time" in done.err
