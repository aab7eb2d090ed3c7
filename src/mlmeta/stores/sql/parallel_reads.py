"""Histories read over several connections to PostgreSQL, which all see the same moment.

Each connection has a process of its own in the server, and these work side by side, as for `pg_dump --jobs`:
https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from queue import SimpleQueue

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from mlmeta.errors import MlmetaError
from mlmeta.parallel import ordered_map, read_ahead
from mlmeta.schema import Run
from mlmeta.stores.sql.database import POSTGRESQL, Database, begin_reading
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.histories import POINTS_AT_ONCE, Chunk, HistoryBatch, chunks_of, read_chunk

LANES = 2


class Lanes:
    """Connections to take turns with, one user each at a time.

    Args:
        connections: each in a transaction, all as of the same moment.
    """

    def __init__(self, connections: list[Connection]) -> None:
        self.count = len(connections)
        self._free: SimpleQueue[Connection] = SimpleQueue()
        for connection in connections:
            self._free.put(connection)

    @contextlib.contextmanager
    def lane(self) -> Iterator[Connection]:
        """One that nobody else uses, waited for."""
        connection = self._free.get()
        try:
            yield connection
        finally:
            self._free.put(connection)


def export_moment(connection: Connection) -> str:
    """A name for the moment that a connection to PostgreSQL sees; empty where the server gives none.

    Args:
        connection: that `Database.reading` gave, with nothing read yet: where the server refuses, it begins anew.
    """
    if connection.dialect.name != POSTGRESQL or _is_pooled(connection):
        return ""
    try:
        return str(connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())
    except DBAPIError:
        connection.rollback()
        begin_reading(connection, POSTGRESQL)
        return ""


def _is_pooled(connection: Connection) -> bool:
    """Whether a pooler is in between: one that has no further server connection lets a lane wait for minutes.

    It tells its clients a process number of its own.
    """
    driver = connection.connection.driver_connection
    told = driver.info.backend_pid if driver is not None else 0
    return bool(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != told)


@contextlib.contextmanager
def lanes_at(moment: str, database: Database) -> Iterator[Lanes | None]:
    """Connections that see a moment; None where the database gives none: then it is read alone, which is slower.

    Args:
        moment: of a transaction that is still open.
        database: the one it is to.
    """
    with contextlib.ExitStack() as stack:
        try:
            lanes = Lanes([_opened(moment, database, stack) for _ in range(LANES)]) if moment else None
        except (DBAPIError, MlmetaError):  # a pooler, a limit of connections
            stack.close()
            lanes = None
        yield lanes


def _opened(moment: str, database: Database, stack: contextlib.ExitStack) -> Connection:
    connection = stack.enter_context(database.reading())
    connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{moment}'")
    return connection


def read_in_parallel(
    connection: Connection, lanes: Lanes, tables: Tables, batches: Iterable[Sequence[Run]]
) -> Iterator[HistoryBatch]:
    """Like `read_histories` for many batches of runs, with all lanes reading at once.

    Args:
        connection: that the batches come from; used in a thread of its own until the last one.
        lanes: for the histories.
        tables: of that database.
        batches: of at most `BATCH` runs.
    """

    def read(chunk: Chunk) -> Iterable[HistoryBatch]:
        found = streamed(chunk)
        return found if chunk.points > POINTS_AT_ONCE else list(found)  # any number of points: never all in memory

    def streamed(chunk: Chunk) -> Iterator[HistoryBatch]:
        with lanes.lane() as lane:
            yield from read_chunk(lane, tables, chunk)

    chunks = (list(chunks_of(connection, tables, runs)) for runs in batches)
    with (
        closing(read_ahead(chunks, 1)) as ahead,  # a batch: less, and the lanes would wait for each
        ThreadPoolExecutor(lanes.count, thread_name_prefix="mlmeta-lane") as executor,
        closing(ordered_map(executor, read, chain.from_iterable(ahead), ahead=lanes.count + 1)) as found,
    ):
        yield from chain.from_iterable(found)
