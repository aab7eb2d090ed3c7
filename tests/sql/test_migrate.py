"""A store moved into another one: backup, restore and proof in one command."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

import mlmeta
from mlmeta.errors import ExitCode, UsageError
from mlmeta.schema import EXPERIMENTS, RUNS
from tests.sql.helpers import all_runs, digests, dump
from tests.support.cli import Cli
from tests.support.proxy import Request, proxy
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "data" / "old_mlflow" / "mlflow_2.22.0.sql"
DATABASE = "postgresql://user:password@host/mlflow"
"""As the README has it."""


def readme(what: str) -> list[str]:
    """The words of a command of the README, by what it says it is for."""
    (line,) = re.findall(rf"^\$ mlmeta (migrate .*?) +# {what}$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return shlex.split(line)


def saved(uri: str, folder: Path) -> mlmeta.Snapshot:
    mlmeta.backup(uri, folder)
    return mlmeta.open_snapshot(folder)


def test_sqlite_to_postgresql(filled: Path, postgres: Callable[[], str], cli: Cli, tmp_path: Path) -> None:
    shutil.copy(filled, tmp_path / "mlflow.db")
    uri = postgres()
    words = [word.replace(DATABASE, uri) for word in readme("SQLite to PostgreSQL")]
    assert uri in words
    done = cli(*words).ok()
    assert done.err.index("Restore into postgresql://") < done.err.index("restoring runs")
    assert "READ BACK" in done.out
    assert digests(saved(uri, tmp_path / "b")) == digests(saved(f"sqlite:///{filled}", tmp_path / "a"))


def test_a_file_store_to_a_database(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(str(tmp_path / "mlruns"))
    run = client.create_run(client.create_experiment("churn", "gs://bucket/1"), start_time=1_700_000_000_000)
    client.log_metric(run.info.run_id, "loss", 0.25, 1, 1)
    client.set_terminated(run.info.run_id)
    cli(*readme("a file store to a database"), env={"MLFLOW_ALLOW_FILE_STORE": None}).ok()
    (found,) = all_runs(f"sqlite:///{tmp_path}/mlflow.db")
    assert (found.info.run_id, found.info.artifact_uri) == (run.info.run_id, run.info.artifact_uri)
    assert found.data.metrics == {"loss": 0.25}


def test_before_an_upgrade(cli: Cli, tmp_path: Path) -> None:
    """A store of the installed version, beside the old one, which stays as it was; and a snapshot."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as db:
        db.executescript(OLD.read_text())
    before = (tmp_path / "mlflow.db").read_bytes()
    words = readme("before you upgrade")
    cli(*words).ok()
    assert (tmp_path / "mlflow.db").read_bytes() == before
    runs = {run.info.run_id for run in all_runs(words[2].replace("///", f"///{tmp_path}/"))}
    assert {record.run_id for record in mlmeta.open_snapshot(tmp_path / "backups").records(RUNS)} == runs
    again = cli(*words, "--json").ok()
    assert not any(again.data["restore"]["created"].values())
    assert len(list((tmp_path / "backups").glob("backup_summary_*"))) == 1  # the same content


