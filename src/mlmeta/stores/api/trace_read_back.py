"""Traces that were restored, in the snapshot's ids, and the form in which the target should have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mlmeta.schema import TRACES, Assessment, SpanLine, Trace
from mlmeta.schema.traces import SOURCE_RUN, SOURCE_RUN_ID
from mlmeta.snapshot.reader import Led, TraceLines
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import RestoreContext, SourceIds, TargetExperiment
from mlmeta.stores.api.otlp import Sender, UnsendableError
from mlmeta.stores.api.trace_json import MODEL, SHOWN

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
        "assessments": tuple(_assessment(one, theirs) for one in mine.assessments),
    }
    for key in TRACES.location_tags:
        if context.rewritten(TRACES, mine.tags.get(key)) == theirs.tags.get(key):
            update["tags"] |= {key: theirs.tags[key]} if key in theirs.tags else {}
    for name in ("request_preview", "response_preview", "client_request_id"):
        if not getattr(mine, name):
            update[name] = getattr(theirs, name)
    there = {line.span_id: line for line in found.lines}
    lines = tuple(_span(mine.trace_id, line, there.get(line.span_id), context.sender) for line in own.lines)
    return Led(mine.model_copy(update=update), lines if context.shows_spans else ())


def _as_shown(name: str, own: dict[str, str], found: dict[str, str]) -> dict[str, str]:
    return {**found, **{key: value[: SHOWN[name]] for key, value in own.items()}}


def _assessment(own: Assessment, trace: Trace) -> Assessment:
    """An assessment as the API shows it: with the end of a long stack trace."""
    found = next((one for one in trace.assessments if one.assessment_id == own.assessment_id), None)
    if found is None or own.error is None or found.error is None:
        return own
    mine, theirs = own.error.stack_trace, found.error.stack_trace
    if not mine or not theirs or not mine.endswith(theirs[-_STACK_TRACE_END:]):
        return own
    return own.model_copy(update={"error": own.error.model_copy(update={"stack_trace": theirs})})


def _span(trace_id: str, own: SpanLine, found: SpanLine | None, sender: Sender) -> SpanLine:
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
