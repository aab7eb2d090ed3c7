"""Hypothesis strategies for records and for what MLflow stores."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mlmeta.schema import (
    Assessment,
    AssessmentError,
    Dataset,
    DatasetInput,
    DatasetRecord,
    EvaluationDataset,
    Experiment,
    LatestMetric,
    MetricHistory,
    ModelInput,
    ModelOutput,
    ModelVersion,
    RegisteredModel,
    Run,
    Span,
    Trace,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=12)
VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3]),
)
POINTS = st.tuples(INT64, INT64, VALUES)
_FEW_STEPS = st.integers(-3, 3)
CROWDED_POINTS = st.tuples(_FEW_STEPS, st.integers(0, 2), st.one_of(VALUES, st.sampled_from([0.0, -0.0, 1.0])))
"""Points that often meet in step and timestamp."""

_maybe = lambda strategy: st.none() | strategy  # noqa: E731
_workspaces = st.sampled_from([None, "team-a", "team-b"])
_tags = st.dictionaries(TEXT, TEXT, max_size=3)

experiments = st.builds(
    Experiment,
    experiment_id=TEXT,
    workspace=_workspaces,
    name=TEXT,
    artifact_location=_maybe(TEXT),
    lifecycle_stage=st.sampled_from(["active", "deleted"]),
    creation_time=_maybe(INT64),
    last_update_time=_maybe(INT64),
    tags=_tags,
)
_latest = st.builds(LatestMetric, value=VALUES, step=_maybe(INT64), timestamp=_maybe(INT64))
_datasets = st.builds(
    Dataset,
    name=TEXT,
    digest=TEXT,
    source_type=_maybe(TEXT),
    source=_maybe(TEXT),
    schema_=_maybe(TEXT),
    profile=_maybe(TEXT),
)
_inputs = st.builds(DatasetInput, dataset=_datasets, tags=_tags)
runs = st.builds(
    Run,
    run_id=TEXT,
    experiment_id=TEXT,
    run_name=_maybe(TEXT),
    user_id=_maybe(TEXT),
    status=st.sampled_from(["RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"]),
    start_time=_maybe(INT64),
    end_time=_maybe(INT64),
    artifact_uri=_maybe(TEXT),
    params=_tags,
    tags=_tags,
    metrics=st.dictionaries(TEXT, _latest, max_size=3),
    dataset_inputs=st.lists(_inputs, max_size=2).map(tuple),
    model_inputs=st.lists(st.builds(ModelInput, model_id=TEXT), max_size=2).map(tuple),
    model_outputs=st.lists(st.builds(ModelOutput, model_id=TEXT, step=INT64), max_size=2).map(tuple),
)
_versions = st.builds(
    ModelVersion,
    version=st.integers(1, 2**31),
    creation_timestamp=_maybe(INT64),
    description=_maybe(TEXT),
    source=_maybe(TEXT),
    run_id=_maybe(TEXT),
    current_stage=_maybe(TEXT),
    tags=_tags,
)
models = st.builds(
    RegisteredModel,
    name=TEXT,
    workspace=_workspaces,
    description=_maybe(TEXT),
    tags=_tags,
    aliases=st.dictionaries(TEXT, st.integers(1, 2**31), max_size=2),
    versions=st.lists(_versions, max_size=3).map(tuple),
)


_json = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
evaluation_datasets = st.builds(
    EvaluationDataset,
    dataset_id=TEXT,
    workspace=_workspaces,
    name=TEXT,
    digest=_maybe(TEXT),
    created_time=_maybe(INT64),
    last_update_time=_maybe(INT64),
    created_by=_maybe(TEXT),
    schema_=_maybe(TEXT),
    profile=_maybe(TEXT),
    tags=_tags,
    experiment_ids=st.lists(TEXT, max_size=3).map(tuple),
)
dataset_records = st.builds(
    DatasetRecord,
    dataset_id=TEXT,
    dataset_record_id=TEXT,
    inputs=st.dictionaries(TEXT, _json, max_size=3),
    outputs=_json,
    expectations=_json,
    tags=_json,
    source=_json,
    source_id=_maybe(TEXT),
    created_time=_maybe(INT64),
    input_hash=_maybe(TEXT),
)


@st.composite
def histories(draw: Any) -> MetricHistory:
    points = draw(st.lists(POINTS, min_size=1, max_size=5))
    step, timestamp, value = (list(column) for column in zip(*points, strict=True))
    return MetricHistory(run_id=draw(TEXT), key=draw(TEXT), step=step, timestamp=timestamp, value=value)


_json = st.recursive(
    st.none() | st.booleans() | INT64 | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
)
_assessments = st.builds(
    Assessment,
    assessment_id=TEXT,
    name=TEXT,
    type=st.sampled_from(["feedback", "expectation", "issue"]),
    value=_json,
    error=_maybe(st.builds(AssessmentError, error_code=TEXT, error_message=_maybe(TEXT))),
    source_type=TEXT,
    created=INT64,
    updated=INT64,
    rationale=_maybe(TEXT),
    valid=st.booleans(),
    metadata=_tags,
)
traces = st.builds(
    Trace,
    trace_id=TEXT,
    experiment_id=TEXT,
    timestamp=INT64,
    duration=_maybe(INT64),
    state=TEXT,
    request_preview=_maybe(TEXT),
    tags=_tags,
    metadata=_tags,
    assessments=st.lists(_assessments, max_size=2).map(tuple),
)
_contents = st.one_of(TEXT, st.dictionaries(TEXT, _json, max_size=3))
spans = st.builds(Span, trace_id=TEXT, span_id=TEXT, content=_contents)
records = st.one_of(experiments, runs, histories(), traces, spans, evaluation_datasets, dataset_records, models)
