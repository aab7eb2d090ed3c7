"""MLflow's tables, told once: which columns they have, and what of a record is in each of them.

By MLflow's own table definitions (`mlflow/store/tracking/dbmodels/models.py` and its like for the registry).
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

from mlmeta.schema import (
    DATASET_RECORDS,
    DEFAULT_WORKSPACE,
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    MODELS,
    RUNS,
    EvaluationDataset,
    ModelVersion,
    Record,
    Run,
    hash_of_inputs,
    kind_of,
)
from mlmeta.schema.evaluation import as_json
from mlmeta.stores.sql.mapping import (
    EXPERIMENT_ID,
    Column,
    Ending,
    KindTable,
    Links,
    Pairs,
    Table,
    Values,
    defaulting,
    filled,
    fixed,
    identifier,
    of_json,
    one_of,
    optional,
    plain,
)
from mlmeta.stores.sql.oddities import Oddities, decoded
from mlmeta.stores.sql.trace_tables import ASSESSMENT_TABLE, SPAN_ROW, TRACE_TABLE

R = TypeVar("R", bound=Record)

RUN_NAME_TAG = "mlflow.runName"
NO_STAGE = "None"
"""The stage that a version begins in."""

DELETED_STAGE = "Deleted_Internal"
"""MLflow keeps a deleted version as a row in this stage, its content struck out, and shows it to nobody."""

_STAGES = {stage: stage for stage in ("active", "deleted")}
_RUN_STATUSES = {status: status for status in ("FAILED", "FINISHED", "KILLED", "RUNNING", "SCHEDULED")}
_LOGGED_MODEL_STATUSES = dict(enumerate(("UNSPECIFIED", "PENDING", "READY", "FAILED")))
"""By the number that the database has for them (`LoggedModelStatus.from_int`, MLflow 3.17)."""

STAGE = one_of("lifecycle_stage", _STAGES, "active")


def workspace_of(found: Any) -> Any:
    """The workspace of a row as a record has it."""
    return None if found == DEFAULT_WORKSPACE else found or None


WORKSPACE = Column("workspace", "workspace", read=workspace_of, write=lambda workspace: workspace or DEFAULT_WORKSPACE)
"""Since MLflow 3.10; before, all is in the default workspace."""

IN_WORKSPACE = ("name", WORKSPACE.name)
"""What names a registered model."""


def experiment_name(experiment_id: Any, name: Any) -> str:
    """An experiment's name, or what stands for one that is not text: an experiment can't be without."""
    return f"experiment {experiment_id}" if name is None else str(decoded(name))


def _named_experiment(values: Values) -> Values:
    return {"name": experiment_name(values["experiment_id"], values["name"])}


EXPERIMENT_TABLE = KindTable(
    "experiments",
    kind=EXPERIMENTS,
    columns=(
        EXPERIMENT_ID,
        plain("name"),
        filled("artifact_location"),
        STAGE,
        optional("creation_time"),
        optional("last_update_time"),
        WORKSPACE,
    ),
    pairs=(Pairs("experiment_tags", "tags", ("experiment_id",)),),
    lasting=frozenset({"creation_time", "artifact_location"}),
    own=frozenset({"creation_time", "artifact_location"}),
    otherwise=_named_experiment,
)


def _named_by_tag(values: Values, _oddities: Oddities, _name: str) -> None:
    """As `SqlRun.to_mlflow_entity` does."""
    values["run_name"] = values["run_name"] or values["tags"].get(RUN_NAME_TAG) or None


def _name_of_tag(run: Run) -> Values:
    """MLflow before 1.30 has names in the tag alone."""
    name = run.run_name or run.tags.get(RUN_NAME_TAG)
    return {} if name == run.run_name else {"run_name": name}


RUN_TABLE = KindTable(
    "runs",
    kind=RUNS,
    columns=(
        plain("run_uuid", "run_id"),
        EXPERIMENT_ID,
        plain("name", "run_name"),
        filled("user_id"),
        one_of("status", _RUN_STATUSES, "SCHEDULED"),
        STAGE,
        defaulting("start_time", 0),
        optional("end_time"),
        plain("deleted_time"),
        optional("artifact_uri"),
        # What `SqlAlchemyStore.create_run` writes since these became tags
        fixed("source_type", "UNKNOWN"),
        fixed("source_name", ""),
        fixed("entry_point_name", ""),
        fixed("source_version", ""),
    ),
    pairs=(Pairs("params", "params", ("run_uuid",)), Pairs("tags", "tags", ("run_uuid",))),
    order=("experiment_id", "start_time", "run_uuid"),
    lasting=frozenset(
        {
            *("experiment_id", "user_id", "start_time", "artifact_uri", "params", "metrics"),
            *("dataset_inputs", "model_inputs", "model_outputs"),
        }
    ),
    identity=frozenset({"experiment_id", "start_time"}),
    ending=Ending(
        "status",
        frozenset({"RUNNING", "SCHEDULED"}),
        fields=("status", "end_time", "run_name"),
        maps=("tags",),
        time="end_time",
    ),
    complete=_named_by_tag,
    otherwise=lambda values: {"run_name": values["tags"].get(RUN_NAME_TAG)},
    settle=_name_of_tag,
)
METRIC_COLUMNS = ("run_uuid", "key", "value", "step", "timestamp", "is_nan")
"""Of `metrics`, and of `latest_metrics`. Both are read and written by hand: they are the bulk of most stores."""

DATASET_TABLE = Table(
    "datasets",
    owner=("dataset_uuid",),
    looked_up=("experiment_id",),
    columns=(
        plain("name"),
        plain("digest"),
        filled("dataset_source_type", "source_type"),
        filled("dataset_source", "source"),
        optional("dataset_schema", "schema_"),
        optional("dataset_profile", "profile"),
    ),
)
INPUT_COLUMNS = ("input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step")
INPUT_TAGS = Pairs("input_tags", "tags", ("input_uuid",), "name")

LOGGED_MODEL_METRIC_TABLE = Table(
    "logged_model_metrics",
    owner=("model_id",),
    looked_up=("experiment_id", "dataset_uuid"),
    columns=(
        plain("metric_name", "key"),
        Column("metric_value", "value", read=lambda value: value or 0.0),  # over REST, NULL is 0
        plain("metric_timestamp_ms", "timestamp"),
        plain("metric_step", "step"),
        plain("run_id"),
        optional("dataset_name"),
        optional("dataset_digest"),
    ),
)
LOGGED_MODEL_TABLE = KindTable(
    "logged_models",
    kind=LOGGED_MODELS,
    columns=(
        plain("model_id"),
        EXPERIMENT_ID,
        plain("name"),
        filled("artifact_location"),
        plain("creation_timestamp_ms", "creation_timestamp", otherwise=0),
        plain("last_updated_timestamp_ms", "last_updated_timestamp", otherwise=0),
        one_of("status", _LOGGED_MODEL_STATUSES, "UNSPECIFIED"),
        one_of("lifecycle_stage", _STAGES, "active", read=lambda stage: stage or "active"),
        optional("model_type"),
        optional("source_run_id"),
        optional("status_message"),
    ),
    pairs=(
        Pairs("logged_model_params", "params", ("model_id", "experiment_id"), "param_key", "param_value"),
        Pairs("logged_model_tags", "tags", ("model_id", "experiment_id"), "tag_key", "tag_value"),
    ),
    parts={"metrics": LOGGED_MODEL_METRIC_TABLE},
    order=("experiment_id", "creation_timestamp_ms", "model_id"),
    lasting=frozenset(
        {
            *("experiment_id", "name", "artifact_location", "creation_timestamp", "model_type", "source_run_id"),
            *("params", "metrics"),
        }
    ),
    identity=frozenset({"experiment_id", "name", "creation_timestamp", "model_type", "source_run_id"}),
    ending=Ending("status", frozenset({"UNSPECIFIED", "PENDING"}), fields=("status", "status_message"), maps=("tags",)),
    otherwise=lambda values: {"name": str(decoded(values["name"]))},
)


def _link_id(dataset: EvaluationDataset, experiment_id: str) -> str:
    """The id of a link, in MLflow's form; nothing refers to it, so a snapshot does not have it."""
    return f"a-{hashlib.md5(f'{dataset.dataset_id}/{experiment_id}'.encode(), usedforsecurity=False).hexdigest()}"


