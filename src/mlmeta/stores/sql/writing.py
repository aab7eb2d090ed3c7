"""Transactions for writing, and the locks that they take.

A lock is tried without waiting first, then waited for, for a stated time: the person is told of that.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from mlmeta.errors import UnreachableError
from mlmeta.progress import Progress, Silent
from mlmeta.stores.sql.database import MYSQL, POSTGRESQL, SQLITE, Database
from mlmeta.stores.sql.sqlite import BUSY_SECONDS

NOTICES = "mlmeta_notices"
"""The key of a connection's `info` under which are the things that a person should know."""

_NUMBER = 0x6D6C6D657461  # "mlmeta"
_NAME = "CONCAT('mlmeta.', MD5(DATABASE()))"
"""MySQL's named locks are the whole server's."""

_RELATION = re.compile(r'relation "([^"]+)"')


@contextlib.contextmanager
def writing(database: Database, progress: Progress | None = None) -> Iterator[Connection]:
    """One transaction for writing: committed at the end, taken back on any error.

    Only one restore at a time gets in, whatever its machine; servers may go on using the database.

    Args:
        database: to write into.
        progress: told where somebody has to be waited for.

    Raises:
        UnreachableError: somebody holds a lock for longer than we wait.
        MlmetaError: the database can't be used, or did not take what was written.
    """
    engine = database.engine()
    if database.kind == POSTGRESQL:  # else who waited for another restore would not see what that one wrote
        engine = engine.execution_options(isolation_level="READ COMMITTED")
    try:
        with database.errors(), engine.connect() as connection:
            locks_of(connection, database, progress).begin()
            yield connection
            connection.commit()
    finally:
        engine.dispose()


def locks_of(connection: Connection, database: Database, progress: Progress | None = None) -> Locks:
    """The locks that a writer takes."""
    return Locks(connection, database.shown, BUSY_SECONDS, progress or Silent())


class Locks:
    """Takes the locks of one restore.

    Args:
        connection: in a transaction.
        shown: the database's address, for errors.
        seconds: to wait for each.
        progress: told what is waited for.
    """

    def __init__(self, connection: Connection, shown: str, seconds: float, progress: Progress) -> None:
        self._connection = connection
        self._execute = connection.exec_driver_sql
        self._shown = shown
        self._seconds = seconds
        self._progress = progress

    def begin(self) -> None:
        """Let one restore in at a time, for as long as the transaction or, with MySQL, the connection lasts."""
        take = {SQLITE: self._begin_sqlite, POSTGRESQL: self._begin_postgresql, MYSQL: self._begin_mysql}
        take[self._connection.dialect.name]()

    def _begin_sqlite(self) -> None:
        execute = self._execute
        execute("PRAGMA busy_timeout = 0")
        if not self._goes(lambda: execute("BEGIN IMMEDIATE")):
            self._wait_for("whoever writes into it")
            execute(f"PRAGMA busy_timeout = {round(self._seconds * 1000)}")
            execute("BEGIN IMMEDIATE")
        execute(f"PRAGMA busy_timeout = {round(self._seconds * 1000)}")

    def _begin_postgresql(self) -> None:
        execute = self._execute
        execute(f"SET LOCAL lock_timeout = {round(self._seconds * 1000)}")
        if not execute(f"SELECT pg_try_advisory_xact_lock({_NUMBER})").scalar():
            self._wait_for("another restore")
            if not self._goes(lambda: execute(f"SELECT pg_advisory_xact_lock({_NUMBER})")):
                raise self._busy("another restore writes into it")

    def _begin_mysql(self) -> None:
        # MLflow's Default experiment has the id 0, which MySQL would take as "the next one"
        self._execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
        self._mysql_waits(self._seconds)
        try:
            taken = self._execute(f"SELECT GET_LOCK({_NAME}, 0)").scalar()
            if not taken:
                self._wait_for("another restore")
                taken = self._execute(f"SELECT GET_LOCK({_NAME}, {self._seconds})").scalar()
        except DBAPIError:  # a cluster has no such locks: two restores at once meet at a key, and one is taken back
            self._connection.info[NOTICES] = ("the database refuses GET_LOCK: let one restore run at a time",)
            return
        if not taken:
            raise self._busy("another restore writes into it")

    def _mysql_waits(self, seconds: float) -> None:
        self._execute(f"SET SESSION lock_wait_timeout = {seconds and max(1, round(seconds))}")

    def tables(self, names: Sequence[str]) -> None:
        """Have tables of PostgreSQL or MySQL for writing rows, beside others who do so."""
        if self._connection.dialect.name == POSTGRESQL:
            self._postgresql_tables(names)
        elif self._connection.dialect.name == MYSQL:
            for name in names:
                self._mysql_table(name)

    def _postgresql_tables(self, names: Sequence[str]) -> None:
        statement = f"LOCK TABLE {', '.join(names)} IN ROW EXCLUSIVE MODE"
        try:
            with self._connection.begin_nested():
                self._execute(f"{statement} NOWAIT")
            return
        except DBAPIError as error:
            found = _RELATION.search(str(error.orig))
            if found is None or "could not obtain lock" not in str(error.orig):
                raise
        what = f"the table {found[1]}"
        self._wait_for(f"a lock that somebody holds on {what}")
        if not self._goes(lambda: self._execute(statement)):
            raise self._busy(f"somebody holds a lock on {what}")

    def _mysql_table(self, name: str) -> None:
        def touch() -> None:
            self._execute(f"INSERT INTO {name} SELECT * FROM {name} WHERE FALSE")  # noqa: S608 - MLflow's

        self._mysql_waits(0)
        if not self._goes(touch):
            self._wait_for(f"a lock that somebody holds on the table {name}")
            self._mysql_waits(self._seconds)
            if not self._goes(touch):
                raise self._busy(f"somebody holds a lock on the table {name}")
        self._mysql_waits(self._seconds)

    @staticmethod
    def _goes(take: Callable[[], object]) -> bool:
        """Whether a lock was there for the taking."""
        try:
            take()
        except DBAPIError as error:
            text = str(error.orig).lower()
            if not any(words in text for words in ("database is locked", "lock timeout", "lock wait timeout")):
                raise
            return False
        return True

    def _wait_for(self, what: str) -> None:
        self._progress.phase(f"waiting for {what}, {self._seconds:g} s at most")

    def _busy(self, why: str) -> UnreachableError:
        return UnreachableError(
            f"{self._shown}: {why}, and did not let go of it for {self._seconds:g} seconds; nothing was written",
            hint="end that process, or try again later",
        )
