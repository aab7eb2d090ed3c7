"""Traces with their spans in MLflow's tables. Of a span: its JSON, and columns that say parts of it again."""

from __future__ import annotations

import binascii
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, cast

import sqlalchemy as sa
from pydantic import ValidationError
from pydantic_core import SchemaValidator, core_schema
from sqlalchemy.engine import Connection

from mlmeta.schema import SPANS, SpanLine, Trace
from mlmeta.schema.spans import SPAN_COLUMNS
from mlmeta.stores.sql.database import SQLITE
from mlmeta.stores.sql.database_tables import Tables, among
from mlmeta.stores.sql.mapping import Row, from_json
from mlmeta.stores.sql.oddities import decoded, is_text, shown
from mlmeta.stores.sql.queries import BATCH, read_any
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.trace_tables import COST_COLUMNS, SPAN_CONTENT, TRACE_TABLE, finite, json_object

BYTES_AT_ONCE = 8 << 20
"""Of the spans of several traces; those of a single trace are read at once whatever they take."""

_LONGEST_DIMENSION = 500
_LATEST = (1 << 63) - 1
_STATUS = "STATUS_CODE_"


class SpanReader:
    """Reads the spans of traces, as many at once as memory allows.

    Args:
        connection: in a transaction.
        tables: of that database.
    """

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self._is_sqlite = connection.dialect.name == SQLITE
        self._at_once = BATCH

    def of(self, traces: Iterable[Trace]) -> Iterator[tuple[Trace, list[SpanLine]]]:
        """Each of some traces with its spans, in order."""
        if SPANS.name not in self._tables:
            yield from ((trace, []) for trace in traces)
            return
        waiting = deque(traces)
        while waiting:
            some = [waiting[place] for place in range(min(self._at_once, len(waiting)))]
            found = self._read([trace.trace_id for trace in some])
            if found is None:
                self._at_once = len(some) // 2
                continue
            self._at_once = min(2 * self._at_once, BATCH)
            for _ in some:
                trace = waiting.popleft()
                yield trace, sorted(found.pop(trace.trace_id), key=SPANS.order)

    def _read(self, ids: Sequence[str]) -> dict[str, list[SpanLine]] | None:
        """The spans by trace; None where those of several traces are too much."""
        return read_any(self._connection, lambda: self._lines(ids))

    def _lines(self, ids: Sequence[str]) -> dict[str, list[SpanLine]] | None:
        found: dict[str, list[SpanLine]] = {trace_id: [] for trace_id in ids}
        odd: list[tuple[str, str, bytes]] = []
        room = BYTES_AT_ONCE
        options = {"stream_results": not self._is_sqlite}
        with closing(self._connection.execute(self._query(ids), execution_options=options)) as result:
            rows = cast("Iterable[Any]", result.cursor if self._is_sqlite else result)  # plain tuples
            for trace_id, span_id, content in rows:
                text = content.encode() if isinstance(content, str) else content or b""
                if (line := self._line(trace_id, span_id, text)) is not None:
                    found[trace_id].append(line)
                else:
                    odd.append((trace_id, span_id, text))
                room -= len(text)
                if room < 0 and len(ids) > 1:
                    return None
        self._tables.read[SPANS.name] += sum(map(len, found.values())) + len(odd)
        for one in odd:
            if (line := self._odd(*one)) is not None:
                found[line.trace_id].append(line)
        return found

    def _query(self, ids: Sequence[str]) -> sa.Select[Any]:
        columns = self._tables[SPANS.name].c
        content: Any = columns.content
        if self._is_sqlite:
            content = sa.cast(content, sa.LargeBinary)  # as it is: text would be decoded, and encoded again
        query = sa.select(columns.trace_id, columns.span_id, content)
        return query.where(among(columns.trace_id, ids, self._connection.dialect.name))

    @staticmethod
    def _line(trace_id: Any, span_id: Any, content: bytes) -> SpanLine | None:
        """A span; None where its content does not tell enough of it."""
        if not content or not isinstance(span_id, str):
            return None
        try:
            line = SpanLine.of_content(trace_id, span_id, content)
        except UnicodeError:
            return None
        return line if line.started else None

    def _odd(self, trace_id: str, span_id: Any, content: bytes) -> SpanLine | None:
        """A span that was archived, or whose content does not tell when it began."""
        if not isinstance(span_id, str):
            return self._lost(trace_id, span_id, "its id is not text")
        if not is_text(content):
            return self._lost(trace_id, span_id, "its content is not UTF-8")
        columns = self._tables[SPANS.name].c
        query = sa.select(*self._tables.columns(SPANS.name, *SPAN_CONTENT))
        row = self._connection.execute(query.where(columns.trace_id == trace_id, columns.span_id == span_id)).one()
        told = dict(zip(SPAN_COLUMNS, map(decoded, row), strict=True))
        if not isinstance(told["start"], int) or not isinstance(told["status"], str):
            return self._lost(trace_id, span_id, f"it began at {shown(told['start'])}")
        return SpanLine.of_columns(trace_id, span_id, content, told)

    def _lost(self, trace_id: Any, span_id: Any, what: str) -> SpanLine | None:
        self._tables.oddities.lost(SPANS.one, f"{trace_id}/{decoded(span_id)}", f"{what}, and it was not saved")
        return None


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