EXPERIMENTS_OF_DATASETS = Links(
    "entity_associations",
    "experiment_ids",
    owner="source_id",
    other="destination_id",
    types={"source_type": "evaluation_dataset", "destination_type": "experiment"},
    rest={"association_id": _link_id, "created_time": lambda dataset, _: dataset.created_time},
)
"""The rows of this table that belong to evaluation datasets; all others are of other kinds."""

EVALUATION_DATASET_TABLE = KindTable(
    "evaluation_datasets",
    kind=EVALUATION_DATASETS,
    columns=(
        plain("dataset_id"),
        plain("name"),
        optional("schema", "schema_"),
        optional("profile"),
        optional("digest"),
        plain("created_time"),
        plain("last_update_time"),
        optional("created_by"),
        optional("last_updated_by"),
        WORKSPACE,
    ),
    pairs=(Pairs("evaluation_dataset_tags", "tags", ("dataset_id",)),),
    links=(EXPERIMENTS_OF_DATASETS,),
    lasting=frozenset({"name", "created_time", "created_by"}),
    identity=frozenset({"name", "created_time", "created_by"}),
    otherwise=lambda values: {"name": str(decoded(values["name"]))},
)

_WRAPPED = "mlflow_wrapped"
"""Where in an object of its own MLflow keeps outputs (`DATASET_RECORD_WRAPPED_OUTPUT_KEY`): they need not be one."""


