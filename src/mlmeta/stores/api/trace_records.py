"""What a server says of traces → records, and the records that it should give back after a restore.

MLflow's JSON of a trace's info and of its assessments is read without MLflow's entities: these differ
from version to version, and cost as much time as the reply itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from mlmeta.schema import TRACES, Assessment, AssessmentError, SpanLine, Trace
from mlmeta.schema.traces import SOURCE_RUN, SOURCE_RUN_ID
from mlmeta.snapshot.reader import Led, TraceLines
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import RestoreContext, SourceIds, TargetExperiment
from mlmeta.stores.api.otlp import Sender, UnsendableError

_TYPES = ("feedback", "expectation", "issue")
MODEL = "mlflow.modelId"
"""In a trace's metadata: the logged model that it is of."""
SHOWN = {"metadata": 250, "tags": 4096}
"""Characters of a value that MLflow's API shows; its columns hold 8,000."""
NOT_SHOWN = frozenset(f"trace {part}" for part in SHOWN)
"""Words for what of a trace is not shown to its end."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STATES = {"UNSPECIFIED": "STATE_UNSPECIFIED"}
"""Older names of states: those of MLflow 2."""


def trace(info: Mapping[str, Any]) -> Trace:
    """From the `TraceInfo` of MLflow 3.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is something else.
    """
    duration = info.get("execution_duration")
    return Trace(
        trace_id=_given(info["trace_id"]),
        experiment_id=_given(info["trace_location"]["mlflow_experiment"]["experiment_id"]),
        timestamp=_moment(info["request_time"]),
        duration=None if duration is None else _milliseconds(duration),
        state=info.get("state", "STATE_UNSPECIFIED"),
        client_request_id=info.get("client_request_id") or None,
        request_preview=info.get("request_preview") or None,
        response_preview=info.get("response_preview") or None,
        tags=info.get("tags", {}),
        metadata=info.get("trace_metadata", {}),
        assessments=tuple(map(_assessment, info.get("assessments", ()))),
    )


def old_trace(info: Mapping[str, Any]) -> Trace:
    """From the `TraceInfo` of MLflow 2, which has no assessments and no previews.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is something else.
    """
    state = info.get("status", "TRACE_STATUS_UNSPECIFIED").removeprefix("TRACE_STATUS_")
    duration = int(info.get("execution_time_ms", 0))
    return Trace(
        trace_id=_given(info["request_id"]),
        experiment_id=_given(info["experiment_id"]),
        timestamp=int(info["timestamp_ms"]),
        duration=None if state == "IN_PROGRESS" and not duration else duration,  # it shows 0 for none
        state=_STATES.get(state, state),
        tags={tag["key"]: tag["value"] for tag in info.get("tags", ())},
        metadata={one["key"]: one["value"] for one in info.get("request_metadata", ())},
    )


def _assessment(info: Mapping[str, Any]) -> Assessment:
    (kind,) = (name for name in _TYPES if name in info)
    error = info[kind].get("error")
    metadata = info.get("metadata", {})
    return Assessment(
        assessment_id=_given(info["assessment_id"]),
        name=info["assessment_name"],
        type=kind,
        value=_value(kind, info[kind]),
        error=None if error is None else AssessmentError.model_validate(error),
        source_type=info["source"]["source_type"],
        source_id=info["source"].get("source_id"),
        created=_moment(info["create_time"]),
        updated=_moment(info["last_update_time"]),
        run_id=metadata.get(SOURCE_RUN_ID),
        span_id=info.get("span_id"),
        rationale=info.get("rationale"),
        overrides=info.get("overrides"),
        valid=info.get("valid", True),
        metadata=metadata,
    )


def _value(kind: str, found: Mapping[str, Any]) -> Any:
    """What an assessment says: an expectation that is more than one number or text comes as a JSON text."""
    if kind == "issue":
        return dict(found)
    serialized = found.get("serialized_value")
    return found.get("value") if serialized is None else json.loads(serialized["value"])


def moment(milliseconds: int) -> str:
    """A time as JSON messages of protobuf have it, such as ``2026-11-26T20:07:14.295Z``."""
    seconds, rest = divmod(milliseconds, 1000)
    at = _EPOCH + timedelta(seconds=seconds)
    return f"{at.isoformat()[:19]}.{rest:03}Z"


def _moment(text: str) -> int:
    """Milliseconds since the epoch."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(f"{whole}+00:00") - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + int(fraction[:3].ljust(3, "0"))


