"""Spans: the parts of a trace, each in MLflow's own JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import SchemaValidator, core_schema, from_json, to_json

from mlmeta.schema.kind import Int64, Record


class _Content(BaseModel):
    """A JSON object, of which nothing but the time is wanted."""

    start_time_unix_nano: Any = None


class CheckedSpan(Record):
    """A span of which it is known that it is one, and where it belongs: a quarter of the work of a `Span`."""

    trace_id: str
    span_id: str
    content: _Content | str | None
    parent_span_id: str | None = None
    name: str | None = None
    type: str | None = None
    status: str | None = None
    start: Int64 | None = None
    end: Int64 | None = None
    input_cost: float | None = None
    output_cost: float | None = None
    total_cost: float | None = None
    model_name: str | None = None
    model_provider: str | None = None

    @property
    def started(self) -> int:
        """When it began; 0 where it does not say."""
        return _time(self.content.start_time_unix_nano) if isinstance(self.content, _Content) else self.start or 0


class Span(CheckedSpan):
    """A span, taken apart. Times are nanoseconds since the epoch.

    `content` is the object that MLflow made of it; a text that a database has instead; or None, where the content was
    archived. What that does not tell stands in the other fields, as a database has it; otherwise they are None.
    """

    content: dict[str, JsonValue] | str | None  # type: ignore[assignment]

    @property
    def started(self) -> int:
        """See `CheckedSpan.started`."""
        return _time(self.content.get(_START)) if isinstance(self.content, dict) else self.start or 0

    @property
    def columns(self) -> dict[str, Any]:
        """The fields beside the content."""
        return {name: getattr(self, name) for name in SPAN_COLUMNS}

    def record(self) -> Span:
        """Itself: a `SpanLine` has to be taken apart."""
        return self

    def as_line(self) -> SpanLine:
        """The line that a snapshot has of it."""
        text = self.content if not isinstance(self.content, dict) else json.dumps(self.content, ensure_ascii=False)
        content = text.encode() if text is not None else b""
        if text is not None and self.status is None:
            return SpanLine.of_content(self.trace_id, self.span_id, content)
        return SpanLine.of_columns(self.trace_id, self.span_id, content, self.columns)

    def to_line(self) -> bytes:
        """See `Record.to_line`."""
        return self.as_line().line


SPAN_COLUMNS = tuple(name for name in Span.model_fields if name not in {"trace_id", "span_id", "content"})
"""What a database tells of a span beside its content."""


@dataclass(slots=True)  # frozen, it would take three times as long to make: there are millions
class SpanLine:
    """A span as the line that a snapshot has of it, its content not taken apart.

    Args:
        trace_id: of its trace.
        span_id: of the span.
        started: when it began, nanoseconds since the epoch; 0 where it does not say.
        line: JSON.
    """

    trace_id: str
    span_id: str
    started: int
    line: bytes

    @staticmethod
    def of(line: bytes) -> SpanLine:
        """From a line of a snapshot.

        Raises:
            ValueError: it is not a span.
        """
        found = _LINE.match(line[:_HEAD])
        if found is None:
            return _other(line)
        trace_id, span_id, start = found.groups()
        return SpanLine(trace_id.decode(), span_id.decode(), int(start), line)

    @staticmethod
    def checked(line: bytes) -> SpanLine | CheckedSpan:
        """From a line of a snapshot that may be anything.

        Raises:
            ValidationError: it is not a span.
        """
        try:
            found = _parsed_line(line)
        except ValidationError:
            return CheckedSpan.model_validate_json(line)
        trace_id, span_id = found["trace_id"], found["span_id"]
        if not line.startswith(_front(trace_id, span_id)):
            return CheckedSpan.model_validate_json(line)
        return SpanLine(trace_id, span_id, _time(found["content"].get(_START)), line)

    @staticmethod
    def of_content(trace_id: str, span_id: str, content: bytes) -> SpanLine:
        """From what MLflow has of it.

        Args:
            trace_id: of its trace.
            span_id: of the span.
            content: UTF-8. A JSON object becomes part of the line as it is, but for letters that older versions of
                MLflow wrote as escapes; any other text becomes a text in it.
        """
        started, text = _embedded(content)
        return SpanLine(trace_id, span_id, started, _front(trace_id, span_id) + text + b"}")

    @staticmethod
    def of_columns(trace_id: str, span_id: str, content: bytes, columns: dict[str, Any]) -> SpanLine:
        """From what a database has of a span whose content does not tell all of it.

        Args:
            trace_id: of its trace.
            span_id: of the span.
            content: UTF-8; empty: it was archived.
            columns: of `SPAN_COLUMNS`.
        """
        started, text = _embedded(content) if content else (0, b"null")
        told = to_json(columns, inf_nan_mode="strings")[1:]
        is_object = text.startswith(b"{")
        line = _front(trace_id, span_id) + text + b"," + told
        return SpanLine(trace_id, span_id, started if is_object else columns["start"] or 0, line)

    def record(self) -> Span:
        """The span, taken apart."""
        return Span.model_validate_json(self.line)

    @property
    def size(self) -> int:
        """What it counts for: one span."""
        return 1

    def as_line(self) -> SpanLine:
        """Itself."""
        return self

    def to_line(self) -> bytes:
        """The line."""
        return self.line

    @property
    def content(self) -> bytes | None:
        """What MLflow has of it, in UTF-8; None where it was archived."""
        start = self.line.index(_CONTENT) + len(_CONTENT)
        text = self.line[start:-1]
        if self.line[-2:] == b"}}":  # an object, with no columns behind it
            return text
        text = _without_columns(text, self.line)
        if text.startswith(b"{"):
            return text
        return str(from_json(text)).encode() if text.startswith(b'"') else None


_START = "start_time_unix_nano"
_CONTENT = b',"content":'
_ID = rb'"[^"\\]*"'
_LINE = re.compile(
    rb'\{"trace_id":"([^"\\]*)","span_id":"([^"\\]*)","content":'
    rb'\{"trace_id": ' + _ID + rb', "span_id": ' + _ID + rb', "parent_span_id": (?:null|' + _ID + rb"), "
    rb'"name": "[^"\\]*(?:\\.[^"\\]*)*", "start_time_unix_nano": (\d{1,19}), "'
)
"""A span as MLflow writes it (`Span.to_dict`): when it began can be read without the rest."""
_HEAD = 4096
"""Bytes that hold the part above, but for names that nobody gives."""
_ESCAPED = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+")
_BACKSLASHES = b"\0\0"
"""Stands for an escaped backslash: it is in no JSON."""


def _other(line: bytes) -> SpanLine:
    """A span that was archived, or that was not written by MLflow."""
    span = CheckedSpan.model_validate_json(line)
    if not line.startswith(_front(span.trace_id, span.span_id)):  # of another make: write it as we do
        return Span.model_validate_json(line).as_line()
    return SpanLine(span.trace_id, span.span_id, span.started, line)


_OBJECT = core_schema.typed_dict_schema(
    {_START: core_schema.typed_dict_field(core_schema.any_schema(), required=False)}
)
_parsed = SchemaValidator(_OBJECT).validate_json
"""Gives of a JSON object nothing but the time: a quarter of the work of making Python's objects of the rest, too."""


