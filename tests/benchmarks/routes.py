"""Each route that a benchmark measures: mlmeta beside its floor and its peers."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path

from mlmeta.storage import open_storage
from tests.benchmarks.generate import SIZES, write
from tests.benchmarks.measure import PYTHON, Command, floor, measure, mlmeta, once, report, tell
from tests.benchmarks.postgres import Postgres, postgres
from tests.builders.snapshots import commit, experiment
from tests.support.live import writing
from tests.support.server import Server, server

_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # five more processes, which no route needs
MANY = 1000
"""Snapshots in the storage that is listed."""


class Bench:
    """A store and a snapshot of one size, made when they are first needed.

    Args:
        size: a key of `SIZES`.
        folder: for everything.
        times: turns that count.
    """

    def __init__(self, size: str, folder: Path, times: int) -> None:
        self.size = size
        self.folder = folder
        self.times = times

    @cached_property
    def snapshot(self) -> Path:
        """A folder with one snapshot of this size."""
        write(SIZES[self.size], self.folder / "snapshot")
        return self.folder / "snapshot"

    @cached_property
    def database(self) -> Path:
        """A SQLite store with what the snapshot holds."""
        path = self.folder / "mlflow.db"
        once(self.restore(f"sqlite:///{path}", "--no-verify"))
        return path

    @property
    def uri(self) -> str:
        """Of the SQLite store."""
        return f"sqlite:///{self.database}"

    @property
    def points(self) -> int:
        """Metric points."""
        size = SIZES[self.size]
        return size.runs * size.keys * size.steps

    def restore(self, uri: str, *more: str) -> list[str]:
        """The command that restores the snapshot."""
        words = ("restore", "--timestamp", "latest", "--storage", str(self.snapshot), "--tracking-uri", uri)
        return mlmeta(*words, "--quiet", *more)

    def backup(self, uri: str, *more: str) -> list[str]:
        """The command that makes a snapshot in a folder that is emptied before."""
        return mlmeta("backup", "--tracking-uri", uri, "--storage", str(self.folder / "out"), "--quiet", *more)

    def fresh(self, words: list[str], *gone: Path) -> Command:
        """A command that finds the outcome of the turn before removed."""

        def command() -> list[str]:
            for path in (self.folder / "out", *gone):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
            return words

        return command

    @contextlib.contextmanager
    def running(self, backend: str, *more: str) -> Iterator[Server]:
        """A server with two workers on this machine."""
        arguments = ("--workers", "2", *more)
        options = {"arguments": arguments, "environment": _QUIET, "python": Path(PYTHON)}
        with server(self.folder / "server", backend=backend, uvicorn=True, **options) as started:
            yield started


def sqlite_backup(bench: Bench) -> None:
    """From SQLite, beside a bare cursor to JSON lines."""
    target = {"M": 1.5, "L": 1.3, "T": 1.3}.get(bench.size)
    ours, bare = measure(
        bench.fresh(bench.backup(bench.uri)),
        bench.fresh(floor("sqlite-read", bench.uri, str(bench.folder / "floor.json"))),
        times=bench.times,
    )
    report(f"{bench.size}: backup from SQLite", ours, "bare cursor to JSON lines", bare, target)


def sqlite_traces(bench: Bench) -> None:
    """Traces out of SQLite and into it, beside the bare floors, and those with what mlmeta promises."""
    if not SIZES[bench.size].traces:
        return
    copy, out = bench.folder / "copy.db", str(bench.folder / "floor.json")
    found = measure(
        bench.fresh(bench.backup(bench.uri)),
        bench.fresh(floor("sqlite-read", bench.uri, out)),
        bench.fresh(floor("sqlite-read-safely", bench.uri, out)),
        bench.fresh(bench.restore(f"sqlite:///{copy}", "--no-verify"), copy),
        bench.fresh(floor("sqlite-write", bench.uri, str(copy)), copy),
        bench.fresh(floor("sqlite-write-safely", bench.uri, str(copy), str(bench.snapshot)), copy),
        bench.fresh(bench.restore(f"sqlite:///{copy}"), copy),
        bench.fresh(mlmeta("verify", "--storage", str(bench.snapshot), "--quiet")),
        times=bench.times,
    )
    saved, read, read_safely, restored, written, written_safely, proven, verified = found
    promises = "with the promises, and nothing in between"
    report(f"{bench.size}: traces from SQLite", saved, "bare cursor to JSON lines", read, 1.3)
    report(f"{bench.size}: traces from SQLite", saved, f"the same, {promises}", read_safely)
    report(f"{bench.size}: exact restore of traces", restored, "bare executemany", written, 1.3)
    report(f"{bench.size}: exact restore of traces", restored, f"the same, {promises}", written_safely)
    report(f"{bench.size}: the same, read back and compared", proven, "bare executemany", written)
    report(f"{bench.size}: verify", verified, "bare executemany", written)


def _log(db: sqlite3.Connection, number: int) -> None:
    (run,) = db.execute("SELECT run_uuid FROM runs LIMIT 1").fetchone()
    row = ("live", 1, 1, run, time.time_ns(), 0)
    db.execute("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", row)
    db.execute("UPDATE runs SET end_time = ? WHERE run_uuid = ?", (number, run))


def sqlite_live(bench: Bench) -> None:
    """From a SQLite file that somebody writes into: how long that one waits."""
    target = {"M": 0.5, "L": 1.0}.get(bench.size)
    live = Path(shutil.copy(bench.database, bench.folder / "live.db"))
    backup = bench.fresh(bench.backup(f"sqlite:///{live}"))
    slowest = []
    for _ in range(bench.times):
        words = backup()
        with writing(live, _log, 0.02) as took:
            once(words)
        slowest.append(max(took))
    with writing(live, _log, 0.02) as alone:
        time.sleep(2)
    worst = max(slowest)
    verdict = "" if target is None else f", target {target:g} s: {'met' if worst <= target else 'missed'}"
    tell(
        f"{bench.size}: slowest commit of a writer, every 20 ms, during {bench.times} backups of its SQLite file: "
        f"{worst:.2f} s (median of the slowest {statistics.median(slowest):.2f} s){verdict}; "
        f"without a backup {max(alone):.2f} s"
    )


def sqlite_restore(bench: Bench) -> None:
    """Into a new SQLite file, beside bare `executemany` and sqlite3's own way."""
    copy, dump = bench.folder / "copy.db", bench.folder / "dump.sql"
    with closing(sqlite3.connect(bench.database)) as db, dump.open("w") as out:
        out.writelines(f"{line}\n" for line in db.iterdump())
    plain, proven, bare, script = measure(
        bench.fresh(bench.restore(f"sqlite:///{copy}", "--no-verify"), copy),
        bench.fresh(bench.restore(f"sqlite:///{copy}"), copy),
        bench.fresh(floor("sqlite-write", bench.uri, str(copy)), copy),
        bench.fresh(["sh", "-c", f"sqlite3 {copy} < {dump}"], copy),
        times=bench.times,
    )
    big = bench.size != "S"  # the targets are for M and L
    report(f"{bench.size}: exact restore into SQLite", plain, "bare executemany", bare, 1.3 if big else None)
    report(f"{bench.size}: exact restore into SQLite", plain, "sqlite3 new.db < dump.sql", script, 1 if big else None)
    report(f"{bench.size}: the same, read back and compared", proven, "bare executemany", bare)


