"""The tables of traces. Since MLflow 3.17, some of their tags and metadata stand in columns of their own.

What a record has is what MLflow's API shows, so it is the same whatever the schema is: reading puts the columns back
where they came from, and writing takes them out again, as MLflow does
(`mlflow/store/tracking/utils/trace_analytics.py`, which takes a second to import).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from mlmeta.schema import ASSESSMENTS, TRACES, Assessment, AssessmentError, Trace
from mlmeta.schema.evaluation import as_json
from mlmeta.schema.traces import NAME_TAG, SOURCE_RUN_ID
from mlmeta.stores.sql.mapping import (
    EXPERIMENT_ID,
    Column,
    Ending,
    KindTable,
    Pairs,
    Row,
    Values,
    from_json,
    optional,
    plain,
    to_json,
)
from mlmeta.stores.sql.oddities import INT64, Oddities, decoded

SESSION = "mlflow.trace.session"
TOKENS = "mlflow.trace.tokenUsage"
COST = "mlflow.trace.cost"
PROMOTED = (SESSION, TOKENS, COST)
"""Keys of metadata that stand in columns."""

_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation_input_tokens_above_1hr")
TOKEN_COLUMNS = ("input_tokens", "output_tokens", "total_tokens", *_CACHED)
COST_COLUMNS = ("input_cost", "output_cost", "total_cost")
"""Both have the names of the keys in the JSON that the metadata hold."""
ANALYTICS = ("trace_name", "session_id", *TOKEN_COLUMNS, *COST_COLUMNS)

_TIMES = ("start_time_unix_nano", "end_time_unix_nano")
SPAN_CONTENT = ("parent_span_id", "name", "type", "status", *_TIMES, *COST_COLUMNS, "model_name", "model_provider")
"""The columns of `spans` that say parts of the content again, in the order of `schema.spans.SPAN_COLUMNS`."""
SPAN_ROW = ("trace_id", "experiment_id", "span_id", "content", *SPAN_CONTENT)
"""The columns of `spans` that are written; `duration_ns` is computed by the database."""

_LONGEST_NAME, _LONGEST_SESSION = 4096, 250


def analytics(trace: Trace) -> Row:
    """What of a trace stands in the columns `ANALYTICS`."""
    name, session = trace.tags.get(NAME_TAG), trace.metadata.get(SESSION)
    usage, cost = json_object(trace.metadata.get(TOKENS)), json_object(trace.metadata.get(COST))
    return (
        name if name is not None and len(name) <= _LONGEST_NAME else None,
        session if session is not None and len(session) <= _LONGEST_SESSION else None,
        *(token_count(usage.get(key)) for key in TOKEN_COLUMNS),
        *(finite(cost.get(key)) for key in COST_COLUMNS),
    )


def told(columns: Mapping[str, Any]) -> dict[str, str]:
    """The metadata that these columns stand for, as MLflow's API shows them."""
    found = {SESSION: columns["session_id"]} if columns["session_id"] is not None else {}
    usage = {key: count for key in TOKEN_COLUMNS if (count := token_count(columns[key])) is not None}
    cost = {key: columns[key] for key in COST_COLUMNS if columns[key] is not None}
    found.update({key: json.dumps(value) for key, value in ((TOKENS, usage), (COST, cost)) if value})
    return found


def untold(trace: Trace, row: Row) -> tuple[dict[str, str], dict[str, str]]:
    """The tags and metadata that don't stand in columns, or not in their own words.

    Args:
        trace: any.
        row: its `analytics`.
    """
    columns = dict(zip(ANALYTICS, row, strict=True))
    known = told(columns)
    tags = {k: v for k, v in trace.tags.items() if k != NAME_TAG or columns["trace_name"] != v}
    return tags, {k: v for k, v in trace.metadata.items() if k not in PROMOTED or known.get(k) != v}


def json_object(text: Any) -> dict[str, Any]:
    """The object that a text of JSON is; an empty one for anything else."""
    found = from_json(text)
    return found if isinstance(found, dict) else {}


def finite(value: Any) -> float | None:
    """A number as MLflow's columns of costs take it."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def token_count(value: Any) -> int | None:
    """A number as MLflow's columns of tokens take it."""
    if type(value) is int:
        return value if -INT64 <= value < INT64 else None
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    if not number.is_finite() or number != number.to_integral_value() or not -INT64 <= number < INT64:
        return None
    return int(number)


def _as_the_api_shows_it(values: Values, _oddities: Oddities, _name: str) -> None:
    """Put the columns back; where the metadata say the same in other words, or more, they stay."""
    columns = {name: values.pop(name) for name in ANALYTICS}
    if (name := columns.pop("trace_name")) is not None:
        values["tags"][NAME_TAG] = name
    for key, text in told(columns).items():
        stored = values["metadata"].get(key)
        if stored is None or not _says(key, stored, columns):
            values["metadata"][key] = text


