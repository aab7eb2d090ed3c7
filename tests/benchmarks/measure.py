"""Whole processes, timed in turn: A B A B …, so that a machine whose speed drifts treats both alike."""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PYTHON = sys.executable

Command = Callable[[], Sequence[str]]
"""Prepares a turn, which is not timed, and gives the words of the process."""


class Clock:
    """What is taken for a process's time: what passes, or what processors spend on it and those that it starts."""

    of_processors = False


@dataclass(frozen=True)
class Measured:
    """Median seconds of a whole process, and of its peak memory in MiB.

    Linux counts the memory of the measuring process at the fork into it: below some 40 MiB the figure says nothing.
    """

    seconds: float
    memory: float


def measure(*commands: Command, times: int = 5) -> list[Measured]:
    """Run commands in turn, after one warm-up each.

    Raises:
        RuntimeError: one of them failed.
    """
    found: list[list[tuple[float, float]]] = [[] for _ in commands]
    for turn in range(times + 1):
        for number, command in enumerate(commands):
            words = command()
            os.sync()  # else a turn waits for the disk to take what the turn before has written
            taken = once(words)
            if turn or not times:
                found[number].append(taken)
    return [Measured(statistics.median(s for s, _ in turns), statistics.median(m for _, m in turns)) for turns in found]


@cache
def _home() -> Path:
    folder = tempfile.mkdtemp(prefix="mlmeta-bench-home-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def once(words: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak memory of one process."""
    home = {"HOME": str(_home())}  # what mlmeta keeps for its next run is there after the warm-up
    environment = {**os.environ, **home, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(words, stdout=said, stderr=said, env=environment, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(words)} failed:\n{said.read().decode()[-3000:]}")
    return usage.ru_utime + usage.ru_stime if Clock.of_processors else seconds, _peak(usage)


def _peak(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def mlmeta(*words: str) -> list[str]:
    """The command line of mlmeta."""
    return [PYTHON, "-m", "mlmeta", *words]


def floor(*words: str) -> list[str]:
    """The command line of a floor."""
    return [PYTHON, "-m", "tests.benchmarks.floors", *words]


HEAD = "| what | mlmeta | beside | | ratio | target | peak memory | of the other |\n|---|---|---|---|---|---|---|---|"


def report(what: str, ours: Measured, beside: str, other: Measured, target: float | None = None) -> None:
    """A row of the table: a ratio below 1 means that mlmeta is faster."""
    ratio = ours.seconds / other.seconds
    wanted = "" if target is None else f"≤ {target:g}: {'met' if ratio <= target else 'missed'}"
    print(  # noqa: T201
        f"| {what} | {ours.seconds:.2f} s | {beside} | {other.seconds:.2f} s | **{ratio:.2f}** | {wanted} "
        f"| {ours.memory:.0f} MiB | {other.memory:.0f} MiB |",
        flush=True,
    )


NOTES: list[str] = []
"""What goes below the table."""


def tell(text: str) -> None:
    """Note a line for below the table."""
    NOTES.append(text)
