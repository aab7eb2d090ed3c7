"""Metric histories by PostgreSQL's binary COPY, packed a history at a time: a fifth of the work of row by row."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import repeat

from sqlalchemy.engine import Connection

from mlmeta.schema import MetricHistory
from mlmeta.stores.sql.postgres import driver_errors, psycopg_of
from mlmeta.stores.sql.rows import stored_values

TYPES = {"run_uuid": 1043, "key": 1043, "value": 701, "step": 20, "timestamp": 20, "is_nan": 16}
"""The columns that are written, with the types they must have (`pg_type.oid`): varchar, float8, int8, bool."""

_COPY = f"COPY metrics ({', '.join(TYPES)}) FROM STDIN (FORMAT BINARY)"
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_POINT = struct.Struct(">dIqIqIB")
"""A float8, an int8, an int8 and a bool; before each but the first its length in bytes
(https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT)."""

_BLOCK = 1 << 16
"""Bytes given to the driver at once: each time, it asks the system for the socket's state."""


def copy_histories(connection: Connection, records: Iterable[MetricHistory]) -> None:
    """Write histories into the table `metrics`, whose columns have `TYPES`, through psycopg.

    Raises:
        OverflowError: a step or timestamp is not a 64-bit integer.
        DBAPIError: PostgreSQL refuses something.
    """
    driver = psycopg_of(connection)
    with driver_errors(connection, _COPY), driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        block = bytearray(_HEADER)
        for record in records:
            block += packed(record, driver.info.encoding)
            if len(block) >= _BLOCK:
                copy.write(block)
                block = bytearray()
        copy.write(block + _TRAILER)


def packed(record: MetricHistory, encoding: str = "utf-8") -> bytes:
    """The rows of a history in the binary format.

    Args:
        record: whose infinities are as MLflow stores them.
        encoding: of text, on the connection.

    Raises:
        OverflowError: a step or timestamp is not a 64-bit integer.
    """
    run_id, key = record.run_id.encode(encoding), record.key.encode(encoding)
    front = b"".join((struct.pack(">hI", len(TYPES), len(run_id)), run_id, struct.pack(">I", len(key)), key))
    front += struct.pack(">I", 8)
    try:
        return front + front.join(_points(record))
    except struct.error as error:
        what = f"metric {record.key!r} of run {record.run_id}"
        raise OverflowError(f"{what} has a step or timestamp of more than 64 bits") from error


def _points(record: MetricHistory) -> Iterator[bytes]:
    values, nans = stored_values(record)
    return map(_POINT.pack, values, repeat(8), record.step, repeat(8), record.timestamp, repeat(1), nans)