def _says(key: str, stored: str, columns: Mapping[str, Any]) -> bool:
    if key == SESSION:
        return bool(stored == columns["session_id"])
    names, convert = (TOKEN_COLUMNS, token_count) if key == TOKENS else (COST_COLUMNS, finite)
    found = json_object(stored)
    return all(convert(found.get(name)) == convert(columns[name]) for name in names)


TRACE_TAGS = Pairs("trace_tags", "tags", ("request_id",))
TRACE_METADATA = Pairs("trace_request_metadata", "metadata", ("request_id",))


def _text_map(text: Any) -> Any:
    """Metadata of an assessment as MLflow's API shows them: all values are texts."""
    found = from_json(text)
    if found is None:
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else found


def _error(text: Any) -> Any:
    found = from_json(text)
    try:
        return found and AssessmentError.model_validate(found)
    except ValueError:
        return found


class _NoJson:
    """Something that is no JSON, and that no record takes."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(decoded(self._value))


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _NoJson(text)


def _written_map(metadata: dict[str, str]) -> str | None:
    return to_json(metadata or None)


def _with_values(values: Values, oddities: Oddities, name: str) -> None:
    """JSON knows no NaN, which MLflow writes all the same. Of a run, the API shows what the metadata say."""
    try:
        as_it_can_be = values["value"] if isinstance(values["value"], _NoJson) else as_json(values["value"])
    except ValueError:
        as_it_can_be = values["value"]  # the record will say so
    if as_it_can_be != values["value"]:
        values["value"] = as_it_can_be
        oddities.changed(ASSESSMENTS.one, name, "its value has NaN or an infinity, which became a text")
    if not values["run_id"] and isinstance(values["metadata"], dict):
        values["run_id"] = values["metadata"].get(SOURCE_RUN_ID)


ASSESSMENT_TABLE: KindTable[Assessment] = KindTable(
    "assessments",
    kind=ASSESSMENTS,
    owner=("trace_id",),
    looked_up=("experiment_id", "trace_timestamp_ms", "aggregate_value", "is_numeric_value"),
    key=2,
    columns=(
        plain("assessment_id"),
        plain("name"),
        plain("assessment_type", "type"),
        Column("value", "value", read=_json, write=json.dumps, is_json=True),
        Column("error", "error", read=_error, write=lambda error: to_json(error and dict(error)), is_json=True),
        plain("created_timestamp", "created", otherwise=0),
        plain("last_updated_timestamp", "updated", otherwise=0),
        plain("source_type", otherwise="SOURCE_TYPE_UNSPECIFIED"),
        optional("source_id"),
        optional("run_id"),
        optional("span_id"),
        optional("rationale"),
        optional("overrides"),
        Column("valid", "valid", read=lambda valid: True if valid is None else valid, otherwise=True),
        Column("assessment_metadata", "metadata", read=_text_map, write=_written_map, is_json=True),
    ),
    lasting=frozenset({"name", "type", "created"}),
    identity=frozenset({"name", "type", "created"}),
    complete=_with_values,
)
TRACE_TABLE: KindTable[Trace] = KindTable(
    "trace_info",
    kind=TRACES,
    looked_up=ANALYTICS,
    also=ANALYTICS,
    columns=(
        plain("request_id", "trace_id"),
        EXPERIMENT_ID,
        plain("timestamp_ms", "timestamp", otherwise=0),
        plain("execution_time_ms", "duration"),
        plain("status", "state", otherwise="STATE_UNSPECIFIED"),
        optional("client_request_id"),
        optional("request_preview"),
        optional("response_preview"),
    ),
    pairs=(TRACE_TAGS, TRACE_METADATA),
    parts={"assessments": ASSESSMENT_TABLE},
    order=("experiment_id", "timestamp_ms", "request_id"),
    lasting=frozenset({"experiment_id", "client_request_id", "spans"}),
    identity=frozenset({"experiment_id", "client_request_id"}),
    ending=Ending(
        "state",
        frozenset({"IN_PROGRESS", "STATE_UNSPECIFIED"}),
        fields=("state", "duration", "request_preview", "response_preview"),
        maps=("tags", "metadata"),
    ),
    complete=_as_the_api_shows_it,
)


def assessment_rows(trace: Trace) -> Iterator[Row]:
    """The rows of a trace's assessments."""
    for one in trace.assessments:
        told_apart = (int(trace.experiment_id), trace.timestamp, *aggregate(one.value))
        yield ASSESSMENT_TABLE.row(one, trace.trace_id, *told_apart)


def aggregate(value: Any) -> tuple[float | None, bool]:
    """The number that stands for a value in MLflow's statistics, and whether it is one itself."""
    if isinstance(value, bool):
        return (1.0 if value else 0.0), False
    if isinstance(value, int | float):
        number = finite(value)
        return number, number is not None
    answer = value.strip().lower() if isinstance(value, str) else ""
    return ({"yes": 1.0, "no": 0.0}.get(answer), False)