def _unwrapped(outputs: Any) -> Any:
    return outputs[_WRAPPED] if isinstance(outputs, dict) and _WRAPPED in outputs else outputs


def _wrapped(outputs: Any) -> Any:
    return None if outputs is None else {_WRAPPED: outputs}


_JSON = ("inputs", "outputs", "expectations", "tags", "source")


def _without_known_hash(values: Values, oddities: Oddities, name: str) -> None:
    """MLflow's hash goes without saying. JSON knows no NaN, which MLflow writes into SQLite all the same."""
    if values["input_hash"] == hash_of_inputs(values["inputs"]):
        values["input_hash"] = None
    for field in _JSON:
        try:
            as_it_can_be = as_json(values[field])
        except ValueError:
            continue  # the record will say so
        if as_it_can_be != values[field]:
            values[field] = as_it_can_be
            oddities.changed(DATASET_RECORDS.one, name, f"its {field} hold NaN or an infinity, which became a text")


DATASET_RECORD_TABLE = KindTable(
    "evaluation_dataset_records",
    kind=DATASET_RECORDS,
    columns=(
        plain("dataset_record_id"),
        identifier("dataset_id"),
        of_json("inputs"),
        of_json("outputs", read=_unwrapped, write=_wrapped),
        *map(of_json, ("expectations", "tags", "source")),
        optional("source_id"),
        optional("source_type"),
        plain("created_time"),
        plain("last_update_time"),
        optional("created_by"),
        optional("last_updated_by"),
        Column("input_hash", "input_hash", made=lambda record: record.identity),
    ),
    order=("dataset_id", "created_time", "dataset_record_id"),
    at_once=50,  # each may have some megabytes
    lasting=frozenset({"dataset_id", "inputs", "source", "created_time", "created_by"}),
    identity=frozenset({"dataset_id", "inputs", "source", "created_time", "created_by"}),
    complete=_without_known_hash,
)


