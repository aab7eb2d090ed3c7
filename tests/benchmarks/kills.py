"""Guard killed (SIGKILL) at every step, and started again: how old is what a lost disk would have taken along?

`python -m tests.benchmarks.kills [--kills 120] [--rpo 10] [--seed 1]`. A server that writes a run three times a second
is guarded; each guard is killed at a random moment of a step: while it starts, restores, saves, waits, or ends. Each
third time the disk is lost as well, so that the next one restores. Prints what each life was like, and at the end how
many guards had had a run for longer than the RPO that was in no snapshot when they were killed: there shall be none.
What the guards before one have left, it has since it started its server; how old that is by the clock is told, too.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mlmeta import open_snapshot, restore
from mlmeta.errors import SnapshotNotFoundError, StorageMissingError
from mlmeta.schema import RUNS
from tests.benchmarks.generate import SIZES, write

SERVER = """
import http.server, os, signal, sqlite3, sys, threading, time, uuid
port, store, told, pause = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
over.wait(pause)
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", port), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
db = sqlite3.connect(store, timeout=30)
log = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
columns = "run_uuid, name, experiment_id, status, lifecycle_stage, start_time"
query = f"INSERT INTO runs ({columns}) VALUES (?, '', 0, ?, ?, ?)"
while not over.wait(0.3):
    run, now = uuid.uuid4().hex, time.time()
    with db:
        db.execute(query, (run, "RUNNING", "active", int(now * 1000)))
    os.write(log, f"{run} {now!r}\\n".encode())
