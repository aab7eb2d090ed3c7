"""A restore that is killed, and restores that meet."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql import inserts
from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import ensure_schema
from mlmeta.stores.target import RestoreOptions
from tests.sql.helpers import ALL, QUIET, backup, digests, dump, lines, records_of, tables

pytestmark = pytest.mark.usefixtures("migrations")


def in_child(work: Callable[[], object]) -> int:
    """Run something in a process of its own; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001
            os.write(2, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def restore_killed_at(uri: str, snapshot: Snapshot, statement: int) -> int:
    """Restore in a child that gets SIGKILL before its n-th statement."""

    def work() -> None:
        seen = 0

        def count(*_: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        inserts.ROWS_AT_ONCE = 20  # many small statements instead of a few large ones
        sa.event.listen(sa.Engine, "before_cursor_execute", count)
        sa.event.listen(sa.Engine, "commit", count)
        SqlTarget(uri, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)

    return in_child(work)


@pytest.fixture(scope="module")
def snapshot(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return backup(f"sqlite:///{filled}", tmp_path_factory.mktemp("snapshot"))


def test_killed_at_any_statement_a_store_is_as_it_was(snapshot: Snapshot, blank: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(blank, tmp_path / "target.db"))
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO experiments VALUES (9, 'mine', 'x', 'active', 1, 1, 'default')")
    before = dump(path)
    statement = 0
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        assert dump(path) == before
        statement += 3
        code = restore_killed_at(f"sqlite:///{path}", snapshot, statement)
    assert code == 0
    assert statement > 40
    records = records_of(f"sqlite:///{path}")
    assert len(records) == sum(entry.records for entry in snapshot.summary.files.values()) + 1


def test_killed_at_any_statement_there_is_no_new_file(snapshot: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    statement = 1
    while (code := restore_killed_at(f"sqlite:///{path}", snapshot, statement)) == -signal.SIGKILL:
        assert not path.exists()
        assert len(list(tmp_path.glob(".new.db.*"))) == 1  # the one of now: those before it are gone
        statement += 5
    assert code == 0
    assert [*tmp_path.iterdir()] == [path]
    assert statement > 50
    assert digests(backup(f"sqlite:///{path}", tmp_path / "b")) == digests(snapshot)


def test_a_restore_into_a_file_that_is_there_removes_what_killed_ones_left(snapshot: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    assert restore_killed_at(f"sqlite:///{path}", snapshot, 30) == -signal.SIGKILL
    path.touch()
    SqlTarget(f"sqlite:///{path}").restore(snapshot, ALL, QUIET)
    assert [*tmp_path.iterdir()] == [path]


def test_killed_at_any_statement_a_file_without_tables_has_none(snapshot: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    inode = path.stat().st_ino
    statement = 1
    while (code := restore_killed_at(f"sqlite:///{path}", snapshot, statement)) == -signal.SIGKILL:
        assert tables(f"sqlite:///{path}") == []
        statement += 20
    assert code == 0
    assert statement > 200
    assert path.stat().st_ino == inode  # what others have open is never replaced: SQLite calls that a way to corrupt
    assert digests(backup(f"sqlite:///{path}", tmp_path / "b")) == digests(snapshot)


def test_killed_at_any_statement_postgresql_is_as_it_was(
    snapshot: Snapshot, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    uri = postgres()
    ensure_schema(parse(uri))
    statement = 0
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        assert records_of(uri) == []
        statement += 10
        code = restore_killed_at(uri, snapshot, statement)
    assert code == 0
    assert statement > 40
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_killed_at_any_statement_an_empty_postgresql_stays_empty(
    snapshot: Snapshot, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    uri = postgres()
    statement = 1
    while (code := restore_killed_at(uri, snapshot, statement)) == -signal.SIGKILL:
        assert tables(uri) == []
        statement += 60
    assert code == 0
    assert statement > 200
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


@pytest.mark.parametrize("kind", ["absent", "no table", "schema", "postgresql", "postgresql, repeatable read"])
def test_two_restores_at_once_double_nothing(
    snapshot: Snapshot, blank: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "target.db"
    if kind == "no table":
        path.touch()
    elif kind == "schema":
        shutil.copy(blank, path)
    uri = request.getfixturevalue("postgres")() if kind.startswith("postgresql") else f"sqlite:///{path}"
    if kind.endswith("repeatable read"):
        with sa.create_engine(uri).begin() as connection:
            name = parse(uri).url.database
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with ThreadPoolExecutor(2) as both:
        codes = both.map(lambda _: in_child(lambda: SqlTarget(uri).restore(snapshot, ALL, QUIET)), range(2))
        assert list(codes) == [0, 0]
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_what_an_interrupt_leaves(snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no SIGKILL: the temporary file goes as well."""

    class Interrupts:
        def phase(self, name: str) -> None:
            if name == "restoring models":
                raise KeyboardInterrupt

        def expect(self, unit: str, total: int) -> None: ...

        def advance(self, unit: str, amount: int = 1) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        SqlTarget(f"sqlite:///{tmp_path}/new.db").restore(snapshot, ALL, Interrupts())
    assert not list(tmp_path.iterdir())
    uri = f"sqlite:///{tmp_path}/new.db"
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert lines(records_of(uri))
