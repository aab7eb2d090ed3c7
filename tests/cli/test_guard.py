"""`mlmeta guard`: a child with its store restored before, saved while it runs, and ended cleanly."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlmeta import list_snapshots, open_snapshot
from mlmeta.commands.others import epochs_of
from mlmeta.commands.saver import Saver, Saving, Wal
from mlmeta.errors import StorageDeniedError
from mlmeta.guard.processes import apart
from mlmeta.guard.supervisor import Outcome
from mlmeta.schema import EXPERIMENTS
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage
from mlmeta.stores.opening import Store
from tests.support.cli import Cli, Running
from tests.support.databases import Databases
from tests.support.server import Server

PYTHON = (sys.executable, "-I", "-S", "-u", "-c")
WAITS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('ready')\n"
SLEEPS = WAITS + "while True: time.sleep(0.1)"


def until(what: Callable[[], object], patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tag(database: Path, key: str) -> None:
    """Change the store as a server would."""
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as db, db:
        db.execute("INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, '', 0)", (key,))


def tags(folder: Path, timestamp: str = "latest") -> set[str]:
    """The tags of the default experiment in a snapshot."""
    (first, *_) = open_snapshot(str(folder), timestamp).records(EXPERIMENTS)
    return set(first.tags)


def is_alive(number: int) -> bool:
    """Whether a process has not ended."""
    try:
        return " Z " not in Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


class Guarded:
    """A store in a folder of its own, and guards of it."""

    def __init__(self, cli: Cli, databases: Databases) -> None:
        self.cli = cli
        self.store = cli.folder / "mlflow.db"
        self.uri = databases.copy("empty", self.store)
        self.backups = cli.folder / "backups"

    def start(self, child: str, *more: str, words: tuple[str, ...] = ()) -> Running:
        options = (
            "--store",
            self.uri,
            "--start-period",
            "0s",
            "--grace",
            "3s",
            "--restore",
            "never",
            "--rpo",
            "1s",
            *more,
        )
        return self.cli.start("guard", *options, "--", *PYTHON, child, *words)

    def saved(self) -> int:
        """How many snapshots are complete."""
        return len(list(self.backups.glob("backup_summary_*"))) if self.backups.is_dir() else 0


@pytest.fixture
def guarded(cli: Cli, databases: Databases) -> Guarded:
    return Guarded(cli, databases)


def test_what_was_saved_comes_back(guarded: Guarded, databases: Databases) -> None:
    """Before the child starts. (A real server, and a bucket: tests/recipes/test_cloud_run.py.)"""
    databases.copy("filled", guarded.store)
    running = guarded.start(SLEEPS, "--compress")
    until(lambda: guarded.saved() == 1)
    with contextlib.closing(sqlite3.connect(guarded.store)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        runs = db.execute("SELECT run_uuid, name FROM runs ORDER BY 1").fetchall()
    running.send(signal.SIGTERM)
    assert running.wait().code == 0
    guarded.store.unlink()

    query = "SELECT count(*) FROM runs"
    read = f"import sqlite3; print(sqlite3.connect({str(guarded.store)!r}).execute({query!r}).fetchone())"
    words = ("guard", "--store", guarded.uri, "--start-period", "0s", "--restore", "require", "--", *PYTHON, read)
    done = guarded.cli(*words, "--backend-store-uri", "sqlite:///another.db").ended(0)
    assert "what the store gives back is the same" in done.err
    assert done.out == f"({len(runs)},)\n"
    with contextlib.closing(sqlite3.connect(guarded.store)) as db:
        assert db.execute("SELECT run_uuid, name FROM runs ORDER BY 1").fetchall() == runs
    assert guarded.saved() == 1, "nothing has changed"
    assert "is not empty" in guarded.cli(*words).ended(2).err


def test_a_change_is_saved_after_five_seconds_of_quiet(guarded: Guarded) -> None:
    running = guarded.start(SLEEPS, "--rpo", "60s", "--status-file", "status.json")
    until(lambda: guarded.saved() == 1)
    began = time.monotonic()
    tag(guarded.store, "one")
    until(lambda: guarded.saved() == 2)
    assert time.monotonic() - began >= 5
    assert tags(guarded.backups) == {"one"}
    tag(guarded.store, "two")  # and this one when it ends, at once
    running.send(signal.SIGTERM)
    assert running.wait().code == 0
    assert tags(guarded.backups) == {"one", "two"}
    assert guarded.saved() == 3
    status = json.loads((guarded.cli.folder / "status.json").read_text())
    newest = list_snapshots(str(guarded.backups)).snapshots[0].timestamp
    assert (status["state"], status["exit_code"], status["last_snapshot"]) == ("ended", 0, newest)
    assert (status["lag"], status["failures"], status["last_error"], status["rpo"]) == (0, 0, "", 60)


def test_old_snapshots_go_once_an_hour(guarded: Guarded, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second save on, and never at the end; where that is refused it is said once, and all is saved."""
    databases.copy("filled", guarded.store)
    store, folder = Store(guarded.uri), str(guarded.backups)
    saving = Saving((folder,), keep=Rules(last=1), tags={"release": "1.4"})
    epochs = epochs_of(store, (folder,), "", None, None)
    hourly = Saver(store, saving, Wal(store, wanted=False), epochs)
    always = Saver(store, replace(saving, prune_every=timedelta(0)), Wal(store, wanted=False), epochs)
    number = itertools.count()

    def saved(save: Saver, *, last: bool = False) -> Outcome:
        tag(guarded.store, f"{next(number)}")
        return save(again=False, last=last)

    for save, last, left in ((hourly, False, 1), (hourly, False, 1), (hourly, False, 2), (always, False, 3)):
        assert saved(save, last=last).good
        assert guarded.saved() == left
    assert "removed 3 older" in saved(always).text
    assert guarded.saved() == 1
    assert saved(always, last=True).good
    assert open_snapshot(folder).summary.tags == {"release": "1.4"}
    assert guarded.saved() == 2

    def refused(self: LocalStorage, name: str) -> None:
        raise StorageDeniedError(f"{name} can't be removed", hint="")

    monkeypatch.setattr(LocalStorage, "remove", refused)
    problems = [saved(always) for _ in range(2)]
    assert ["old snapshots stay" in "".join(one.problems) for one in problems] == [True, False]
    assert all(one.good and one.complete for one in problems)


