"""The records of a snapshot, as Pydantic models. Imports nothing else of mlmeta."""

from mlmeta.schema.base import Record
from mlmeta.schema.evaluation import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    DatasetRecord,
    EvaluationDataset,
    hash_of_inputs,
)
from mlmeta.schema.experiments import EXPERIMENTS, Experiment, experiment_order
from mlmeta.schema.kind import DATASET_GROUP, GROUPS, MODEL_GROUP, RUN_GROUP, SETTING_GROUP, TRACE_GROUP, Kind
from mlmeta.schema.kinds import KINDS, SCHEMA_VERSION, WITH_PARTS, Line, kind_of, leading_kinds
from mlmeta.schema.logged_models import LOGGED_MODELS, LoggedModel, LoggedModelMetric, logged_model_order
from mlmeta.schema.metrics import (
    HISTORIES,
    History,
    HistoryLine,
    MetricHistory,
    Point,
    canonical,
    point_order,
    to_records,
)
from mlmeta.schema.models import MODEL_VERSIONS, MODELS, ModelVersion, RegisteredModel
from mlmeta.schema.runs import (
    METRICS,
    RUNS,
    Dataset,
    DatasetInput,
    LatestMetric,
    ModelInput,
    ModelOutput,
    Run,
    run_order,
    same_point,
)
from mlmeta.schema.selection import Selection, several
from mlmeta.schema.spans import Span, SpanLine
from mlmeta.schema.summary import COUNTED, UNNAMED, FileEntry, Skipped, Summary, summary_is_intact
from mlmeta.schema.traces import SPANS, TRACES, Assessment, AssessmentError, Trace

__all__ = [
    "COUNTED",
    "DATASET_GROUP",
    "DATASET_RECORDS",
    "EVALUATION_DATASETS",
    "EXPERIMENTS",
    "GROUPS",
    "HISTORIES",
    "KINDS",
    "LOGGED_MODELS",
    "METRICS",
    "MODELS",
    "MODEL_GROUP",
    "MODEL_VERSIONS",
    "RUNS",
    "RUN_GROUP",
    "SCHEMA_VERSION",
    "SETTING_GROUP",
    "SPANS",
    "TRACES",
    "TRACE_GROUP",
    "UNNAMED",
    "WITH_PARTS",
    "Assessment",
    "AssessmentError",
    "Dataset",
    "DatasetInput",
    "DatasetRecord",
    "EvaluationDataset",
    "Experiment",
    "FileEntry",
    "History",
    "HistoryLine",
    "Kind",
    "LatestMetric",
    "Line",
    "LoggedModel",
    "LoggedModelMetric",
    "MetricHistory",
    "ModelInput",
    "ModelOutput",
    "ModelVersion",
    "Point",
    "Record",
    "RegisteredModel",
    "Run",
    "Selection",
    "Skipped",
    "Span",
    "SpanLine",
    "Summary",
    "Trace",
    "canonical",
    "experiment_order",
    "hash_of_inputs",
    "kind_of",
    "leading_kinds",
    "logged_model_order",
    "point_order",
    "run_order",
    "same_point",
    "several",
    "summary_is_intact",
    "to_records",
]
