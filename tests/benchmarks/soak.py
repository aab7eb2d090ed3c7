"""A real `mlflow server` under `mlmeta guard`, with somebody who trains: how old is what a lost disk would take along?

`python -m tests.benchmarks.soak [--size M] [--minutes 10] [--writer epochs|bursts|steady] [--rpo 60s]`. First the same
server without guard, for comparison (`--alone`, minutes), then the one under guard. Each commit is a request that logs
ten metrics; its age is told by the first snapshot that has it, its time by who waits for it. *epochs*: a commit every 2
to 20 s; *bursts*: two a second, in trainings of 10 to 30 s with 5 to 20 s between them; *steady*: two a second, so that
it is never quiet. Before that guard is idle for a while. Its own process is measured. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlmeta import list_snapshots, open_snapshot, restore
from mlmeta.schema import RUNS
from tests.benchmarks.generate import SIZES, write

_METRICS = 10


@dataclass(frozen=True)
class Habit:
    """How somebody trains: seconds from and to.

    Args:
        between: two commits.
        lasting: a training.
        pausing: between two trainings.
    """

    between: tuple[float, float]
    lasting: tuple[float, float]
    pausing: tuple[float, float] = (0, 0)


HABITS = {
    "epochs": Habit((2, 20), (60, 180)),
    "bursts": Habit((0.5, 0.5), (10, 30), (5, 20)),
    "steady": Habit((0.5, 0.5), (10, 30)),
}


@dataclass(frozen=True)
class Commit:
    """What a server has acknowledged.

    Args:
        run: its id.
        step: of the metrics that were logged.
        at: when, in seconds since the epoch.
        seconds: how long it took.
    """

    run: str
    step: int
    at: float
    seconds: float


class Server:
    """An `mlflow server` with a store of a size, be it under guard or not."""

    def __init__(self, folder: Path, size: str, *guard: str) -> None:
        self.folder = folder
        folder.mkdir()
        write(SIZES[size], folder / "made-up")
        store = f"sqlite:///{folder / 'mlflow.db'}"
        restore(store, storage=str(folder / "made-up"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        server = (sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port))
        options = ("--backend-store-uri", store, "--workers", "1", "--default-artifact-root", "gs://bucket/artifacts")
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                (*guard, *server, *options),
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.2)
        raise RuntimeError((self.folder / "log").read_text())

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        if code:
            raise RuntimeError((self.folder / "log").read_text())

    def cpu(self) -> float:
        """Seconds that the process itself has computed."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, which: str) -> float:
        """Of the process itself, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{which}:")[2].split()[0]) / 1024


@dataclass
class Training:
    """Somebody who trains one model after another.

    Args:
        port: of the server.
        habit: how.
    """

    port: int
    habit: Habit
    commits: list[Commit] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def go_on(self, seconds: float) -> None:
        """Train for some time."""
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            self._train(min(over, time.monotonic() + self.chance.uniform(*self.habit.lasting)))
            time.sleep(max(0.0, min(self.chance.uniform(*self.habit.pausing), over - time.monotonic())))

    def _train(self, until: float) -> None:
        now = int(time.time() * 1000)
        made = self._call("runs/create", {"experiment_id": "1", "start_time": now, "run_name": "soak"})
        run, step = made["run"]["info"]["run_id"], 0
        while time.monotonic() < until:
            now = int(time.time() * 1000)
            metrics = [
                {"key": f"metric_{number:02}", "value": self.chance.random(), "timestamp": now, "step": step}
                for number in range(_METRICS)
            ]
            began = time.monotonic()
            self._call("runs/log-batch", {"run_id": run, "metrics": metrics})
            self.commits.append(Commit(run, step, time.time(), time.monotonic() - began))
            step += 1
            time.sleep(self.chance.uniform(*self.habit.between))
        self._call("runs/update", {"run_id": run, "status": "FINISHED", "end_time": int(time.time() * 1000)})

    def _call(self, path: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/api/2.0/mlflow/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(text)
        return json.loads(text)


class Arrivals:
    """Notes when snapshots are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def look(self) -> None:
        now = time.time()
        for snapshot in list_snapshots(str(self._folder)).snapshots if self._folder.exists() else ():
            self.seen.setdefault(snapshot.timestamp, now)

    def _watch(self) -> None:
        before = 0
        while not self._over.wait(0.05):
            with contextlib.suppress(FileNotFoundError):
                if (now := self._folder.stat().st_mtime_ns) != before:
                    self.look()
                    before = now

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
            self.look()

    def ages(self, commits: Sequence[Commit]) -> list[float]:
        """How old each commit was when a snapshot had it. To be asked when all are there."""
        left = sorted(commits, key=lambda commit: commit.at)
        found = []
        for timestamp, at in sorted(self.seen.items(), key=lambda one: one[1]):
            runs = open_snapshot(str(self._folder), timestamp).records(RUNS)
            steps = {run.run_id: run.metrics["metric_00"].step for run in runs if run.metrics}
            found += [at - one.at for one in left if one.step <= steps.get(one.run, -1)]
            left = [one for one in left if one.step > steps.get(one.run, -1)]
        if left:
            raise RuntimeError(f"{len(left)} commits are in no snapshot")
        return found


