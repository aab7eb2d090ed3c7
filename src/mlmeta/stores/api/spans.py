"""Spans through the API: one request a trace, which gives what the server's database has, to the byte.

``GET /ajax-api/2.0/mlflow/get-trace-artifact`` is what MLflow's UI reads. `traces/batchGet` gives many traces at once,
but rewrites the texts of attributes, and fails for all where one is odd.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import SchemaValidator, core_schema

from mlmeta.errors import OversizedReplyError, ReplyError
from mlmeta.schema import SPANS, Skipped, SpanLine
from mlmeta.snapshot import bounds
from mlmeta.stores.api.bounded import at_most
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.otlp import hexadecimal
from mlmeta.stores.api.pace import RETRIED, Pace

ENDPOINT = "/ajax-api/2.0/mlflow/get-trace-artifact"
_TIMEOUT = 120
_BATCH_BYTES = 4 << 20
"""After so many bytes, a batch leaves the rest of its traces to be asked for later: it waits in memory."""
_ONE_BYTES = 8 << 20
"""Of one trace in a batch."""
_MOST_BYTES = 256 << 20
"""Of one trace by itself."""
_VALUES = 2 * bounds.VALUES
_SHOWN_SINCE = (3, 6)
"""The first MLflow that shows the spans of its tracking store by any call; 3.5 has some."""
_OPENING = '{"spans":['
_START = b'{"trace_id": "'
_FRONT, _BETWEEN, _END = _OPENING.encode() + _START, b"}," + _START, b"}]}"
_UNSPACED = '{"trace_id":"'
"""How a span begins that the server changed on the way, or that an older one took apart: written as its database does,
it has blanks."""
_DECODER = json.JSONDecoder()
_told = SchemaValidator(
    core_schema.typed_dict_schema({"span_id": core_schema.typed_dict_field(core_schema.str_schema(strict=True))})
).validate_json
"""Gives the id of a span, and nothing of the rest."""

Spans = list[SpanLine] | Skipped | None
"""What came of a trace: its spans in order, what can't be read, or None: they are too large for a batch."""


def shows_spans(version: tuple[int, int] | None) -> bool:
    """Whether servers of a version show spans that their database has; None: it is unknown."""
    return version is None or version >= _SHOWN_SINCE


def read_batch(connection: Connection, pace: Pace, trace_ids: Sequence[str]) -> list[Spans]:
    """The spans of some traces, one request after the other.

    Args:
        connection: to the server.
        pace: of the requests.
        trace_ids: of traces whose spans are in the server's database.

    Returns:
        What came of each, in their order; None from where on it gets too much.

    Raises:
        ConnectionFailedError: the server is gone.
    """
    found: list[Spans] = []
    size = 0
    for trace_id in trace_ids:
        spans = _read(connection, pace, trace_id, _ONE_BYTES) if size < _BATCH_BYTES else None
        size += sum(len(span.line) for span in spans) if isinstance(spans, list) else 0
        found.append(spans)
    return found


def read_alone(connection: Connection, pace: Pace, trace_id: str) -> list[SpanLine] | Skipped:
    """The spans of one trace, however large it is.

    Raises:
        ConnectionFailedError: the server is gone.
    """
    found = _read(connection, pace, trace_id, _MOST_BYTES)
    reason = f"its spans have more than {_MOST_BYTES >> 20} MiB: back up the server's database"
    return Skipped(kind=SPANS.many, id=trace_id, reason=reason) if found is None else found


def _read(connection: Connection, pace: Pace, trace_id: str, most: int) -> Spans:
    try:
        found = _asked(connection, pace, trace_id, most)
    except unreadable() as error:
        if isinstance(error.__cause__ or error.__context__ or error, OversizedReplyError):
            return None
        return Skipped(kind=SPANS.many, id=trace_id, reason=connection.failed(error))
    connection.succeeded()
    return found


def _asked(connection: Connection, pace: Pace, trace_id: str, most: int) -> list[SpanLine]:
    from mlflow.utils.rest_utils import verify_rest_response

    ask = partial(connection.many, ENDPOINT, {"request_id": trace_id}, timeout=_TIMEOUT, retry_codes=RETRIED)
    with at_most(most):
        reply = pace.ask(ask)
    return parsed(trace_id, verify_rest_response(reply, ENDPOINT).content)


def parsed(trace_id: str, body: bytes) -> list[SpanLine]:
    """The spans in a reply, in a snapshot's order.

    Raises:
        ReplyError: it is more than may be parsed, or cut off.
        ValueError, LookupError, TypeError, AttributeError: it is something else.
    """
    if why := bounds.excess(body, len(body), _VALUES):
        raise ReplyError(f"the reply can't be read: {why}")
    spans = sorted(_plain(trace_id, body) or _odd(trace_id, body), key=SPANS.order)
    if len({span.span_id for span in spans}) < len(spans):
        raise ReplyError("the reply has a span twice")
    return spans


def _plain(trace_id: str, body: bytes) -> list[SpanLine]:
    """The spans of a reply that is put together as MLflow does; none where it is not, or where one is odd.

    A reply that is cut into JSON objects at its commas is cut in the right places, as each of them is whole.
    """
    if not body.startswith(_FRONT) or not body.endswith(_END):
        return []
    first, *others = body[len(_OPENING) : -len(_END)].split(_BETWEEN)
    contents = chain([first + b"}"], (_START + other + b"}" for other in others))
    try:
        return [SpanLine.of_content(trace_id, hexadecimal(_told(one)["span_id"]), one) for one in contents]
    except ValidationError:
        return []


def _odd(trace_id: str, body: bytes) -> Iterator[SpanLine]:
    return (_line(trace_id, *found) for found in _contents(body.decode()))


def _contents(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Each span, taken apart and as its text."""
    if not text.startswith(_OPENING):
        for span in json.loads(text)["spans"]:
            yield span, json.dumps(span, ensure_ascii=False)
        return
    place = len(_OPENING)
    while text[place : place + 1] not in {"]", ""}:
        span, end = _DECODER.raw_decode(text, place)
        yield span, text[place:end]
        place = end + (text[end : end + 1] == ",")
    if text[place:].strip() != "]}":
        raise ReplyError("the reply is cut off, or something else stands behind the spans")


def _line(trace_id: str, span: dict[str, Any], text: str) -> SpanLine:
    if text.startswith(_UNSPACED):
        text = json.dumps(span, ensure_ascii=False)
    return SpanLine.of_content(trace_id, hexadecimal(span["span_id"]), text.encode())