@contextlib.contextmanager
def _filled(bench: Bench) -> Iterator[Postgres]:
    """A PostgreSQL server with the snapshot's content in the database `whole`."""
    with postgres() as running:
        running.fresh("whole")
        once(bench.restore(running.uri("whole"), "--no-verify"))
        running.vacuum("whole")
        yield running


def postgresql_backup(bench: Bench) -> None:
    """From PostgreSQL, beside COPY and pg_dump."""
    with _filled(bench) as running:
        dump = str(bench.folder / "dump")
        ours, bare, plain = measure(
            bench.fresh(bench.backup(running.uri("whole"))),
            bench.fresh(floor("postgres-read", running.plain("whole"), str(bench.folder / "floor.txt"))),
            bench.fresh([running.tool("pg_dump"), "-f", dump, running.plain("whole")]),
            times=bench.times,
        )
    big = bench.size != "S"
    report(f"{bench.size}: backup from PostgreSQL", ours, "COPY … TO STDOUT", bare, 1.5 if big else None)
    report(f"{bench.size}: backup from PostgreSQL", ours, "pg_dump, plain", plain, 2 if big else None)


def postgresql_restore(bench: Bench) -> None:
    """Into an empty PostgreSQL database, beside COPY into a schema and pg_restore."""
    with _filled(bench) as running:
        dump = str(bench.folder / "dump")
        running.fresh("schema")
        subprocess.run([running.tool("pg_dump"), "-s", "-f", dump, running.plain("whole")], check=True)
        subprocess.run(
            [running.tool("psql"), "-q", "-f", dump, running.plain("schema")], check=True, capture_output=True
        )
        subprocess.run([running.tool("pg_dump"), "-Fc", "-f", dump, running.plain("whole")], check=True)

        def into(words: list[str], template: str = "template1") -> Command:
            def command() -> list[str]:
                running.fresh("copy", template)
                return words

            return command

        ours, proven, bare, other = measure(
            into(bench.restore(running.uri("copy"), "--no-verify")),
            into(bench.restore(running.uri("copy"))),
            into(floor("postgres-write", running.plain("copy"), running.plain("whole")), "schema"),
            into([running.tool("pg_restore"), "-d", running.plain("copy"), dump]),
            times=bench.times,
        )
    what, big = f"{bench.size}: exact restore into PostgreSQL", bench.size != "S"
    report(what, ours, "COPY … FROM STDIN, schema there", bare, 1.3 if big else None)
    report(what, ours, "pg_restore", other, 1 if big else None)
    report(f"{bench.size}: the same, read back and compared", proven, "pg_restore", other)