def span_of_time(milliseconds: int) -> str:
    """A duration as JSON messages of protobuf have it, such as ``0.061s``."""
    sign = "-" if milliseconds < 0 else ""
    seconds, rest = divmod(abs(milliseconds), 1000)
    return f"{sign}{seconds}.{rest:03}s"


def _milliseconds(text: str) -> int:
    whole, _, fraction = text.removesuffix("s").partition(".")
    found = int(whole.lstrip("-")) * 1000 + int(fraction[:3].ljust(3, "0"))
    return -found if whole.startswith("-") else found


def _given(text: str) -> str:
    if not text:
        raise ValueError("it has no id")
    return str(text)


_STACK_TRACE_END = 500
"""Characters of a stack trace's end that MLflow's API shows in any case: it cuts the beginning of a long one."""


def with_ids(trace: Trace, run: Callable[[str], str], model: Callable[[str], str]) -> Trace:
    """A trace with other ids of runs and logged models."""
    assessments = tuple(
        one.model_copy(
            update={"metadata": _mapped(one.metadata, SOURCE_RUN_ID, run), "run_id": one.run_id and run(one.run_id)}
        )
        for one in trace.assessments
    )
    metadata = _mapped(_mapped(trace.metadata, SOURCE_RUN, run), MODEL, model)
    return trace.model_copy(update={"metadata": metadata, "assessments": assessments})


def _mapped(values: dict[str, str], key: str, other: Callable[[str], str]) -> dict[str, str]:
    return {**values, key: other(values[key])} if values.get(key) else values


def in_own_ids(trace: Trace, experiment: TargetExperiment, ids: SourceIds) -> Trace:
    """A trace of the target in the snapshot's ids, without what a restore notes in its tags."""
    found = with_ids(trace, ids.run, lambda model_id: ids.logged_models.get(model_id, model_id))
    update = {"experiment_id": experiment.source.experiment_id, "tags": restore_tags.without(trace.tags)}
    return found.model_copy(update=update)


def expected(own: TraceLines, found: TraceLines, context: RestoreContext) -> TraceLines:
    """A trace of the snapshot as the target should give it back.

    A server adds tags and metadata of its own, and previews from the spans; of long values it shows the beginning. One
    of MLflow 3.5 shows no spans.
    """
    mine, theirs = own.record, found.record
    update: dict[str, Any] = {
        "tags": _as_shown("tags", mine.tags, theirs.tags),
        "metadata": _as_shown("metadata", mine.metadata, theirs.metadata),
        "assessments": tuple(_expected_assessment(one, theirs) for one in mine.assessments),
    }
    for key in TRACES.location_tags:
        if context.rewritten(TRACES, mine.tags.get(key)) == theirs.tags.get(key):
            update["tags"] |= {key: theirs.tags[key]} if key in theirs.tags else {}
    for name in ("request_preview", "response_preview", "client_request_id"):
        if not getattr(mine, name):
            update[name] = getattr(theirs, name)
    there = {line.span_id: line for line in found.lines}
    lines = tuple(_expected_span(mine.trace_id, line, there.get(line.span_id), context.sender) for line in own.lines)
    return Led(mine.model_copy(update=update), lines if context.shows_spans else ())


def _as_shown(name: str, own: dict[str, str], found: dict[str, str]) -> dict[str, str]:
    return {**found, **{key: value[: SHOWN[name]] for key, value in own.items()}}


def _expected_assessment(own: Assessment, trace: Trace) -> Assessment:
    """An assessment as the API shows it: with the end of a long stack trace."""
    found = next((one for one in trace.assessments if one.assessment_id == own.assessment_id), None)
    if found is None or own.error is None or found.error is None:
        return own
    mine, theirs = own.error.stack_trace, found.error.stack_trace
    if not mine or not theirs or not mine.endswith(theirs[-_STACK_TRACE_END:]):
        return own
    return own.model_copy(update={"error": own.error.model_copy(update={"stack_trace": theirs})})


def _expected_span(trace_id: str, own: SpanLine, found: SpanLine | None, sender: Sender) -> SpanLine:
    """A span as the target should have it: as sending makes of it, with what a server adds, such as its kind."""
    if found is None or found.line == own.line:
        return own
    try:
        content = sender.sendable(trace_id, own).content
        there = json.loads(found.content or b"")
        more = there["attributes"]
    except (UnsendableError, ValueError, LookupError, TypeError):
        return own
    content["attributes"] = {**more, **content["attributes"]}
    content = {**there, **content}
    content = {name: value for name, value in content.items() if value or name in there}  # older ones write no links
    return SpanLine.of_content(trace_id, own.span_id, json.dumps(content, ensure_ascii=False).encode())
