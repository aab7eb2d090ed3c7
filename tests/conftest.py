"""What all tests share: a quiet MLflow, and real servers that start once a session."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
os.environ.update(
    {
        "PYTHONPATH": str(ROOT / "src"),  # processes that the tests start run elsewhere
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five more processes a server, which no test needs
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "COLUMNS": "200",
    }
)
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
    # each write to a store waits for the disk, and nothing here has to outlive its test
    tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # a background job, or `nohup`: what tests start would inherit that
        signal.signal(_number, _default)
for _name in [n for n in os.environ if n.startswith("MLMETA_") or n in {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"}]:
    del os.environ[_name]
os.environ["MLMETA_NO_CONFIG"] = "1"  # a mlmeta.toml somewhere above the tests' folders is not meant

import tests.support.examples  # noqa: E402, F401 - its profiles
from tests.support.cli import Cli  # noqa: E402
from tests.support.databases import Databases  # noqa: E402
from tests.support.schemas import quick_connections, quick_schemas, quick_sessions, with_migrations  # noqa: E402
from tests.support.server import Server  # noqa: E402

quick_schemas()
quick_sessions()
quick_connections()


@pytest.fixture
def migrations() -> Iterator[None]:
    """For a test of how MLflow's tables are made: by MLflow's migrations, not by a copy of what they came to."""
    with with_migrations():
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups come first, as they are what takes longest.

    And they are seen: pytest-xdist 3.8 writes them where pytest 9.2 no longer looks for a test's id.
    """
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
    for item in items:
        grouped = vars(item).get("_nodeid")
        if grouped is not None and grouped != item.nodeid:
            from _pytest.nodeid import coerce_node_id

            item._id = coerce_node_id(grouped)  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file run in one worker, unless they are of a group: what a module's fixtures make is made once."""
    from xdist.scheduler import LoadGroupScheduling

    class ByGroupOrFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope: str = super()._split_scope(nodeid)
            return scope.partition("::")[0]

    config.option.loadscopereorder = False
    return ByGroupOrFile(config, log) if config.option.dist == "loadgroup" else None


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """MLflow databases as files: an empty one, and one with something of everything."""
    return Databases(tmp_path_factory.mktemp("databases"))


@contextlib.contextmanager
def _empty_server(folder: Path, databases: Databases, *, uvicorn: bool) -> Iterator[Server]:
    running = Server(folder, uvicorn=uvicorn)
    databases.copy("empty", running.database)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Server]:
    with _empty_server(tmp_path_factory.mktemp("server"), databases, uvicorn=False) as running:
        yield running


@pytest.fixture(scope="session")
def _uvicorn(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Server]:
    with _empty_server(tmp_path_factory.mktemp("uvicorn"), databases, uvicorn=True) as running:
        yield running


@pytest.fixture
def server(request: pytest.FixtureRequest, databases: Databases) -> Server:
    """A real `mlflow server` with an empty store. One process a session; its tables are emptied before each test.

    Those with the mark `uvicorn` have one under uvicorn (`tests.support.server`).
    """
    name = "_uvicorn" if request.node.get_closest_marker("uvicorn") else "_running"
    running: Server = request.getfixturevalue(name)
    databases.load("empty", running.database)
    return running


@pytest.fixture
def filled(server: Server, databases: Databases) -> Server:
    """The same server, with something of everything."""
    databases.load("filled", server.database)
    return server


@pytest.fixture
def restored(server: Server, databases: Databases, snapshot_folder: Path) -> Server:
    """The same server, after a restore of the snapshot of the filled store into an empty one: under new ids."""
    from mlmeta import restore

    if not databases.has("restored"):
        assert restore(server.uri, "latest", str(snapshot_folder)).exit_code == 0
        databases.keep("restored", server.database)
    databases.load("restored", server.database)
    return server


@pytest.fixture(scope="session")
def with_workspaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with three workspaces, as a server with workspaces made it. Not to be changed."""
    from tests.builders.workspaces import ENABLED, fill_workspaces
    from tests.support.server import server

    with server(tmp_path_factory.mktemp("workspaces"), arguments=ENABLED) as running:
        fill_workspaces(running.uri)
    return running.database


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The command line, as processes that run in `tmp_path`."""
    made = Cli(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with a hundred ended runs. Not to be changed."""
    from mlmeta import restore
    from tests.benchmarks.generate import SIZES, write

    folder = tmp_path_factory.mktemp("bench")
    write(SIZES["S"], folder / "snapshot")
    restore(f"sqlite:///{folder / 'store.db'}", storage=str(folder / "snapshot"))
    return folder / "store.db"


@pytest.fixture(scope="session")
def snapshot_folder(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """A folder with one snapshot of the filled store. Not to be written to: copy it."""
    from mlmeta import backup

    folder = tmp_path_factory.mktemp("snapshot") / "backups"
    backup(databases.uri("filled"), [str(folder)])
    return folder


@pytest.fixture
def snapshots(snapshot_folder: Path, tmp_path: Path) -> Path:
    """A folder of the test's own, with a snapshot of the filled store."""
    return Path(shutil.copytree(snapshot_folder, tmp_path / "backups"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: no search for garbage has to look through a million objects of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
