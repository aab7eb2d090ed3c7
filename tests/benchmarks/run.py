"""`make bench`: mlmeta beside the floor of each route, in turn, in one run; ratios of medians.

`python -m tests.benchmarks.run [SIZE…]`, sizes S, M, L. Writes a table to stdout.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.generate import SIZES, write
from tests.support.server import server

_TIMES = 5
_PYTHON = sys.executable


@dataclass(frozen=True)
class Measured:
    """Median seconds of a whole process, and its peak memory in MiB."""

    seconds: float
    memory: float


def measure(*commands: Callable[[], list[str]]) -> list[Measured]:
    """Run commands in turn (A B A B …), after one warm-up each."""
    found: list[list[tuple[float, float]]] = [[] for _ in commands]
    for turn in range(_TIMES + 1):
        for number, command in enumerate(commands):
            words = command()
            began = time.monotonic()
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                said = process.stderr.read() if process.stderr else b""
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RuntimeError(f"{' '.join(words)} failed:\n{said.decode()}")
            if turn:
                found[number].append((time.monotonic() - began, _peak(usage)))
    return [Measured(statistics.median(s for s, _ in runs), statistics.median(m for _, m in runs)) for runs in found]


def _peak(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def mlmeta(*words: str) -> list[str]:
    return [_PYTHON, "-m", "mlmeta", *words, "--quiet"]


def floor(*words: str) -> list[str]:
    return [_PYTHON, "-m", "tests.benchmarks.floors", *words]


def routes(size: str, folder: Path) -> None:
    """Measure every route for one size."""
    timestamp = write(SIZES[size], folder / "snapshot")
    database = folder / "mlflow.db"
    uri = f"sqlite:///{database}"
    subprocess.run(
        mlmeta("restore", "--timestamp", timestamp, "--storage", str(folder / "snapshot"), "--tracking-uri", uri),
        check=True,
    )
    out = folder / "out"

    def fresh(words: list[str]) -> Callable[[], list[str]]:
        def command() -> list[str]:
            shutil.rmtree(out, ignore_errors=True)
            (folder / "copy.db").unlink(missing_ok=True)
            return words

        return command

    copy = str(folder / "copy.db")
    restore = ("restore", "--timestamp", timestamp, "--storage", str(folder / "snapshot"))
    report(
        f"{size}: backup from SQLite",
        *measure(
            fresh(mlmeta("backup", "--tracking-uri", uri, "--storage", str(out))),
            fresh(floor("sqlite-read", uri, str(folder / "floor.json"))),
        ),
    )
    report(
        f"{size}: exact restore into SQLite, without reading back",
        *measure(
            fresh(mlmeta(*restore, "--tracking-uri", f"sqlite:///{copy}", "--no-verify")),
            fresh(floor("sqlite-write", uri, copy)),
        ),
    )
    with server(folder / "server", backend=uri, arguments=("--workers", "2")) as running:
        report(
            f"{size}: backup from a server",
            *measure(
                fresh(mlmeta("backup", "--tracking-uri", running.uri, "--storage", str(out))),
                fresh(floor("server", running.uri)),
            ),
        )


def report(what: str, ours: Measured, bare: Measured) -> None:
    """A row of the table."""
    ratio = ours.seconds / bare.seconds
    print(  # noqa: T201
        f"| {what} | {ours.seconds:.2f} s | {bare.seconds:.2f} s | **{ratio:.2f}** | {ours.memory:.0f} MiB "
        f"| {bare.memory:.0f} MiB |",
        flush=True,
    )


if __name__ == "__main__":
    print("| route | mlmeta | floor | ratio | peak memory | floor's |\n|---|---|---|---|---|---|")  # noqa: T201
    for chosen in sys.argv[1:] or ["S", "M"]:
        with tempfile.TemporaryDirectory(prefix="mlmeta-bench-") as name:
            routes(chosen, Path(name))