def test_a_registry_in_another_database_is_restored_too(guarded: Guarded, databases: Databases) -> None:
    """Each where it is empty."""
    databases.copy("filled", guarded.store)
    registry = guarded.cli.folder / "registry.db"
    uri = databases.copy("filled", registry)
    guarded.cli("backup", "--tracking-uri", guarded.uri, "--registry-uri", uri).ok()

    def count(path: Path, table: str) -> int:
        with contextlib.closing(sqlite3.connect(path)) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    runs, models = count(guarded.store, "runs"), count(registry, "registered_models")
    command = ("--", *PYTHON, "pass", "--backend-store-uri", guarded.uri, "--registry-store-uri", uri)
    for lost, said in (((guarded.store, registry), 2), ((registry,), 1)):
        for path in lost:
            path.unlink()
            databases.copy("empty", path)
        done = guarded.cli("guard", "--start-period", "0s", "--label", "new", *command).ended(0)
        assert done.err.count("what the store gives back is the same") == said
        assert ("alone, none of new" in done.err) == (said == 2), "those of another label, where there are no others"
        assert (count(guarded.store, "runs"), count(guarded.store, "registered_models")) == (runs, 0)
        assert (count(registry, "runs"), count(registry, "registered_models")) == (0, models)
    assert "is not empty" in guarded.cli("guard", "--restore", "require", *command).ended(2).err


WATCHED = """
import http.server, os, signal, sys, threading, time
signal.signal(signal.SIGTERM, lambda *_: open("told", "w"))
while not os.path.exists("go"):
    time.sleep(0.02)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists("end"):
    time.sleep(0.02)
"""


