"""Spans as OpenTelemetry sends them (OTLP), from MLflow's own JSON: the only way in which a server takes spans.

A server makes a JSON text of each attribute that it is sent. MLflow's texts are JSON already: servers from 3.7 on see
that, so that most of them arrive as they are; anything else is sent as the value that it stands for, and comes back
with other blanks, escapes and forms of numbers.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlmeta.schema import SpanLine

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

TRACE_ID = re.compile(r"tr-([0-9a-f]{32})")
"""The ids that a server gives to traces that come by OTLP."""
REQUEST_ID = "mlflow.traceRequestId"
"""An attribute of which servers before 3.17 make the trace's id, as the value that they get."""
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_CODES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2, "UNSET": 0, "OK": 1, "ERROR": 2}
_NAMES = ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")
_AS_TEXTS: tuple[tuple[tuple[int, int], tuple[type, ...]], ...] = (
    ((3, 17), (str, dict, list)),
    ((3, 7), (str, dict)),
)
"""What a server, from a version on, sees to be JSON already (`sanitize_attributes`)."""
_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = range(1 << 64)


class UnsendableError(ValueError):
    """A span can't be sent. Its text says why."""


@dataclass
class Sendable:
    """A span that can be sent.

    Args:
        span_id: of it.
        message: what is sent.
        content: MLflow's JSON of it, as the server will have it.
        lost: what of it can't be sent, in words.
    """

    span_id: str
    message: Any
    content: dict[str, Any]
    lost: list[str] = field(default_factory=list)


class Sender:
    """Makes messages of spans.

    Args:
        version: of the server's MLflow, its first two numbers; None: it is unknown.
    """

    def __init__(self, version: tuple[int, int] | None) -> None:
        self._as_texts = next((types for since, types in _AS_TEXTS if version is not None and version >= since), ())

    def sendable(self, trace_id: str, line: SpanLine) -> Sendable:
        """A span of a trace, to be sent.

        Raises:
            UnsendableError: it can't be.
        """
        from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

        content = _content(line)
        try:
            made = Sendable(line.span_id, OtlpSpan(), content)
            self._fill(made, trace_id)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UnsendableError(
                str(error) if isinstance(error, UnsendableError) else "it is no span of MLflow's"
            ) from error
        return made

    def _fill(self, made: Sendable, trace_id: str) -> None:
        message, content = made.message, made.content
        message.trace_id = bytes.fromhex(trace_id.removeprefix("tr-"))
        message.span_id = _id(made.span_id)
        if content["parent_span_id"]:
            message.parent_span_id = _id(hexadecimal(content["parent_span_id"]))
        message.name = content["name"] = _text(content["name"], made, "its name")
        message.start_time_unix_nano = _time(content["start_time_unix_nano"])
        message.end_time_unix_nano = _time(content["end_time_unix_nano"])
        _status(made)
        content["attributes"] = dict(self._attributes(made))
        _events(made)
        _links(made)
        _ids(made, trace_id)

    def _attributes(self, made: Sendable) -> Iterator[tuple[str, str]]:
        """Each attribute, sent; and the text that the server will have of it."""
        for key, text in made.content["attributes"].items():
            is_json, value = _loaded(text)
            into = made.message.attributes.add(key=_text(key, made, "an attribute's name"))
            if is_json and key != REQUEST_ID and isinstance(value, self._as_texts) and not _is_loose(text):
                into.value.string_value = text
                yield into.key, text
            else:
                sent = _set(into.value, value, made, f"its attribute {key}")
                yield into.key, json.dumps(sent, ensure_ascii=False)


def _content(line: SpanLine) -> dict[str, Any]:
    found = line.content
    if found is None:
        raise UnsendableError("it was archived, and what the database has left of it can't be sent")
    content = json.loads(found) if found.startswith(b"{") else None
    if not isinstance(content, dict):
        raise UnsendableError("it is no span of MLflow's")
    if not content.get("end_time_unix_nano"):
        raise UnsendableError("it has not ended, and a server would take it for ended in 1970")
    return content


def hexadecimal(identifier: str) -> str:
    """A span's id as the database has it beside the content; MLflow 3.5.0 wrote it so into the content, too."""
    is_base64 = len(identifier) == 12 and identifier.endswith("=")
    return base64.b64decode(identifier, validate=True).hex() if is_base64 else identifier


def _id(identifier: str) -> bytes:
    if not _SPAN_ID.fullmatch(identifier):
        raise UnsendableError(f"an id of a span has 16 hexadecimal digits, unlike {identifier[:40]!r}")
    return bytes.fromhex(identifier)