def server_backup(bench: Bench) -> None:
    """From a server with two workers, beside bare requests."""
    with bench.running(bench.uri) as running:
        ours, bare = measure(
            bench.fresh(bench.backup(running.uri)), bench.fresh(floor("server", running.uri)), times=min(bench.times, 3)
        )
    report(
        f"{bench.size}: backup from a server",
        ours,
        "search_runs and bulk histories, thrown away",
        bare,
        1.25 if bench.size != "S" else None,
    )


def server_traces(bench: Bench) -> None:
    """Traces with their spans from a server with two workers, beside bare requests; and with nothing changed since."""
    if not SIZES[bench.size].traces:
        return
    base = bench.folder / "base"

    def again() -> list[str]:
        shutil.rmtree(bench.folder / "out", ignore_errors=True)
        shutil.copytree(base, bench.folder / "out")
        return bench.backup(running.uri, "--incremental")

    with bench.running(bench.uri) as running:
        words = bench.backup(running.uri)
        once(bench.fresh(words)())
        shutil.copytree(bench.folder / "out", base)
        ours, bare, unchanged = measure(
            bench.fresh(words), bench.fresh(floor("traces", running.uri)), again, times=min(bench.times, 3)
        )
    other = "the same replies, thrown away"
    report(f"{bench.size}: traces from a server", ours, other, bare, 1.2)
    report(f"{bench.size}: traces from a server, --incremental, nothing changed", unchanged, other, bare)


def incremental(bench: Bench) -> None:
    """Again from a server, with nothing and with 1 % changed since."""
    changing = bench.folder / "changing.db"
    shutil.copy(bench.database, changing)
    base = bench.folder / "base"

    def again(words: list[str]) -> Command:
        def command() -> list[str]:
            shutil.rmtree(bench.folder / "out", ignore_errors=True)
            shutil.copytree(base, bench.folder / "out")
            return words

        return command

    with bench.running(f"sqlite:///{changing}") as running:
        once(bench.backup(running.uri))
        shutil.copytree(bench.folder / "out", base)
        for changed in ("nothing", "1 % of the runs"):
            if changed != "nothing":
                _change(changing)
            ours, client, bare = measure(
                again(bench.backup(running.uri, "--incremental")),
                bench.fresh(floor("client-search", running.uri)),
                bench.fresh(floor("search", running.uri)),
                times=bench.times,
            )
            what = f"{bench.size}: backup --incremental, {changed} changed"
            report(what, ours, "search_runs alone, through MlflowClient", client, 1.2 if bench.size != "S" else None)
            report(what, ours, "search_runs alone, bare requests", bare)


