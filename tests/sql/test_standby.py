"""A hot standby of PostgreSQL: a backup that the primary does not notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, digests
from tests.support.server import free_port


def tools_of(uri: str) -> Path:
    """Where the server's own programs are."""
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        return Path(connection.exec_driver_sql("SELECT setting FROM pg_config WHERE name = 'BINDIR'").scalar_one())


@pytest.fixture
def standby(postgres: Callable[[], str], filled: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URI of a store, and of the same on a standby."""
    primary = postgres()
    SqlTarget(primary).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    url, tools = sa.make_url(primary), tools_of(primary)
    place = str(url.query["host"])
    owner = Path(place).owner()
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-standby-"))
    shutil.chown(folder, owner)
    user = owner if os.geteuid() == 0 else None
    data, port = folder / "data", free_port()
    copy = [tools / "pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "-h", place, "-U", url.username]
    subprocess.run(copy, check=True, user=user, cwd=folder)

    def control(*words: str | Path) -> None:
        command = [tools / "pg_ctl", "-D", data, "-w", "-l", folder / "log", *words]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    control("-o", f"-c listen_addresses= -c unix_socket_directories={folder} -c port={port} -c hot_standby=on", "start")
    try:
        there = url.set(query={"host": str(folder), "port": str(port)})
        yield primary, there.render_as_string(hide_password=False)
    finally:
        control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_standby_gives_the_same_bytes(standby: tuple[str, str], tmp_path: Path) -> None:
    primary, there = standby
    with sa.create_engine(there, poolclass=sa.NullPool).connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one() is True
    assert digests(backup(there, tmp_path / "b")) == digests(backup(primary, tmp_path / "c"))
