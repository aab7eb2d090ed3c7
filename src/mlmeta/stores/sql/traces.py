"""Reads traces, each with its spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.engine import Connection

from mlmeta.schema import SpanLine, Trace
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.spans import SpanReader
from mlmeta.stores.sql.trace_tables import TRACE_TABLE


class TraceReader(Reader[Trace]):
    """Reads traces. As there are many, their own rows are read in order, not looked up by their ids."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        super().__init__(connection, tables, TRACE_TABLE)
        self._spans = SpanReader(connection, tables)

    def stream(self, experiments: Sequence[int] | None) -> Iterator[list[Trace]]:
        """See `Reader.stream`."""
        for rows in self._in_order(TRACE_TABLE.read_names, experiments):
            sound = set(self._sound(row[0] for row in rows))
            yield list(self._records([row for row in rows if row[0] in sound]))

    def read(self, experiments: Sequence[int] | None, *, spans: bool) -> Iterator[tuple[Trace, Sequence[SpanLine]]]:
        """All traces, each with its spans where these are wanted.

        Args:
            experiments: ids of the experiments that are meant; None: all that are there.
            spans: whether these are wanted.
        """
        for traces in self.stream(experiments):
            yield from self._spans.of(traces) if spans else ((trace, ()) for trace in traces)
