"""Batches of a backup on other executors: the same bytes, and an end to everything that goes wrong."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster
from mlflow import MlflowClient

from mlmeta import backup, errors
from mlmeta.errors import ClusterError, MlmetaError, UsageError
from mlmeta.stores.api import dask
from mlmeta.stores.api.histories import BULK
from tests.builders.stores import add_history
from tests.support.cli import FORKS, Cli, Running
from tests.support.databases import Databases, load
from tests.support.proxy import Request, proxy
from tests.support.reading import data_files
from tests.support.server import Server, free_port

pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(scope="module")
def _busy_rows(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with metrics for some thirty batches."""
    path = tmp_path_factory.mktemp("busy") / "mlflow.db"
    client = MlflowClient(databases.copy("filled", path))
    experiment = client.create_experiment("busy", "gs://bucket/busy")
    for number in range(20):
        run = client.create_run(experiment, start_time=number).info.run_id
        for key in range(30):
            add_history(path, run, f"key {key}", [(s, s, s / 7 + number + key) for s in range(5)])
    return path


@pytest.fixture
def busy(server: Server, _busy_rows: Path) -> Server:
    """A server with these runs."""
    load(_busy_rows, server.database)
    return server


@pytest.fixture(scope="module")
def _cluster() -> Iterator[LocalCluster]:
    """Two real worker processes, which import MLflow once. Their nannies start them again when they die."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as running:
        yield running


@pytest.fixture
def cluster(_cluster: LocalCluster) -> LocalCluster:
    """The cluster, with the workers that the test before may have killed or sent away."""
    _cluster.scale(2)
    _cluster.wait_for_workers(2, timeout=60)
    return _cluster


def test_a_pool_of_processes_gives_the_same_bytes(busy: Server, tmp_path: Path) -> None:
    backup(busy.uri, [str(tmp_path / "threads")])
    with ProcessPoolExecutor(2, mp_context=FORKS) as pool:
        result = backup(busy.uri, [str(tmp_path / "processes")], executor=pool)
        assert pool.submit(os.getpid).result() != os.getpid()  # it is still open
    assert result.exit_code == 0
    assert data_files(tmp_path / "processes") == data_files(tmp_path / "threads")


def test_a_dask_cluster_gives_the_same_bytes(busy: Server, cluster: LocalCluster, cli: Cli, tmp_path: Path) -> None:
    backup(busy.uri, [str(tmp_path / "threads")])
    words = ("backup", "--tracking-uri", busy.uri, "--storage", str(tmp_path / "dask"))
    done = cli(*words, "--executor", f"dask:{cluster.scheduler_address}")
    assert done.code == 0, done.err
    assert data_files(tmp_path / "dask") == data_files(tmp_path / "threads")


def test_a_worker_that_is_killed_in_the_middle_costs_nothing(
    busy: Server, cluster: LocalCluster, tmp_path: Path
) -> None:
    """The one whose request is under way: its batches run again elsewhere."""
    backup(busy.uri, [str(tmp_path / "threads")])
    workers = {worker.pid for worker in cluster.workers.values()}
    seen: list[str] = []
    killed: list[int] = []
    lock = threading.Lock()

    def kill(request: Request) -> int | None:
        with lock:
            if request.path.startswith(BULK):
                seen.append(request.path)
                if len(seen) == 12:
                    (victim,) = (pid for pid in workers if request.port in _ports(pid))
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)
                    time.sleep(0.5)
        return None

    with proxy(busy.uri, kill) as through:
        result = backup(through.uri, [str(tmp_path / "dask")], executor=f"dask:{cluster.scheduler_address}")
    assert killed
    assert killed[0] not in [worker.pid for worker in cluster.workers.values()]
    assert len(seen) > len(set(seen)), "its batch was asked for again"
    assert result.exit_code == 0
    assert data_files(tmp_path / "dask") == data_files(tmp_path / "threads")


def _ports(pid: int) -> set[int]:
    """Our ends of the connections of a process."""
    return {connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp")}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(busy: Server, cluster: LocalCluster, cli: Cli, number: signal.Signals, code: int) -> None:
    """It ends at once, leaves nothing behind, and the cluster goes on."""
    running: list[Running] = []
    sent = threading.Event()

    def interrupt(request: Request) -> None:
        if request.path.startswith(BULK) and len(through.requests) > 12 and not sent.is_set():
            sent.set()
            running[0].send(number)
            time.sleep(0.5)

    words = ("--executor", f"dask:{cluster.scheduler_address}", "--tracking-uri")
    with proxy(busy.uri) as through:
        through.fault = interrupt
        running.append(cli.start("backup", *words, through.uri))
        running[0].wait().ended(code)
    assert sent.is_set()
    assert not list(cli.folder.glob("backups/*"))
    cli("backup", *words, busy.uri).ok()


def test_a_scheduler_that_freezes_or_dies_ends_it(
    busy: Server, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "WORKER_SECONDS", 3)
    monkeypatch.setattr(dask, "_ANSWER_SECONDS", 1)
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 3)
    port = free_port()
    with _processes(port) as (scheduler, _):

        def freeze(request: Request) -> int | None:
            if request.path.startswith(BULK) and len(through.requests) > 12:
                scheduler.send_signal(signal.SIGSTOP)
            return None

        with proxy(busy.uri) as through:
            through.fault = freeze
            with pytest.raises(ClusterError) as caught:
                backup(through.uri, [str(tmp_path)], executor=f"dask:tcp://127.0.0.1:{port}")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def _processes(port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A scheduler and a worker as processes of their own."""
    address = f"tcp://127.0.0.1:{port}"
    commands = [
        ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
        ("distributed.cli.dask_worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen([sys.executable, "-m", *words], **quiet) for words in commands]  # type: ignore[call-overload]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_cluster_that_loses_all_workers_ends(
    busy: Server, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "WORKER_SECONDS", 3)
    gone = threading.Event()

    def vanish(request: Request) -> int | None:
        if request.path.startswith(BULK) and len(through.requests) > 12 and not gone.is_set():
            gone.set()
            cluster.scale(0)
            time.sleep(1)
        return None

    with proxy(busy.uri) as through:
        through.fault = vanish
        with pytest.raises(ClusterError, match=r"no worker|lost a batch") as caught:
            backup(through.uri, [str(tmp_path)], executor=f"dask:{cluster.scheduler_address}")
    assert gone.is_set()
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_without_workers(busy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "WORKER_SECONDS", 1)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None, silence_logs=50) as empty,
        pytest.raises(ClusterError, match="has no worker"),
    ):
        backup(busy.uri, [str(tmp_path)], executor=f"dask:{empty.scheduler_address}")


