"""The records of a snapshot, as Pydantic models. Imports nothing else of mlmeta."""

from mlmeta.schema.base import Record
from mlmeta.schema.experiments import Experiment, experiment_order
from mlmeta.schema.kinds import EXPERIMENTS, KINDS, LOGGED_MODELS, METRICS, MODELS, RUNS, Kind, Line, kind_of, named
from mlmeta.schema.logged_models import LoggedModel, LoggedModelMetric, logged_model_order
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
from mlmeta.schema.models import ModelVersion, RegisteredModel
from mlmeta.schema.runs import Dataset, DatasetInput, LatestMetric, ModelInput, ModelOutput, Run, run_order, same_point
from mlmeta.schema.selection import Selection, several
from mlmeta.schema.summary import SCHEMA_VERSION, UNNAMED, FileEntry, Skipped, Summary, summary_is_intact

__all__ = [
    "EXPERIMENTS",
    "HISTORIES",
    "KINDS",
    "LOGGED_MODELS",
    "METRICS",
    "MODELS",
    "RUNS",
    "SCHEMA_VERSION",
    "UNNAMED",
    "Dataset",
    "DatasetInput",
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
    "Summary",
    "canonical",
    "experiment_order",
    "kind_of",
    "logged_model_order",
    "named",
    "point_order",
    "run_order",
    "same_point",
    "several",
    "summary_is_intact",
    "to_records",
]