def _time(nanoseconds: Any) -> int:
    if int(nanoseconds) not in _UINT64:
        raise UnsendableError("it has a time before 1970")
    return int(nanoseconds)


def _is_loose(text: str) -> bool:
    """Whether a text has half of a surrogate pair, which can't be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _text(text: str, made: Sendable, what: str) -> str:
    """A text that can be sent."""
    if not _is_loose(text):
        return text
    made.lost.append(f"{what} has letters that can't be sent")
    return text.encode("utf-8", "replace").decode()


def _loaded(text: Any) -> tuple[bool, Any]:
    """Whether an attribute is a JSON text, and what it stands for: any other stands for itself."""
    if not isinstance(text, str):
        return False, text
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, text


def _set(into: AnyValue, value: Any, made: Sendable, what: str) -> Any:
    """Put a value into a message; what the server will make of it."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        made.lost.append(f"{what} has a number of more than 64 bits, which is sent as a text")
        value = str(value)
    if isinstance(value, str):
        into.string_value = _text(value, made, what)
        return into.string_value
    if isinstance(value, dict):
        into.kvlist_value.SetInParent()
        return {key: _set(into.kvlist_value.values.add(key=key).value, one, made, what) for key, one in value.items()}
    if isinstance(value, list):
        into.array_value.SetInParent()
        return [_set(into.array_value.values.add(), one, made, what) for one in value]
    setattr(into, {bool: "bool_value", int: "int_value"}.get(type(value), "double_value"), value)
    return value


def _set_all(into: Any, values: Mapping[str, Any], made: Sendable, what: str) -> dict[str, Any]:
    """Put attributes of an event or a link into a message; likewise."""
    found = {}
    for key, value in values.items():
        one: KeyValue = into.add(key=_text(key, made, what))
        found[one.key] = _set(one.value, value, made, what)
    return found


def _status(made: Sendable) -> None:
    status = made.content["status"]
    made.message.status.code = code = _CODES[status["code"]]
    said = _text(status.get("message") or "", made, "its status")
    if said and _NAMES[code] != "STATUS_CODE_ERROR":
        made.lost.append("its status has a message, which a server keeps of an error alone")
        said = ""
    made.message.status.message = said
    made.content["status"] = {"code": _NAMES[code], "message": said}


def _events(made: Sendable) -> None:
    events = []
    for event in made.content.get("events") or ():
        sent = made.message.events.add(
            name=_text(event["name"], made, "an event's name"), time_unix_nano=_time(event["time_unix_nano"])
        )
        attributes = _set_all(sent.attributes, event.get("attributes") or {}, made, f"its event {sent.name}")
        events.append({"name": sent.name, "time_unix_nano": sent.time_unix_nano, "attributes": attributes})
    made.content["events"] = events


def _links(made: Sendable) -> None:
    links = []
    for link in made.content.get("links") or ():
        trace = re.fullmatch(r"(?:tr-|trace:/.*/)?([0-9a-f]{32})", link["trace_id"])
        if trace is None or not _SPAN_ID.fullmatch(link["span_id"]):
            made.lost.append(f"it links to {link['trace_id']}, which OpenTelemetry has no such id for")
            continue
        sent = made.message.links.add(trace_id=bytes.fromhex(trace[1]), span_id=bytes.fromhex(link["span_id"]))
        attributes = _set_all(sent.attributes, link.get("attributes") or {}, made, "a link")
        links.append({"trace_id": f"tr-{trace[1]}", "span_id": link["span_id"], "attributes": attributes or None})
    made.content["links"] = links


def _ids(made: Sendable, trace_id: str) -> None:
    """The ids in the form in which MLflow writes them, but for 3.5.0."""
    message, content = made.message, made.content
    content["trace_id"] = _base64(message.trace_id)
    content["span_id"] = _base64(message.span_id)
    content["parent_span_id"] = _base64(message.parent_span_id) if message.parent_span_id else None
    content["start_time_unix_nano"], content["end_time_unix_nano"] = (
        message.start_time_unix_nano,
        message.end_time_unix_nano,
    )
    content["attributes"][REQUEST_ID] = json.dumps(trace_id)


def _base64(identifier: bytes) -> str:
    return binascii.b2a_base64(identifier, newline=False).decode()


def request(spans: Iterable[OtlpSpan], tags: Mapping[str, str]) -> bytes:
    """A request that sends spans, of one trace or several.

    Args:
        spans: of them.
        tags: of the process that made them: a server from 3.17 on makes tags of the traces of them.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    for key, value in tags.items():
        group.resource.attributes.add(key=key).value.string_value = value
    group.scope_spans.add().spans.extend(spans)
    return bytes(message.SerializeToString())
