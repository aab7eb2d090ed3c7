"""A lock that somebody holds: waited for, which is said, and named when the time is over."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta.errors import UnreachableError
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql import database
from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.writing import writing
from tests.sql.helpers import ALL, QUIET, backup, digests, records_of


class Told:
    """Remembers what a person would see, who half a second later ends the first wait."""

    def __init__(self, end_wait: Callable[[], object] = lambda: None) -> None:
        self.phases: list[str] = []
        self._end_wait = end_wait

    def phase(self, name: str) -> None:
        self.phases.append(name)
        if len(self.waits) == 1 and self.waits[-1] == name:
            threading.Timer(0.5, self._end_wait).start()

    def expect(self, unit: str, total: int) -> None:
        """Not looked at."""

    def advance(self, unit: str, amount: int = 1) -> None:
        """Not looked at."""

    @property
    def waits(self) -> list[str]:
        return [phase for phase in self.phases if phase.startswith("waiting")]


@pytest.fixture(scope="module")
def snapshot(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return backup(f"sqlite:///{filled}", tmp_path_factory.mktemp("snapshot"))


@pytest.fixture
def target(request: pytest.FixtureRequest, emptied: Callable[[str], str], blank: Path, tmp_path: Path) -> str:
    """The URI of a store without a row."""
    kind: str = request.param
    if kind != "sqlite":
        return emptied(kind)
    (tmp_path / "target.db").write_bytes(blank.read_bytes())
    return f"sqlite:///{tmp_path}/target.db"


KINDS = pytest.mark.parametrize("target", ["sqlite", "postgresql", "mysql"], indirect=True)
HOLDS = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "LOCK TABLE params IN SHARE MODE",  # which may be read
    "mysql": "LOCK TABLES params READ",
}
NAMED = {
    "sqlite": (["waiting for whoever writes into it, 1 s at most"], "database is locked"),
    "postgresql": (
        ["waiting for a lock that somebody holds on the table params, 1 s at most"],
        "somebody holds a lock on the table params, and did not let go of it for 1 seconds; nothing was written",
    ),
    "mysql": (
        ["waiting for a lock that somebody holds on the table params, 1 s at most"],
        "somebody holds a lock on the table params, and did not let go of it for 1 seconds; nothing was written",
    ),
}


@contextlib.contextmanager
def held(uri: str) -> Iterator[sa.Connection]:
    """A connection that holds a lock against writers; readers get in."""
    engine = parse(uri).engine()
    with engine.connect() as connection:
        connection.exec_driver_sql(HOLDS[engine.dialect.name])
        yield connection


@KINDS
def test_a_lock_of_somebody_is_named(target: str, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlmeta.stores.sql.writing.BUSY_SECONDS", 1)
    waits, message = NAMED[parse(target).kind]
    told = Told()
    with held(target), pytest.raises(UnreachableError, match=message) as raised:
        SqlTarget(target).restore(snapshot, ALL, told)
    assert told.waits == waits
    assert "try again later" in raised.value.hint
    assert records_of(target) == []


@KINDS
def test_a_lock_that_is_let_go_of_is_waited_for(target: str, snapshot: Snapshot, tmp_path: Path) -> None:
    with held(target) as holder:
        told = Told(lambda: holder.invalidate() if "mysql" in target else holder.rollback())
        SqlTarget(target).restore(snapshot, ALL, told)
    assert len(told.waits) == 1
    assert digests(backup(target, tmp_path / "b")) == digests(snapshot)


@pytest.mark.parametrize("target", ["postgresql", "mysql"], indirect=True)
def test_another_restore_is_named(target: str, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlmeta.stores.sql.writing.BUSY_SECONDS", 1)
    told = Told()
    with writing(parse(target)), pytest.raises(UnreachableError, match="another restore writes into it") as raised:
        SqlTarget(target).restore(snapshot, ALL, told)
    assert told.waits == ["waiting for another restore, 1 s at most"]
    assert "for 1 seconds; nothing was written" in str(raised.value)


def test_restores_into_two_databases_of_a_mysql_server_do_not_wait(
    mysql: Callable[..., str], snapshot: Snapshot, emptied: Callable[[str], str]
) -> None:
    told = Told()
    with writing(parse(mysql())):
        SqlTarget(emptied("mysql")).restore(snapshot, ALL, told)
    assert told.waits == []


def test_a_table_locked_against_readers_is_named(
    emptied: Callable[[str], str], snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    uri = emptied("postgresql")
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as holder:
        holder.exec_driver_sql("LOCK TABLE runs")
        with pytest.raises(UnreachableError, match=r"lock timeout.*\(table runs\)"):
            SqlTarget(uri).plan(snapshot, ALL, QUIET)


def test_a_cluster_that_refuses_named_locks_is_restored_into(
    emptied: Callable[[str], str], snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = emptied("mysql")

    def refuse(_: object, __: object, statement: str, parameters: object, *___: object) -> tuple[str, object]:
        return statement.replace("GET_LOCK", "there_is_no_such_function"), parameters

    sa.event.listen(sa.Engine, "before_cursor_execute", refuse, retval=True)
    try:
        report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", refuse)
    assert report.notes == ("the database refuses GET_LOCK: let one restore run at a time",)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
