"""The command line as a process.

`import mlflow` takes seconds, so processes are forked from one that has it imported already: a real process each,
with its own arguments, environment, folder, output and signals. `cold` starts an interpreter, where the start
itself is what a test is about.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mlmeta.cli.app", "tests.support.preload"])
PATIENCE = 120
"""Seconds until a command that does not end is given up."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` gave: one document, and nothing else."""
        found: dict[str, Any] = json.loads(self.out, parse_constant=_no_constant)
        return found

    @property
    def data(self) -> Any:
        return self.document["data"]

    def ok(self) -> Finished:
        """Assert that it went well."""
        return self.ended(0)

    def ended(self, code: int) -> Finished:
        assert self.code == code, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err, self.err
        return self


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


class Running:
    """A command that runs."""

    def __init__(self, process: ForkServerProcess, out: Path, err: Path) -> None:
        self._process = process
        self.out = out
        self.err = err

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        if self._process.is_alive():  # else the number may be another's by now
            os.kill(self._process.pid, number)

    def cpu(self) -> float:
        """Seconds that it has computed."""
        words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, patience: float = PATIENCE) -> Finished:
        """Wait for its end; a code below zero is the signal that killed it."""
        self._process.join(patience)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"it did not end in {patience} s:\n{self.out.read_text()}\n{self.err.read_text()}")
        return Finished(self._process.exitcode, self.out.read_text(), self.err.read_text())

    def wait_for(self, text: str) -> None:
        """Wait until it has said something on stderr."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.err.read_text():
            assert time.monotonic() < deadline, self.err.read_text()
            assert self._process.is_alive(), self.err.read_text()
            time.sleep(0.02)


class Cli:
    """Runs commands in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self._started: list[ForkServerProcess] = []

    def start(self, *arguments: str, env: dict[str, str | None] | None = None, before: Any = None) -> Running:
        """Start a command.

        Args:
            arguments: of the command line.
            env: environment variables to set, or with None to unset.
            before: a module-level function without arguments that the process calls first.
        """
        self._count += 1
        out, err = (self.folder / f".{name}-{self._count}" for name in ("out", "err"))
        out.touch()
        err.touch()
        process = FORKS.Process(
            target=_command, args=(arguments, self.folder, out, err, dict(os.environ), env or {}, before)
        )
        process.start()
        self._started.append(process)
        return Running(process, out, err)

    def end(self) -> None:
        """Kill what still runs, as the test has failed: the run of all tests would wait for it."""
        for process in self._started:
            process.kill()

    def __call__(self, *arguments: str, env: dict[str, str | None] | None = None, before: Any = None) -> Finished:
        return self.start(*arguments, env=env, before=before).wait()

    def cold(self, *arguments: str, python: tuple[str, ...] = (), **env: str) -> Finished:
        """Run a command in a new interpreter."""
        done = subprocess.run(
            [sys.executable, *python, "-m", "mlmeta", *arguments],
            cwd=self.folder,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


def _command(
    arguments: tuple[str, ...],
    folder: Path,
    out: Path,
    err: Path,
    environment: dict[str, str],
    env: dict[str, str | None],
    before: Any,
) -> None:
    redirect(out, err)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update({k: v for k, v in {**environment, **env}.items() if v is not None})
    sys.argv = ["mlmeta", *arguments]
    if before is not None:
        before()
    from mlmeta.cli.app import main

    main()


def redirect(out: Path, err: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for path, number in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