def idle(server: Server, seconds: float) -> float:
    """The share of a core that a process takes."""
    before, began = server.cpu(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu() - before) / (time.monotonic() - began)


def soak(folder: Path, chosen: argparse.Namespace) -> dict[str, str]:
    """What came of it, in words."""
    training = Training(0, HABITS[chosen.writer])
    if chosen.alone:
        with Server(folder / "alone", chosen.size) as alone:
            training.port = alone.port
            training.go_on(chosen.alone * 60)
    before, training.commits = [one.seconds for one in training.commits], []
    backups = folder / "backups"
    options = ("--storage", str(backups), "--allow-none", "--rpo", chosen.rpo, "--grace", "60s", "--verbose")
    arrivals = Arrivals(backups)
    command = (sys.executable, "-m", "mlmeta", "guard", *options, "--")
    with arrivals.noted(), Server(folder / "guarded", chosen.size, *command) as server:
        while not arrivals.seen:
            time.sleep(0.1)
        first = idle(server, chosen.idle)
        training.port, computed = server.port, server.cpu()
        training.go_on(chosen.minutes * 60)
        computed = server.cpu() - computed
        memory, peak = server.memory("VmRSS"), server.memory("VmHWM")
        server.end()
    ages, times = arrivals.ages(training.commits), [one.seconds for one in training.commits]
    sizes = sum(file.stat().st_size for file in backups.rglob("*") if file.is_file())
    found = {
        "commits": f"{len(times):,}, in {len(arrivals.seen)} snapshots of {sizes / len(arrivals.seen) / 1e6:.1f} MB",
        "age of a commit in the first snapshot that has it": f"median {statistics.median(ages):.1f} s, "
        f"longest {max(ages):.1f} s",
        "a commit under guard": _times(times),
        "idle": f"{first:.2%} of a core",
        "computing": f"{computed / chosen.minutes / 60:.1%} of a core",
        "memory": f"{memory:.0f} MiB at the end, {peak:.0f} MiB at most",
    }
    return {**found, "a commit without guard": _times(before)} if before else found


def _times(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"median {statistics.median(seconds):.3f} s, 99 % below {cuts[-1]:.3f} s, slowest {max(seconds):.3f} s"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", choices=[*SIZES], default="M")
parser.add_argument("--minutes", type=float, default=10)
parser.add_argument("--alone", type=float, default=2, help="minutes without guard; 0: none")
parser.add_argument("--idle", type=float, default=60, help="seconds")
parser.add_argument("--writer", choices=[*HABITS], default="epochs")
parser.add_argument("--rpo", default="60s")

if __name__ == "__main__":
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    with tempfile.TemporaryDirectory(prefix="mlmeta-soak-") as name:
        told = soak(Path(name), arguments)
    head = f"size {arguments.size}, {arguments.minutes:g} minutes, {arguments.writer}, --rpo {arguments.rpo}"
    print(f"| {head} | |\n|---|---|")  # noqa: T201
    print("\n".join(f"| {what} | {value} |" for what, value in told.items()))  # noqa: T201
