from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlmeta
from tests.compat.environments import CURRENT, VERSIONS, python_of
from tests.support.databases import load, save
from tests.support.server import Server

HERE = Path(__file__).parent


@dataclass
class Version:
    """An MLflow version: a server of it, and two snapshots of all that it can hold, in one storage.

    Args:
        name: such as `3.5`.
        server: of this version.
        folder: of its own.
        through_server: the timestamp of the snapshot that was made through the server.
        from_database: the timestamp of the one from its database.
    """

    name: str
    server: Server
    folder: Path
    through_server: str = ""
    from_database: str = ""

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.name.split("."))

    @property
    def storage(self) -> str:
        return str(self.folder / "backups")

    def filled(self) -> Server:
        """Fill the server, and save what it has, on both ways."""
        save(self.server.database, self.folder / "empty.db")
        fill(self.name, self.server)
        save(self.server.database, self.folder / "filled.db")
        self.through_server = mlmeta.backup(self.server.uri, self.storage).timestamp
        self.from_database = mlmeta.backup(self.server.backend, self.storage).timestamp
        return self.server

    def emptied(self) -> Server:
        """The server, with nothing in it but what it had when it was new."""
        load(self.folder / "empty.db", self.server.database)
        return self.server


def started(name: str, folder: Path) -> Server:
    """A new server of a version; the test is skipped where there is no environment for it."""
    python = python_of(name)
    if python is None:
        pytest.skip(f"no environment of MLflow {name}: `make test-compat` makes it")
    artifacts = ("--default-artifact-root", str(folder / "artifacts"))  # where clients put the spans of traces
    return Server(folder / "server", arguments=artifacts, python=python).start()


def fill(name: str, server: Server) -> None:
    """Fill a server through the client of a version."""
    environment = {**os.environ, "PYTHONPATH": "", "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"}
    command = [str(python_of(name)), str(HERE / "fill.py"), server.uri]
    done = subprocess.run(command, env=environment, cwd=server.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def running(name: str, folder: Path) -> Iterator[Version]:
    """A version with a server and snapshots, for as long as the block lasts."""
    server = started(name, folder)
    try:
        found = Version(name, server, folder)
        found.filled()
        yield found
    finally:
        server.stop()


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(f"MLflow {name}")) for name in VERSIONS],
)
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Version]:
    """Each version that has an environment."""
    with running(request.param, tmp_path_factory.mktemp("version")) as found:
        yield found


@pytest.fixture(scope="session")
def current(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The version that is newest here among those on PyPI as a whole. Its server is gone."""
    with running(CURRENT, tmp_path_factory.mktemp("current")) as found:
        return found