def span_row(line: SpanLine, experiment_id: int, *, as_bytes: bool = False) -> Row:
    """The row of a span, as `SPAN_ROW`.

    Args:
        line: the span.
        experiment_id: of its trace.
        as_bytes: whether the content is given in UTF-8, and not as a text, which may take four times the memory.
    """
    content = line.content or b""
    text: bytes | str = content if as_bytes else content.decode()
    return (line.trace_id, experiment_id, line.span_id, text, *_columns(line, content))


def _optional(**fields: Any) -> Any:
    told = {name: core_schema.typed_dict_field(schema, required=False) for name, schema in fields.items()}
    return core_schema.typed_dict_schema(told)


_TEXT, _ANY = core_schema.nullable_schema(core_schema.str_schema(strict=True)), core_schema.any_schema()
_TOLD = {"mlflow.spanType": _TEXT, "mlflow.llm.cost": _ANY, "mlflow.llm.model": _TEXT, "mlflow.llm.provider": _TEXT}
_parsed = SchemaValidator(
    _optional(
        parent_span_id=_TEXT,
        name=_TEXT,
        start_time_unix_nano=core_schema.int_schema(strict=True),
        end_time_unix_nano=core_schema.nullable_schema(core_schema.int_schema(strict=True)),
        status=_optional(code=core_schema.str_schema(strict=True)),
        attributes=_optional(**_TOLD),
    )
).validate_json
"""Gives what the columns need of a content: the rest of it need not become Python's objects."""


def _columns(line: SpanLine, content: bytes) -> Row:
    """As `SqlAlchemyStore.log_spans` makes them; where the content does not tell, those of the snapshot.

    Spans are shown by their content, and found by these: what no server would have written becomes what can be there.
    """
    is_whole = content.startswith(b"{") and line.started and line.line.endswith(b"}}")  # no columns behind it
    found = _told(content) if is_whole else {}
    if "status" not in found:
        told = line.record().columns
        times = {"status": told["status"] or "UNSET", "start": _time(told["start"]) or 0, "end": _time(told["end"])}
        return tuple((told | times).values())
    attributes = found.get("attributes") or {}
    cost = json_object(attributes["mlflow.llm.cost"]) if "mlflow.llm.cost" in attributes else {}
    return (
        _hex(found.get("parent_span_id")),
        found.get("name"),
        _text(attributes.get("mlflow.spanType")),
        found["status"].get("code", "UNSET").removeprefix(_STATUS),
        _time(found["start_time_unix_nano"]),
        _time(found.get("end_time_unix_nano")),
        *([finite(cost.get(key)) for key in COST_COLUMNS] if cost else _NO_COST),
        _dimension(attributes.get("mlflow.llm.model")),
        _dimension(attributes.get("mlflow.llm.provider")),
    )


def _told(content: bytes) -> dict[str, Any]:
    """What the columns need of a content; nothing where it is odd."""
    try:
        return cast("dict[str, Any]", _parsed(content))
    except ValidationError:
        return {}


_NO_COST = (None,) * len(COST_COLUMNS)


def _time(value: int | None) -> int | None:
    """A time that a database holds, and of which it can work out how long the span took."""
    return value if value is None or 0 <= value <= _LATEST else min(max(value, 0), _LATEST)


@lru_cache(maxsize=256)  # spans that have the same parent
def _hex(span_id: str | None) -> str | None:
    """The id of a span, which its content has in base64."""
    if span_id is None:
        return None
    try:
        found = binascii.a2b_base64(span_id)
    except binascii.Error:
        return span_id
    return found.hex() if len(found) == 8 else span_id


@lru_cache(maxsize=256)  # the same few, again and again
def _text(value: Any) -> str | None:
    """An attribute, which is a text as JSON, or just a text."""
    found = from_json(value)
    return found if isinstance(found, str) else value if isinstance(value, str) else None


def _dimension(value: Any) -> str | None:
    """The name of a model, or of its provider."""
    if value is None:
        return None
    name = _text(value) if isinstance(value, str) else None
    return name[:_LONGEST_DIMENSION] if name is not None else None
