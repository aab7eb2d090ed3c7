"""A server, store or storage that can't be used: what is wrong, where, what to do, and in bounded time."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.proxy import silent_server, static_server

COMMANDS = {
    "backup": ("backup",),
    "restore": ("restore", "--timestamp", "latest", "--yes"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_listens(snapshots: Path, cli: Cli, command: str) -> None:
    began = time.monotonic()
    done = cli(*COMMANDS[command], "--tracking-uri", "http://127.0.0.1:9", env=DEFAULTS).ended(1)
    assert time.monotonic() - began < 60
    assert "http://127.0.0.1:9" in done.err
    assert "connection refused" in done.err
    assert "check the address" in done.err


def test_it_accepts_and_never_answers(snapshots: Path, cli: Cli) -> None:
    with silent_server() as uri:
        running = [cli.start(*command, "--tracking-uri", uri, env=DEFAULTS) for command in COMMANDS.values()]
        for process in running:
            done = process.wait(patience=60).ended(1)  # half a minute is promised; the rest is for a busy machine
            assert uri in done.err
            assert "timed out" in done.err


DEFAULTS: dict[str, str | None] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": None,
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": None,
}
"""The retries of MLflow's client as a user has them."""

NO_MLFLOW = {
    "a web page": (200, b"<html>hello</html>", "text/html"),
    "an empty page": (200, b"", "text/plain"),
    "404": (404, b"not found", "text/plain"),
    "404 as JSON": (404, b'{"detail": "Not Found"}', "application/json"),
    "405": (405, b"", "text/plain"),
    "another API": (200, b'{"hello": "world"}', "application/json"),
    "an array": (200, b"[]", "application/json"),
    "a number": (200, b"1", "application/json"),
    "not UTF-8": (200, b"\xff\xfe", "application/json"),
}


@pytest.mark.parametrize("what", NO_MLFLOW)
def test_no_mlflow_server(snapshots: Path, cli: Cli, what: str) -> None:
    with static_server(*NO_MLFLOW[what]) as uri:
        for command in COMMANDS.values():
            done = cli(*command, "--tracking-uri", uri, "--json").ended(1)
            assert done.document["errors"][0]["code"] == "not_mlflow"
            assert uri in done.err


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_in_trouble(cli: Cli, status: int) -> None:
    with static_server(status, b"oops") as uri:
        done = cli("backup", "--tracking-uri", uri, env=DEFAULTS).ended(1)
    assert str(status) in done.err
    assert not (cli.folder / "backups").exists()


@pytest.mark.parametrize("uri", ["sqlite:///none.db", "sqlite:////nowhere/none.db", "./mlruns", "file:///nowhere/runs"])
def test_a_store_that_is_not_there(cli: Cli, uri: str) -> None:
    done = cli("backup", "--tracking-uri", uri).ended(1)
    assert "there is no" in done.err
    assert [path for path in cli.folder.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_a_database_that_is_no_mlflow_store(cli: Cli, content: bytes | None) -> None:
    path = cli.folder / "other.db"
    if content is None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE runs (a)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    done = cli("backup", "--tracking-uri", f"sqlite:///{path}").ended(1)
    assert "other.db" in done.err
    assert "bug" not in done.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "uri", ["ftp://x", "http://", "postgresql://nobody@127.0.0.1:9/x", "sqlite://", "::", "http://[x"]
)
def test_odd_uris(cli: Cli, uri: str) -> None:
    done = cli("backup", "--tracking-uri", uri)
    assert done.code in {1, 2}, done
    assert "bug" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("storage", ["file", "file/below"])
def test_a_storage_that_is_no_folder(cli: Cli, databases: Databases, storage: str) -> None:
    """(Permissions can't be tried: tests may run as root.)"""
    (cli.folder / "file").write_text("mine")
    done = cli("backup", "--tracking-uri", databases.uri("filled"), "--storage", storage).ended(1)
    assert storage in done.err
    assert "--storage" in done.err
    assert (cli.folder / "file").read_text() == "mine"


def test_a_storage_that_the_system_refuses(cli: Cli, databases: Databases) -> None:
    """Not even root may write there."""
    done = cli("backup", "--tracking-uri", databases.uri("filled"), "--storage", "/proc/mlmeta").ended(1)
    assert "/proc/mlmeta" in done.err


def test_a_file_store_is_no_target(snapshots: Path, cli: Cli) -> None:
    done = cli("restore", "--timestamp", "latest", "--tracking-uri", "./mlruns").ended(2)
    assert "sqlite" in done.err
    assert not (cli.folder / "mlruns").exists()