def _change(database: Path) -> None:
    """A new point for each metric of every hundredth run."""
    with closing(sqlite3.connect(database, timeout=60)) as db, db:
        some = "SELECT run_uuid FROM runs WHERE CAST(substr(name, 5) AS INTEGER) % 100 = 0"
        db.execute(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) SELECT key, value, timestamp + 1,"
            f" run_uuid, step + 1, is_nan FROM latest_metrics WHERE run_uuid IN ({some})"
        )
        db.execute(f"UPDATE latest_metrics SET step = step + 1, timestamp = timestamp + 1 WHERE run_uuid IN ({some})")


def api_restore(bench: Bench) -> None:
    """Into a server, beside bare `log_batch`. Each turn gets a new server on an empty store."""
    running = contextlib.ExitStack()

    def into(words: Callable[[str], list[str]]) -> Command:
        def command() -> list[str]:
            running.close()
            (bench.folder / "target.db").unlink(missing_ok=True)
            started = running.enter_context(bench.running(f"sqlite:///{bench.folder / 'target.db'}"))
            return words(started.uri)

        return command

    with running:
        ours, bare = measure(
            into(lambda uri: bench.restore(uri, "--no-verify", "--yes")),
            into(lambda uri: floor("api-write", uri, bench.uri)),
            times=1 if bench.size == "S" else 0,  # minutes each
        )
    report(
        f"{bench.size}: restore through the API",
        ours,
        "bare log_batch in 6 threads",
        bare,
        1.3 if bench.size != "S" else None,
    )


def start(bench: Bench) -> None:
    """What people wait for before anything happens."""
    many = bench.folder / "many"
    for number in range(MANY):
        _tiny(many, datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=number))
    commands = {
        "--help": (mlmeta("--help"), 0.25),
        f"list of {MANY:,} snapshots": (mlmeta("list", "--storage", str(many)), 0.5),
        f"show of {bench.size}": (mlmeta("show", "--storage", str(bench.snapshot)), 1.5),
        f"backup of {bench.size} from SQLite": (bench.backup(bench.uri), 0.6 if bench.size == "S" else None),
    }
    found = measure(
        *(bench.fresh(words) for words, _ in commands.values()), lambda: [PYTHON, "-c", "pass"], times=bench.times
    )
    for (what, (_, seconds)), ours in zip(commands.items(), found, strict=False):
        report(what, ours, "python -c pass", found[-1])
        if seconds is not None:
            tell(f"{what}: {ours.seconds:.2f} s, target {seconds} s: {'met' if ours.seconds <= seconds else 'missed'}")


def _tiny(folder: Path, moment: datetime) -> None:
    commit(open_storage(str(folder)), [experiment("0", "Default")], at=moment, mlflow_uri="benchmark", note="tiny")


def size(bench: Bench) -> None:
    """Bytes a metric point."""
    for how, target in ((), 40), (("--compress",), 12):
        once(bench.fresh(bench.backup(bench.uri, *how))())
        taken = sum(path.stat().st_size for path in (bench.folder / "out").iterdir()) / bench.points
        verdict = f", target {target}: {'met' if taken <= target else 'missed'}" if bench.size == "M" else ""
        tell(f"{bench.size}: {taken:.1f} bytes a metric point{' '.join(('', *how))}{verdict}")


def memory(bench: Bench) -> None:
    """Backup and restore, for their peak memory and the time each record takes."""
    copy = bench.folder / "copy.db"
    backup, restore = measure(
        bench.fresh(bench.backup(bench.uri)),
        bench.fresh(bench.restore(f"sqlite:///{copy}", "--no-verify"), copy),
        times=min(bench.times, 1),
    )
    runs = SIZES[bench.size].runs
    for what, taken in (("backup from SQLite", backup), ("exact restore into SQLite", restore)):
        tell(
            f"{bench.size}: {what}, {runs:,} runs and {bench.points:,} points: {taken.seconds:.1f} s "
            f"({taken.seconds / (runs + bench.points) * 1e6:.2f} µs a run or point), peak memory {taken.memory:.0f} MiB"
        )


ROUTES: dict[str, Callable[[Bench], None]] = {
    "start": start,
    "size": size,
    "sqlite-backup": sqlite_backup,
    "sqlite-traces": sqlite_traces,
    "sqlite-live": sqlite_live,
    "sqlite-restore": sqlite_restore,
    "postgresql-backup": postgresql_backup,
    "postgresql-restore": postgresql_restore,
    "server-backup": server_backup,
    "server-traces": server_traces,
    "incremental": incremental,
    "api-restore": api_restore,
    "memory": memory,
}