def test_workers_that_may_not_read_the_server(
    busy: Server, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They don't have the credentials that are in our environment: said at once, and by whom."""
    from tests.support.proxy import basic, demanding

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with proxy(busy.uri, demanding(basic("ada", "secret"))) as through:
        with pytest.raises(ClusterError, match=r"Dask worker tcp://.*401|Dask worker tcp://.*credentials") as caught:
            backup(through.uri, [str(tmp_path / "a")], executor=f"dask:{cluster.scheduler_address}")
        with_credentials = through.uri.replace("http://", "http://ada:secret@")
        result = backup(with_credentials, [str(tmp_path / "b")], executor=f"dask:{cluster.scheduler_address}")
    assert "secret" not in str(caught.value)
    assert result.exit_code == 0


def test_no_scheduler(busy: Server, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"dask:tcp://127.0.0.1:{free_port()}"
    done = cli("backup", "--tracking-uri", busy.uri, "--storage", str(tmp_path), "--executor", address)
    assert done.code == 1
    assert "no Dask scheduler" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("executor", ["dask:tcp://127.0.0.1:1", "dask:", "dask:here", "spark", ""])
def test_what_is_no_use(busy: Server, tmp_path: Path, executor: str) -> None:
    uri = f"sqlite:///{busy.database}" if executor.endswith("1") else busy.uri
    with pytest.raises(UsageError) as caught:
        backup(uri, [str(tmp_path)], executor=executor)
    assert caught.value.hint


def test_every_error_comes_back_from_another_process() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MlmetaError)]
    assert len(kinds) > 15
    for kind in kinds:
        extra = {"name": "a.json"} if kind in {errors.ObjectMissingError, errors.ObjectExistsError} else {}
        error = kind("what happened", hint="what to do", **extra)
        found = pickle.loads(pickle.dumps(error))
        assert type(found) is kind
        assert (str(found), found.hint, found.exit_code) == ("what happened", "what to do", error.exit_code)
        assert found.__dict__ == error.__dict__
