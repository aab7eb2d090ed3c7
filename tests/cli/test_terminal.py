"""On a terminal: colours, and questions where something could hurt; elsewhere: neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.plain import rows
from tests.support.terminal import on_terminal


@pytest.fixture
def target(databases: Databases, cli: Cli) -> Path:
    """A database with runs of others, and a snapshot beside it."""
    made.write(cli.folder / "backups", [made.experiment("77"), made.run(experiment_id="77")])
    databases.copy("filled", cli.folder / "target.db")
    return cli.folder / "target.db"


ARGUMENTS = ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///target.db")


@pytest.mark.parametrize("route", [(), ("--ids", "new")])
def test_without_a_terminal_it_wants_yes(target: Path, cli: Cli, route: tuple[str, ...]) -> None:
    before = rows(target)
    done = cli(*ARGUMENTS, *route).ended(2)
    assert "--yes" in done.err
    assert "1 run" in done.err
    assert rows(target) == before
    cli(*ARGUMENTS, *route, "--dry-run").ok()
    assert rows(target) == before
    cli(*ARGUMENTS, *route, "--yes").ok()
    assert rows(target) != before
    cli(*ARGUMENTS, *route).ok()  # nothing to add: nothing to ask


def test_what_a_merge_would_do_otherwise_is_said_before_it_is_asked(target: Path, cli: Cli) -> None:
    made.write(cli.folder / "backups", [made.experiment("1", "new"), made.run(experiment_id="1")])
    done = cli(*ARGUMENTS, "--on-conflict", "merge").ended(2)
    assert "there is no terminal to ask on" in done.err
    assert "  note: experiments hav" in done.err


@pytest.mark.parametrize("answer", ["n", "\x04"], ids=["no", "Ctrl-D"])
def test_no_changes_nothing(target: Path, cli: Cli, answer: str) -> None:
    before = rows(target)
    code, seen = on_terminal(cli.folder, *ARGUMENTS, answer=answer)
    assert code == 2
    assert "nothing was" in seen
    assert rows(target) == before


def test_yes_goes_on(target: Path, cli: Cli) -> None:
    code, seen = on_terminal(cli.folder, *ARGUMENTS, answer="y")
    assert code == 0, seen
    assert len(rows(target)["runs"]) == 9


def test_into_an_empty_target_nobody_is_asked(databases: Databases, cli: Cli) -> None:
    made.write(cli.folder / "backups", [made.experiment("77"), made.run(experiment_id="77")])
    databases.copy("empty", cli.folder / "target.db")
    cli(*ARGUMENTS).ok()


def test_colours_on_a_terminal_only(snapshots: Path, cli: Cli) -> None:
    code, seen = on_terminal(cli.folder, "list")
    assert code == 0
    assert "\x1b[" in seen
    assert "complete" in seen
    done = cli("list").ok()
    assert "\x1b" not in done.out + done.err
