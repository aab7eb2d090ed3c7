"""Traces, with their assessments and all else that MLflow tells of them but their spans."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from pydantic import AfterValidator, JsonValue, ValidationInfo, field_validator

from mlmeta.schema.evaluation import as_json
from mlmeta.schema.experiments import experiment_order
from mlmeta.schema.kind import TRACE_GROUP, Int64, Kind, OptionalText, Record, SortedMap
from mlmeta.schema.spans import Span, SpanLine

NAME_TAG = "mlflow.traceName"
SPANS_LOCATION_TAG = "mlflow.trace.spansLocation"
ARTIFACT_LOCATION_TAG = "mlflow.artifactLocation"
SOURCE_RUN_ID = "mlflow.assessment.sourceRunId"
"""In an assessment's metadata: the run that it was made in. MLflow's API shows no other."""
SOURCE_RUN = "mlflow.sourceRun"
"""In a trace's metadata: the run that it was made in."""
ARCHIVE_LOCATION_TAG = "mlflow.trace.archiveLocation"

SPAN_BYTES = 64 << 20
"""Of the line of a span, which is hardly ever taken apart: it has all that a model was asked, and what it answered."""
_EXACT = 1 << 53
"""From here on, not every whole number is one to MLflow's API, which knows only doubles."""


def _canonical(value: JsonValue) -> JsonValue:
    """A value in which whole numbers are integers and objects have their keys in order: the API shows neither."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, list):
        return [_canonical(one) for one in value]
    if isinstance(value, dict):
        return {key: _canonical(one) for key, one in sorted(value.items())}
    return value


class AssessmentError(Record):
    """Why a feedback has no value."""

    error_code: str
    error_message: str | None = None
    stack_trace: str | None = None


class Assessment(Record):
    """What somebody or something thinks of a trace, or of one of its spans.

    `type` is ``feedback``, ``expectation`` or ``issue``. Times are milliseconds since the epoch.
    """

    assessment_id: str
    name: str
    type: str
    value: JsonValue = None
    error: AssessmentError | None = None
    source_type: str
    source_id: OptionalText = None
    created: Int64
    updated: Int64
    run_id: OptionalText = None
    span_id: OptionalText = None
    rationale: OptionalText = None
    overrides: OptionalText = None
    valid: bool = True
    metadata: SortedMap[str] = {}

    @field_validator("value")
    @classmethod
    def _as_the_api_shows_it(cls, value: JsonValue, info: ValidationInfo) -> JsonValue:
        """What is expected is a text of JSON over the API, unless it is a single value: nothing of it is lost.

        Raises:
            ValueError: it is nested more deeply than every reader takes, or has half a surrogate.
        """
        as_json(value)
        is_text = info.data.get("type") == "expectation" and isinstance(value, list | dict)
        return value if is_text else _canonical(value)


def _in_order(assessments: tuple[Assessment, ...]) -> tuple[Assessment, ...]:
    return tuple(sorted(assessments, key=lambda one: (one.created, one.assessment_id)))


class Trace(Record):
    """A trace. `timestamp` is milliseconds since the epoch, `duration` milliseconds.

    Tags and metadata are those that MLflow's API shows, in whatever columns a database has them.
    """

    trace_id: str
    experiment_id: str
    timestamp: Int64
    duration: Int64 | None = None
    state: str
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    tags: SortedMap[str] = {}
    metadata: SortedMap[str] = {}
    assessments: Annotated[tuple[Assessment, ...], AfterValidator(_in_order)] = ()

    @property
    def spans_location(self) -> str:
        """Where its spans are: ``TRACKING_STORE``, ``ARCHIVE_REPO``, or ``ARTIFACT_REPO``, as before MLflow 3.5."""
        return self.tags.get(SPANS_LOCATION_TAG, "ARTIFACT_REPO")


def trace_order(trace: Trace) -> tuple[int, str]:
    """Sort key of traces within an experiment: time, then trace id."""
    return trace.timestamp, trace.trace_id


ASSESSMENTS = Kind(
    "assessments",
    Assessment,
    one="assessment",
    many="assessments",
    key=attrgetter("assessment_id"),
    order=attrgetter("assessment_id"),
    groups=(TRACE_GROUP,),
    unshown=("run_id",),
    unsettable=("run_id",),
)
TRACES = Kind(
    "traces",
    Trace,
    one="trace",
    many="traces",
    key=attrgetter("trace_id"),
    order=lambda trace: (experiment_order(trace.experiment_id), trace_order(trace)),
    title=lambda trace: trace.tags.get(NAME_TAG, ""),
    since="1.2",
    always=False,
    has_id=True,
    groups=(TRACE_GROUP,),
    experiment=attrgetter("experiment_id"),
    made_in=lambda trace: trace.metadata.get(SOURCE_RUN),
    counts=(("traces", lambda _: 1), ("assessments", lambda trace: len(trace.assessments))),
    parts={"assessments": ASSESSMENTS},
    pieces=("trace tags", "trace metadata"),
    location_tags=(ARTIFACT_LOCATION_TAG, ARCHIVE_LOCATION_TAG),
)
SPANS = Kind(
    "spans",
    Span,
    one="span",
    many="spans",
    key=lambda span: f"{span.trace_id}/{span.span_id}",
    order=attrgetter("started", "span_id"),
    since="1.2",
    always=False,
    groups=(TRACE_GROUP,),
    follows=TRACES,
    leader=attrgetter("trace_id"),
    as_line=SpanLine.of,
    checked=SpanLine.checked,
    longest=SPAN_BYTES,
)