def test_it_is_watched(guarded: Guarded, snapshots: Path) -> None:
    """While it restores, before the command answers, while it runs and can't be saved, and while it ends."""
    parser = pytest.importorskip("prometheus_client.parser")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ("--restore", "require", "--start-period", "600s", "--health-url", f"http://127.0.0.1:{port}/")
    running = guarded.start(WATCHED, *options, "--listen", "127.0.0.1:0", "--label", 'a "b"', words=(port,))
    running.wait_for("/status")
    place = running.err.read_text().partition("http://")[2].partition("/status")[0]

    def page(path: str) -> tuple[int, str]:
        client = http.client.HTTPConnection(place, timeout=10)
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()

    def status(key: str) -> object:
        return json.loads(page("/status")[1])[key]

    seen = [page("/readyz")]
    while not seen[-1][1].startswith("the command does not answer"):
        time.sleep(0.005)
        seen.append(page("/readyz"))
    assert (503, "a snapshot is being restored\n") in seen
    assert page("/healthz") == (200, "ok\n")
    (guarded.cli.folder / "go").touch()
    until(lambda: page("/readyz") == (200, "ok\n") and status("last_success"))
    assert status("state") == "running"
    second = guarded.start(SLEEPS, "--listen", place).wait()
    assert second.code == 2
    assert "in use" in second.err
    assert "ready" not in second.out

    snapshots.rename(guarded.cli.folder / "away")
    snapshots.write_text("no folder")
    tag(guarded.store, "unsaved")
    until(lambda: status("failures") and status("lag"))
    assert page("/healthz") == (200, "ok\n")
    families = {one.name: one.samples for one in parser.text_string_to_metric_families(page("/metrics")[1])}
    value = {name.removeprefix("mlmeta_"): samples[0].value for name, samples in families.items()}
    assert {samples[0].labels["source"] for samples in families.values()} == {'a "b"'}
    assert (value["guard_ready"], value["last_exit_code"], value["guard_rpo_seconds"]) == (1, 1, 1)
    assert 0 < value["guard_lag_seconds"] < 100
    assert value["last_success_timestamp_seconds"] < value["last_run_timestamp_seconds"]
    assert {sample.labels["kind"] for sample in families["mlmeta_snapshot_records"]} >= {"runs", "experiments"}

    running.send(signal.SIGTERM)
    until(lambda: page("/readyz") == (503, "it comes to an end\n"))
    assert page("/healthz") == (200, "ok\n")
    (guarded.cli.folder / "end").touch()
    assert running.wait().code == 3
    with pytest.raises(ConnectionRefusedError):
        page("/healthz")


@pytest.mark.parametrize(
    ("child", "code"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139),
        ("print('x' * 1_000_000)", 0),
    ],
)
def test_a_child_that_ends_by_itself(guarded: Guarded, child: str, code: int) -> None:
    """It is saved whatever became of it, and the exit code is its own."""
    tag(guarded.store, "last")
    done = guarded.start(child).wait()
    assert done.code == code, done.err
    assert tags(guarded.backups) == {"last"}
    assert len(done.out) == (1_000_001 if "print" in child else 0)


STUBBORN = """
import os, signal, sqlite3, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
open("grandchild" if os.getpid() != os.getpgrp() else "child", "w").write(str(os.getpid()))
print("ready")
while True:
    time.sleep(0.1)
"""


def test_what_does_not_end_is_killed(guarded: Guarded) -> None:
    """The child, and a grandchild in a session of its own whose parent is gone. What changed meanwhile is saved."""
    running = guarded.start(STUBBORN)
    files = [guarded.cli.folder / name for name in ("child", "grandchild")]
    until(lambda: guarded.saved() == 1 and all(file.exists() and file.read_text() for file in files))
    numbers = [int(file.read_text()) for file in files]
    running.send(signal.SIGTERM)
    running.wait_for("is told to end")
    tag(guarded.store, "too late")
    done = running.wait()
    assert done.code == 137, done.err
    assert tags(guarded.backups) == {"too late"}
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_a_killed_guard_takes_its_child_along(guarded: Guarded) -> None:
    running = guarded.start(SLEEPS + "\n", "--verbose")
    until(lambda: "ready" in running.out.read_text())
    number = int(running.err.read_text().partition("as process ")[2].partition(";")[0])
    second = guarded.start(SLEEPS).wait()
    assert second.code == 2, "one guard at a time"
    assert "another guard has" in second.err
    until(lambda: guarded.saved() == 1)
    tag(guarded.store, "just before")
    running.send(signal.SIGKILL)
    running.wait()
    until(lambda: not is_alive(number))
    tag(guarded.store, "in between")
    running = guarded.start(SLEEPS, "--start-period", "600s")
    until(lambda: tags(guarded.backups) == {"just before", "in between"})  # though the child never answers
    tag(guarded.store, "later")
    time.sleep(2)
    assert "later" not in tags(guarded.backups)
    running.send(signal.SIGTERM)
    assert running.wait().code == 0
    assert tags(guarded.backups) == {"just before", "in between", "later"}
    saved = guarded.saved()
    running = guarded.start(SLEEPS, "--start-period", "600s", "--verbose")
    running.wait_for("as process ")
    time.sleep(1.5)
    assert "saving" not in running.err.read_text(), "the last one ended well"
    running.send(signal.SIGTERM)
    assert running.wait().code == 0
    assert guarded.saved() == saved