_TEXT = core_schema.typed_dict_field(core_schema.str_schema())
_parsed_line = SchemaValidator(
    core_schema.typed_dict_schema(
        {"trace_id": _TEXT, "span_id": _TEXT, "content": core_schema.typed_dict_field(_OBJECT)}, extra_behavior="forbid"
    )
).validate_json
"""Likewise of a line that has a content, and no columns behind it."""


def _embedded(content: bytes) -> tuple[int, bytes]:
    """When a span began, and its content as JSON on one line."""
    try:
        found = from_json(content, allow_inf_nan=False) if _may_have_nan(content) else _parsed(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return 0, to_json(content.decode())
    started = _time(found.get(_START))
    if content.isascii() and b"\\u" in content:  # MLflow escapes all letters, or none
        bare = content.replace(rb"\\", _BACKSLASHES)
        content = _ESCAPED.sub(_letters, bare).replace(_BACKSLASHES, rb"\\")
    if content[:1] == b"{" and content[-1:] == b"}" and b"\n" not in content and b"\r" not in content:
        return started, content
    return started, content.strip().replace(b"\n", b" ").replace(b"\r", b" ")


def _may_have_nan(content: bytes) -> bool:
    """Whether there may be numbers that JSON does not know. To look for one letter is a tenth of the work."""
    return (b"N" in content and b"NaN" in content) or (b"I" in content and b"Infinity" in content)


def _letters(found: re.Match[bytes]) -> bytes:
    """Letters that were escaped; what JSON can't be without stays so."""
    return json.dumps(json.loads(b'"%b"' % found[0]), ensure_ascii=False)[1:-1].encode()


def _without_columns(text: bytes, line: bytes) -> bytes:
    """A content without the columns that follow it in a line."""
    place = text.rfind(b',"parent_span_id":')
    return text[:place] if place >= 0 and CheckedSpan.model_validate_json(line).status is not None else text


def _time(value: object) -> int:
    return value if type(value) is int else 0


def _front(trace_id: str, span_id: str) -> bytes:
    own = b'"%b"' % span_id.encode() if span_id.isalnum() else to_json(span_id)
    return b'{"trace_id":%b,"span_id":%b,"content":' % (_json(trace_id), own)


@lru_cache(maxsize=16)  # the spans of a trace, one after the other
def _json(trace_id: str) -> bytes:
    return to_json(trace_id)