time.sleep(0.3)
"""
"""It starts slowly, as servers do; what it tells has been committed."""
STEPS = ("starting", "started", "saving", "saved", "ending", "restoring")


@dataclass
class Trial:
    """A store, its snapshots, and what its servers have committed.

    Args:
        folder: where all of it is.
        rpo: seconds.
        chance: decides.
    """

    folder: Path
    rpo: float
    chance: random.Random
    too_old: list[str] = field(default_factory=list)
    had: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.store = self.folder / "mlflow.db"
        self.told = self.folder / "told"
        self.told.touch()
        self.backups = self.folder / "backups"
        write(SIZES["S"], self.folder / "made-up")
        restore(f"sqlite:///{self.store}", storage=str(self.folder / "made-up"))

    def start(self) -> Life:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        log = self.folder / "log"
        log.write_text("")
        status = self.folder / "status.json"
        status.unlink(missing_ok=True)
        server = (sys.executable, "-I", "-S", "-c", SERVER, port, str(self.store), str(self.told))
        words = ("--store", f"sqlite:///{self.store}", "--storage", str(self.backups), "--allow-none", "--verbose")
        options = ("--rpo", f"{self.rpo:g}s", "--grace", "3s", "--health-url", f"http://127.0.0.1:{port}/")
        pause = str(self.chance.uniform(0, 3))
        command = (sys.executable, "-m", "mlmeta", "guard", *words, *options, "--status-file", str(status), "--")
        with log.open("ab") as stream:
            process = subprocess.Popen((*command, *server, pause), stderr=stream, start_new_session=True)
        return Life(process, log)

    def runs(self) -> dict[str, float]:
        """What was committed, and when, but for what a lost disk took along."""
        lines = (line.split() for line in self.told.read_text().splitlines())
        return {run: float(time_) for run, time_ in lines if run not in self.lost}

    def saved(self) -> set[str]:
        try:
            return {run.run_id for run in open_snapshot(str(self.backups)).records(RUNS)}
        except (SnapshotNotFoundError, StorageMissingError):
            return set()

    def held(self) -> float:
        """The RPO that guard says it holds."""
        try:
            return float(json.loads((self.folder / "status.json").read_text())["effective_rpo"])
        except FileNotFoundError:
            return self.rpo

    def lose_disk(self, saved: set[str]) -> None:
        self.lost |= set(self.runs()) - saved
        for file in self.folder.glob("mlflow.db*"):
            file.unlink()

    def kill(self, number: int) -> None:
        """A life and its end."""
        step = self.chance.choice(STEPS if self.store.exists() else ("restoring", *STEPS))
        if step == "restoring" and self.store.exists():
            self.lose_disk(self.saved())
        life = self.start()
        try:
            life.reach(step, self.chance, self.rpo)
        finally:
            life.kill()
        assert "Traceback" not in life.said(), life.said()
        now, runs, saved = life.ended, self.runs(), self.saved()
        left = [committed for run, committed in runs.items() if run not in saved]
        age, had = (max((now - max(time_, since) for time_ in left), default=0.0) for since in (0, life.able))
        held = max(self.rpo, self.held())
        self.ages.append(age)
        self.had.append(had)
        self.kills[step] += 1
        say(
            f"{number:4} {step:9} lived {life.lasted:5.1f} s, {len(left):3} unsaved, for {had:4.1f} s, {age:4.1f} s old"
        )
        if had > held:
            self.too_old.append(f"kill {number} ({step}): {had:.1f} s, RPO {held:.1f} s")
            say(life.log.read_text())
        if not number % 3:
            self.lose_disk(saved)

    def live(self) -> None:
        """A life with a clean end: what was committed is there, but for what a lost disk took along."""
        life = self.start()
        life.until(lambda: "saved snapshot" in life.said() or life.process.poll() is not None)
        life.process.send_signal(signal.SIGTERM)
        assert life.process.wait(60) == 0, life.said()
        missing = set(self.runs()) - self.saved()
        assert not missing, missing


@dataclass
class Life:
    """A guard."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.time)
    ended: float = 0.0

    def said(self) -> str:
        return self.log.read_text()

    @property
    def able(self) -> float:
        """When it had started its server, to the second; if it came to that."""
        line = next((line for line in self.said().splitlines() if "runs as process" in line), "")
        return datetime.fromisoformat(line[:19] + "+00:00").timestamp() if line else self.ended

    @property
    def lasted(self) -> float:
        return self.ended - self.began

    def until(self, what: Callable[[], bool], patience: float = 60) -> None:
        deadline = time.time() + patience
        while not what() and time.time() < deadline:
            time.sleep(0.01)

    def reach(self, step: str, chance: random.Random, rpo: float) -> None:
        """Come to a random moment of a step."""
        words = {"restoring": "restoring snapshot", "started": "runs as process", "saving": "saving"}
        words |= {"saved": "saved snapshot", "ending": "saved snapshot"}
        if step in words:
            self.until(lambda: words[step] in self.said() or self.process.poll() is not None, rpo * 4)
        if step == "ending":
            time.sleep(chance.uniform(0, 2))
            self.process.send_signal(signal.SIGTERM)
        most = {"starting": 1.5, "restoring": 2.5, "started": 4, "saving": 0.7, "saved": rpo * 1.5, "ending": 1.5}
        time.sleep(chance.uniform(0, most[step]))

    def kill(self) -> None:
        """And wait for all that it started."""
        self.ended = time.time()
        self.process.kill()
        self.process.wait()
        self.until(lambda: not _members(self.process.pid))


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _members(session: int) -> list[int]:
    found = []
    for name in Path("/proc").iterdir():
        try:
            words = (name / "stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            continue
        if name.name.isdigit() and int(words[3]) == session and words[0] not in "ZX":
            found.append(int(name.name))
    return found


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--kills", type=int, default=120)
parser.add_argument("--rpo", type=float, default=10)
parser.add_argument("--seed", type=int, default=1)

if __name__ == "__main__":
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    with tempfile.TemporaryDirectory(prefix="mlmeta-kills-") as name:
        trial = Trial(Path(name), chosen.rpo, random.Random(chosen.seed))
        trial.live()
        for count in range(chosen.kills):
            trial.kill(count + 1)
        trial.live()
    say(f"\n{chosen.kills} kills, {dict(trial.kills)}; RPO {chosen.rpo:g} s")
    say(f"unsaved at a kill: by its guard for up to {max(trial.had):.1f} s, by the clock {max(trial.ages):.1f} s old")
    say(f"older by the clock than the RPO: at {sum(age > chosen.rpo for age in trial.ages)} kills")
    say(f"{len(trial.too_old)} of {chosen.kills} guards had a run for longer than the RPO that was in no snapshot")
    say("\n".join(trial.too_old))