def _with_a_stage(values: Values, oddities: Oddities, name: str) -> None:
    if values["current_stage"] is None:
        values["current_stage"] = NO_STAGE
        oddities.changed(MODELS.one, name, f"it has no stage, and was saved with the stage {NO_STAGE!r}")


VERSION_TAGS = Pairs("model_version_tags", "tags", (*IN_WORKSPACE, "version"))
MODEL_VERSION_TABLE = KindTable(
    "model_versions",
    kind=MODEL_VERSIONS,
    owner=IN_WORKSPACE,
    key=3,
    columns=(
        plain("version"),
        defaulting("creation_time", 0, "creation_timestamp"),
        plain("last_updated_time", "last_updated_timestamp"),
        optional("description"),
        optional("user_id"),
        defaulting("current_stage", NO_STAGE),
        optional("source"),
        optional("storage_location"),
        optional("run_id"),
        optional("run_link"),
        defaulting("status", "READY"),
        optional("status_message"),
    ),
    pairs=(VERSION_TAGS,),
    hides=("current_stage", DELETED_STAGE),
    lasting=frozenset({"creation_timestamp", "user_id", "source", "run_id", "storage_location"}),
    identity=frozenset({"creation_timestamp", "user_id", "source", "run_id", "storage_location"}),
    complete=_with_a_stage,
)


def struck_out(version: ModelVersion) -> ModelVersion:
    """A version as MLflow leaves it when it is deleted (`SqlAlchemyStore.delete_model_version`)."""
    texts = {"source": "REDACTED-SOURCE-PATH", "run_id": "REDACTED-RUN-ID", "run_link": "REDACTED-RUN-LINK"}
    gone: Values = {"description": None, "user_id": None, "status_message": None, "storage_location": None, "tags": {}}
    return version.model_copy(update={"current_stage": DELETED_STAGE, **texts, **gone})


MODEL_ALIASES = Pairs("registered_model_aliases", "aliases", IN_WORKSPACE, "alias", "version", text=False)
MODEL_TABLE = KindTable(
    "registered_models",
    kind=MODELS,
    key=2,
    columns=(
        plain("name"),
        WORKSPACE,
        plain("creation_time", "creation_timestamp"),
        plain("last_updated_time", "last_updated_timestamp"),
        optional("description"),
    ),
    pairs=(Pairs("registered_model_tags", "tags", IN_WORKSPACE), MODEL_ALIASES),
    parts={"versions": MODEL_VERSION_TABLE},
    lasting=frozenset({"creation_timestamp"}),
    own=frozenset({"creation_timestamp"}),
)

TABLES: dict[str, KindTable[Any]] = {
    table.kind.name: table
    for table in (
        *(EXPERIMENT_TABLE, RUN_TABLE, LOGGED_MODEL_TABLE, EVALUATION_DATASET_TABLE, DATASET_RECORD_TABLE),
        *(TRACE_TABLE, ASSESSMENT_TABLE, MODEL_TABLE, MODEL_VERSION_TABLE),
    )
}
"""By the name of their kind."""


def table_of(record: R) -> KindTable[R]:
    """The table of a record's kind."""
    return TABLES[kind_of(record).name]


COLUMNS: dict[str, tuple[str, ...]] = {
    **dict(EXPERIMENT_TABLE.all_columns()),
    **dict(RUN_TABLE.all_columns()),
    "latest_metrics": METRIC_COLUMNS,
    "metrics": METRIC_COLUMNS,
    **dict(DATASET_TABLE.all_columns()),
    **dict(LOGGED_MODEL_TABLE.all_columns()),
    "inputs": INPUT_COLUMNS,
    INPUT_TAGS.name: INPUT_TAGS.names,
    **dict(TRACE_TABLE.all_columns()),
    "spans": SPAN_ROW,
    **dict(EVALUATION_DATASET_TABLE.all_columns()),
    **dict(DATASET_RECORD_TABLE.all_columns()),
    **dict(MODEL_TABLE.all_columns()),
}
"""The columns written, by table, in the order in which tables must be filled (foreign keys)."""