def test_into_a_server_interrupted_killed_and_run_again(filled: Path, server: Server, cli: Cli, tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    source, env = f"sqlite:///{filled}", {"TMPDIR": str(scratch)}
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with proxy(server.uri) as slow:
            running = cli.start("migrate", source, slow.uri, "--yes", env=env)

            def stop(request: Request, number: signal.Signals = number) -> None:
                if request.writes and sum(one.writes for one in slow.requests) == 12:
                    running.send(number)  # noqa: B023 - while this block lasts

            slow.fault = stop
            assert running.wait().code == code
        left = list(scratch.glob("mlmeta-*"))
        assert [folder.stat().st_mode & 0o777 for folder in left] == ([0o700] if code == -9 else [])
    done = cli("migrate", source, server.uri, "--yes", "--json", env=env)
    assert done.code in {0, 3}, done.err
    assert "new ids; the original ones go into tags" in done.err
    assert done.data["restore"]["comparison"]["total"] == 0
    assert done.data["storages"] == []
    assert list(scratch.glob("mlmeta-*")) == []
    counted = MlflowClient(server.uri).search_runs(["1"], max_results=50)
    assert len({run.data.tags["mlmeta.source_run_id"] for run in counted}) == len(counted) > 0


@pytest.fixture
def lossy(filled: Path, tmp_path: Path) -> str:
    """A store with a run that no experiment has, and that nobody can save."""
    path = shutil.copy(filled, tmp_path / "lossy.db")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("UPDATE runs SET experiment_id = 999 WHERE rowid = 1")
    return f"sqlite:///{path}"


def test_what_would_be_lost_is_said_before_anything_is_written(lossy: str, cli: Cli, tmp_path: Path) -> None:
    words = ("migrate", lossy, "sqlite:///new.db")
    asked = cli(*words).ended(2)
    assert "1 thing would not arrive, and there is no terminal to ask on" in asked.err
    assert "not read: run" in asked.err
    assert not (tmp_path / "new.db").exists()
    planned = cli(*words, "--dry-run", "--storage", "kept", "--without", "models").ended(3)
    assert "limited by --without models" in planned.out
    assert "Nothing was written" in planned.out
    assert not any((tmp_path / name).exists() for name in ("new.db", "kept"))
    accepted = cli("migrate", lossy, "sqlite:///other.db", "--accept", "run").ok()
    assert "accepted" in accepted.out.lower()
    done = cli(*words, "--yes", "--json").ended(3)
    assert [error["code"] for error in done.document["errors"]] == ["not_saved"]
    assert done.document["warnings"] == []
    assert len(all_runs(f"sqlite:///{tmp_path}/new.db")) == done.data["backup"]["stats"]["runs"]


def test_what_the_target_has_stays(filled: Path, cli: Cli, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/other.db"
    client = MlflowClient(uri, uri)
    mine = client.create_run(client.create_experiment("mine", "gs://mine/1"))
    words = ("migrate", f"sqlite:///{filled}", uri)
    before = dump(tmp_path / "other.db")
    stopped = cli(*words, "--yes").ended(1)  # experiment 1 is another one
    assert "conflict: experiment" in stopped.err
    asked = cli(*words, "--on-conflict", "skip").ended(2)
    assert "already has runs" in asked.err
    assert dump(tmp_path / "other.db") == before
    done = cli(*words, "--on-conflict", "skip", "--yes", "--only", "models", "--json")
    assert done.code in {0, 3}, done.err
    assert done.data["restore"]["created"]["models"] > 0
    assert "runs" not in done.data["restore"]["created"]
    assert [run.info.run_id for run in all_runs(uri)] == [mine.info.run_id]


def test_a_part_with_new_prefixes(filled: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/part.db"
    part = mlmeta.Selection(experiments=["Träume/夢 🚀"], without=["models"])
    done = mlmeta.migrate(
        f"sqlite:///{filled}", uri, tmp_path / "kept", selection=part, rewrite={"gs://bucket": "s3://new"}
    )
    assert (done.exit_code, done.storages) == (ExitCode.DONE, done.backup.storages)
    assert done.limits == {"--experiment": part.experiments, "--without": ("models",)}
    found = saved(uri, tmp_path / "b")
    locations = {one.name: one.artifact_location for one in found.records(EXPERIMENTS)}
    assert locations["Träume/夢 🚀"] == "s3://new/first"
    assert found.summary.stats["models"] == 0


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("sqlite:///a.db", "sqlite:///../{0}/a.db", "the same store"),
        ("http://localhost:5000", "http://127.0.0.1:5000/", "the same store"),
        ("postgresql://me:secret@h/db", "postgresql+psycopg://you:secret@h:5432/db", "the same store"),
        ("sqlite:///a.db", "./mlruns", "is a file store"),
        ("", "sqlite:///b.db", "FROM is empty"),
        ("sqlite:///a.db", "", "TO is empty"),
    ],
)
def test_what_can_not_be_meant(
    source: str, target: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says) as caught:
        mlmeta.migrate(source, target.format(tmp_path.name))
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_password_is_shown(cli: Cli, filled: Path) -> None:
    for uris in (
        (f"sqlite:///{filled}", "postgresql+psycopg://me:hidden-word@127.0.0.1:1/db"),
        ("mysql+pymysql://me:hidden-word@127.0.0.1:1/db", "sqlite:///new.db"),
    ):
        done = cli("migrate", *uris, "--verbose")
        assert done.code == 1
        assert "hidden-word" not in done.out + done.err
