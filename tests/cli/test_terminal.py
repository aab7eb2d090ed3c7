"""On a terminal: colours, and questions where something could hurt; elsewhere: neither."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import snapshots as made
from tests.support.cli import PATIENCE, Cli
from tests.support.databases import Databases
from tests.support.plain import rows


def _on_terminal(folder: Path, *arguments: str, answer: str = "") -> tuple[int, str]:
    """Run a command on a terminal of its own; type the answer when it asks."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlmeta", *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
        while block := os.read(ours, 65536):
            seen += block
            if answer and b"Go ahead?" in seen:
                os.write(ours, f"{answer}\n".encode())
                answer = ""
            assert time.monotonic() < deadline, seen
    os.close(ours)
    return process.wait(timeout=PATIENCE), seen.decode(errors="replace")


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


def test_no_changes_nothing(target: Path, cli: Cli) -> None:
    before = rows(target)
    code, seen = _on_terminal(cli.folder, *ARGUMENTS, answer="n")
    assert code == 2
    assert "nothing was" in seen
    assert rows(target) == before


def test_yes_goes_on(target: Path, cli: Cli) -> None:
    code, seen = _on_terminal(cli.folder, *ARGUMENTS, answer="y")
    assert code == 0, seen
    assert len(rows(target)["runs"]) == 9


def test_into_an_empty_target_nobody_is_asked(databases: Databases, cli: Cli) -> None:
    made.write(cli.folder / "backups", [made.experiment("77"), made.run(experiment_id="77")])
    databases.copy("empty", cli.folder / "target.db")
    cli(*ARGUMENTS).ok()


def test_colours_on_a_terminal_only(snapshots: Path, cli: Cli) -> None:
    code, seen = _on_terminal(cli.folder, "list")
    assert code == 0
    assert "\x1b[" in seen
    assert "complete" in seen
    done = cli("list").ok()
    assert "\x1b" not in done.out + done.err
