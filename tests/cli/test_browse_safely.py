"""A throwaway server is cut off from what else is on the machine, and gone with mlmeta however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.builders import snapshots as made
from tests.support.databases import Databases
from tests.support.examples import some
from tests.support.proxy import static_server
from tests.support.server import free_port

RUN = "a" * 32
SECRET = "not for the browser"


@contextlib.contextmanager
def browsing(folder: Path, port: int, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`mlmeta browse`, once its server answers; and the server's address."""
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlmeta", "browse", "--no-browser", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _answers(uri):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield process, uri
    finally:
        process.kill()
        process.wait()


def _answers(uri: str) -> bool:
    try:
        urllib.request.urlopen(f"{uri}/health", timeout=5).close()
    except OSError:
        return False
    return True


def _get(uri: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(uri, headers=headers), timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _await_end(uri: str, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (any((folder / "tmp").iterdir()) or _working_in(folder)):
        time.sleep(0.2)
    assert not _answers(uri)
    assert list((folder / "tmp").iterdir()) == []
    assert _working_in(folder) == []


def _working_in(folder: Path) -> list[int]:
    """Servers and watchdogs."""
    found = psutil.process_iter(["cmdline"])
    return [p.pid for p in found if f"{folder}/tmp" in " ".join(p.info["cmdline"] or [])]


def test_nothing_of_the_machine_is_in_reach(databases: Databases, tmp_path: Path) -> None:
    """A production registry and open interfaces in the environment; a snapshot that points to local files."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "passwd").write_text(SECRET)
    production = databases.copy("filled", tmp_path / "production.db")
    local = f"file://{tmp_path}/secret"
    version = made.version(source=str(tmp_path / "secret"), storage_location=local)
    made.write(
        tmp_path / "backups",
        [
            made.experiment(artifact_location=local),
            made.run(RUN, artifact_uri=local),
            made.run("b" * 32, artifact_uri=f"{tmp_path}/secret"),
            made.run("c" * 32, artifact_uri=f"../../..{tmp_path}/secret"),
            made.model(version, name="churn-model"),
        ],
    )
    port, open_port = free_port(), free_port()
    environment = {
        "MLFLOW_REGISTRY_STORE_URI": production,
        "MLFLOW_BACKEND_STORE_URI": production,
        "MLFLOW_GUNICORN_OPTS": f"-b 0.0.0.0:{open_port}",
        "MLFLOW_UVICORN_OPTS": f"--host 0.0.0.0 --port {open_port}",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_STATIC_PREFIX": "/elsewhere",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    with browsing(tmp_path, port, **environment) as (process, uri):
        assert not _answers(f"http://127.0.0.1:{open_port}")
        (server, *_) = [p for p in psutil.Process(process.pid).children(recursive=True) if "uvicorn" in p.cmdline()]
        assert {c.laddr.ip for c in server.net_connections("tcp") if c.status == "LISTEN"} == {"127.0.0.1"}
        assert not [name for name in server.environ() if name.startswith("AWS_") or name.lower().endswith("_proxy")]
        for run in (RUN, "b" * 32, "c" * 32):
            status, body = _get(f"{uri}/get-artifact?path=passwd&run_uuid={run}")
            assert status >= 400
            assert SECRET.encode() not in body
        status, body = _get(f"{uri}/model-versions/get-artifact?path=passwd&name=churn-model&version=1")
        assert status >= 400
        assert SECRET.encode() not in body
        assert _get(f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=1", Host="evil.example")[0] == 403
        MlflowClient(uri).delete_registered_model("churn-model")
        assert MlflowClient(production).get_registered_model("churn-model")
        process.send_signal(signal.SIGKILL)
        _await_end(uri, tmp_path)


@pytest.mark.parametrize(
    "signals",
    some([(signal.SIGHUP,), (signal.SIGINT, signal.SIGHUP, signal.SIGINT), (signal.SIGTERM, signal.SIGKILL)], 1),
    ids=str,
)
def test_it_is_gone_however_it_ends(tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    """The terminal is closed; Ctrl-C is pressed twice while it is closed; it is killed while it cleans up."""
    made.write(tmp_path / "backups", [made.experiment(), made.run(RUN)])
    with browsing(tmp_path, free_port()) as (process, uri):
        assert process.stdout is not None
        assert any("is at http" in line for line in iter(process.stdout.readline, ""))
        for number in signals:
            process.send_signal(number)
            time.sleep(0.1)
        _await_end(uri, tmp_path)
        assert process.wait() == {1: 129, 3: 0, 2: -9}[len(signals)]


WATCHED = """
import os, sys, tempfile, time
from mlmeta.stores import server
tempfile.tempdir = sys.argv[1]
with server.throwaway_folder() as folder, server._watched(["server", "sleep", "600"]) as watchdog:
    (folder / "secret").touch()
    print(watchdog.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", ["mlmeta", "the watchdog"])
def test_what_is_watched_is_gone(tmp_path: Path, killed: str) -> None:
    """A folder and a server, before anything runs in them; and where it is the watchdog that is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(tmp_path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = psutil.Process(int(process.stdout.readline()))
    deadline = time.monotonic() + 30
    while not (below := watchdog.children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (process if killed == "mlmeta" else watchdog).kill()
    process.stdin.close()
    process.wait()
    _, alive = psutil.wait_procs([*below, watchdog], timeout=20)
    assert alive == []
    while list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """The other server must not pass for the snapshot."""
    made.write(tmp_path / "backups", [made.experiment()])
    with static_server(200, b"OK") as uri:
        port = uri.rpartition(":")[2]
        command = [sys.executable, "-m", "mlmeta", "browse", "--no-browser", "--port", port]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert f"port {port} can't be used" in done.stderr
    assert "is at http" not in done.stderr


def test_the_demo_leaves_other_servers_alone(databases: Databases, tmp_path: Path) -> None:
    """Nor does it need them: the environment names a registry that is not there, and a dead proxy."""
    production = databases.copy("filled", tmp_path / "production.db")
    before = (tmp_path / "production.db").read_bytes()
    environment = {"MLFLOW_REGISTRY_URI": production, "MLFLOW_TRACKING_TOKEN": "x", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "mlmeta", "demo", "--no-progress"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "production.db").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_server_that_answers_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody takes the port between our look and our server's start."""
    from mlmeta.errors import UnreachableError
    from mlmeta.stores import server

    with static_server(200, b"OK") as uri:
        taken = int(uri.rpartition(":")[2])
        monkeypatch.setattr(server, "_free_port", lambda _: taken)
        with pytest.raises(UnreachableError, match="did not start"), server.mlflow_server(tmp_path):
            pytest.fail("the other server was taken for ours")