def test_a_restore_ends_with_the_guard_that_was_killed(tmp_path: Path) -> None:
    """Else it would go on beside that of the next one."""
    told = tmp_path / "number"
    guard = os.fork()
    if not guard:
        apart(lambda: (told.write_text(f"{os.getpid()}\n"), time.sleep(60)))
        os._exit(0)
    until(lambda: told.exists() and told.read_text().endswith("\n"))
    os.kill(guard, signal.SIGKILL)
    os.waitpid(guard, 0)
    until(lambda: not is_alive(int(told.read_text())))


ORPHANS = (
    WAITS
    + """
import os
for _ in range(3):
    if not os.fork():
        if not os.fork():
            os.setsid()
            time.sleep(0.2)
        os._exit(0)
    os.wait()
def processes():
    found = [name for name in os.listdir("/proc") if name.isdigit()]
    return [open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[0] for name in found]
while len(processes()) > 2:
    time.sleep(0.05)
print("reaped", os.getppid())
while True:
    time.sleep(0.1)
"""
)


def test_as_process_1_it_lets_go_of_orphans(guarded: Guarded) -> None:
    """In a namespace of processes, as in a container."""
    own = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc")
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    options = ("--store", guarded.uri, "--restore", "never", "--start-period", "600s")
    words = (*own, sys.executable, "-m", "mlmeta", "guard", *options, "--", *PYTHON, ORPHANS)
    process = subprocess.Popen(words, cwd=guarded.cli.folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "reaped 1\n"
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    assert guarded.saved() == 1


def test_a_storage_that_fails(guarded: Guarded) -> None:
    """The child goes on; it is tried again; and at the end the exit code tells."""
    guarded.backups.write_text("no folder")
    running = guarded.start(SLEEPS)
    running.wait_for("next try in 2 s")
    running.send(signal.SIGTERM)
    done = running.wait()
    assert done.code == 3, done.err
    assert "the last changes are in no snapshot" in done.err
    assert guarded.start("raise SystemExit(7)", "--grace", "0s").wait().code == 7


def test_one_storage_of_two_that_fails(guarded: Guarded) -> None:
    """What it missed it gets, and nobody else gets that twice."""
    other = guarded.cli.folder / "other"
    other.write_text("no folder")
    running = guarded.start(SLEEPS, "--storage", "backups", "--storage", "other")
    running.wait_for("other/ has no snapshot")
    other.unlink()
    until(lambda: other.is_dir() and len(list_snapshots(str(other)).snapshots) == 1)
    running.send(signal.SIGTERM)
    assert running.wait().code == 0
    assert guarded.saved() == 1


def test_a_server_is_saved_now_and_then(filled: Server, guarded: Guarded) -> None:
    """It can't be asked whether it has changed."""
    words = ("guard", "--store", filled.uri, "--start-period", "0s", "--rpo", "1s", "--", *PYTHON, SLEEPS)
    running = guarded.cli.start(*words)
    running.wait_for("the store is not empty")
    until(lambda: guarded.saved() == 1)
    running.send(signal.SIGTERM)
    assert running.wait().code == 0
    assert guarded.saved() == 1


def test_a_database_that_hangs(guarded: Guarded) -> None:
    """Its port is open, and nobody answers. Waiting costs nothing, and a second signal leaves a save behind."""
    child = SLEEPS.replace("sys.exit(0)", "None")  # which does not care for the first one
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        guarded.uri = f"postgresql+psycopg://me@127.0.0.1:{hanging.getsockname()[1]}/mlflow"
        running = guarded.start(child, "--grace", "60s", "--verbose")
        running.wait_for("saving")
        time.sleep(1)
        before = running.cpu()
        time.sleep(2)
        assert running.cpu() - before < 0.5
        running.send(signal.SIGTERM)
        running.wait_for("is told to end")
        time.sleep(1.2)
        running.send(signal.SIGINT)
        running.wait_for("a second signal")
        done = running.wait(30)
        assert done.code == 3, done.err


def test_a_store_that_can_not_be_restored_is_not_started(guarded: Guarded) -> None:
    """No snapshot, a damaged one, a store with runs where none is wanted, no such command."""
    never = ("--storage", "nowhere")
    for words, code, text in (
        ((), 5, "--allow-none"),
        (("--restore", "require"), 5, "--allow-none"),
    ):
        options = ("--store", guarded.uri, *never, *words)
        done = guarded.cli("guard", *options, "--", *PYTHON, "print('began')").ended(code)
        assert text in done.err
        assert done.out == ""
    done = guarded.cli("guard", "--restore", "never", "--store", guarded.uri, "--", "no-such-command").ended(2)
    assert "there is no command no-such-command" in done.err
    guarded.cli("guard", "--", *PYTHON, "pass").ended(2)
