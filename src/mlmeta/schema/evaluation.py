"""Evaluation datasets (MLflow 3.5 on), and the records that they consist of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from operator import attrgetter
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from mlmeta.schema.experiments import experiment_order
from mlmeta.schema.kind import DATASET_GROUP, Int64, Kind, Record, SortedMap, Workspace

DEEPEST = 100
"""Lists and objects within each other: a reader of JSON takes 200, and a line has some around."""


def as_json(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it, and every reader can read it: NaN and the infinities become texts.

    Raises:
        ValueError: it can't, as lists and objects are nested too deeply, or a text has half a surrogate.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        value.encode()
    if depth > DEEPEST:
        raise ValueError(f"it has more than {DEEPEST} lists and objects within each other")
    if isinstance(value, dict):
        return {as_json(key): as_json(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [as_json(one, depth + 1) for one in value]
    return value


Json = Annotated[Any, AfterValidator(as_json)]
"""JSON that a person or a program gave MLflow; its keys are in their order."""
JsonObject = Annotated[dict[str, Any], AfterValidator(as_json)]


def hash_of_inputs(inputs: Any) -> str:
    """What MLflow tells the records of a dataset apart by (`SqlAlchemyStore.upsert_dataset_records`, 3.5 to 3.18)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _or_empty(tags: Any) -> Any:
    """As MLflow's API shows them."""
    return {} if tags is None else tags


def experiments_in_order(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids of experiments as a dataset has them: each once, in the order of experiments."""
    return tuple(sorted(set(ids), key=experiment_order))


class EvaluationDataset(Record):
    """An evaluation dataset. Times are milliseconds since the epoch.

    `schema` and `profile` are JSON texts that MLflow makes of the records. A dataset belongs to any number of
    experiments, and several may have the same name.
    """

    left_out: ClassVar[tuple[str, ...]] = ("workspace",)

    dataset_id: str
    workspace: Workspace = None
    name: str
    digest: str | None = None
    created_time: Int64 | None = None
    last_update_time: Int64 | None = None
    created_by: str | None = None
    last_updated_by: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    profile: str | None = None
    tags: SortedMap[str] = {}
    experiment_ids: Annotated[tuple[str, ...], AfterValidator(experiments_in_order)] = ()


class DatasetRecord(Record):
    """A record of an evaluation dataset. Times are milliseconds since the epoch.

    `input_hash` is there only where it is not what MLflow makes of the inputs (`hash_of_inputs`).
    """

    dataset_id: str
    dataset_record_id: str
    inputs: JsonObject
    outputs: Json = None
    expectations: Json = None
    tags: Annotated[Json, AfterValidator(_or_empty)] = {}
    source: Json = None
    source_id: str | None = None
    source_type: str | None = None
    created_time: Int64 | None = None
    last_update_time: Int64 | None = None
    created_by: str | None = None
    last_updated_by: str | None = None
    input_hash: str | None = None

    @property
    def identity(self) -> str:
        """What tells it from the other records of its dataset."""
        return self.input_hash or hash_of_inputs(self.inputs)


def dataset_record_order(record: DatasetRecord) -> tuple[str, bool, int, str]:
    """Sort key of records: dataset, time of creation (none: last), then id; within a dataset, the API's own."""
    return (record.dataset_id, record.created_time is None, record.created_time or 0, record.dataset_record_id)


EVALUATION_DATASETS = Kind(
    "evaluation_datasets",
    EvaluationDataset,
    one="evaluation dataset",
    many="evaluation datasets",
    key=attrgetter("dataset_id"),
    order=attrgetter("dataset_id"),
    title=attrgetter("name"),
    since="1.2",
    always=False,
    groups=(DATASET_GROUP,),
    workspace=attrgetter("workspace"),
    experiments="experiment_ids",
    pieces=("evaluation dataset tag",),
    unsettable=(
        *("digest", "created_time", "last_update_time", "created_by", "last_updated_by"),
        *("schema_", "profile"),
    ),
)
DATASET_RECORDS = Kind(
    "dataset_records",
    DatasetRecord,
    one="dataset record",
    many="dataset records",
    key=attrgetter("dataset_record_id"),
    order=dataset_record_order,
    since="1.2",
    always=False,
    groups=(DATASET_GROUP,),
    owner=EVALUATION_DATASETS,
    owned_by=attrgetter("dataset_id"),
    unshown=("input_hash",),
    unsettable=(
        *("created_time", "last_update_time", "created_by", "last_updated_by"),
        *("source_id", "source_type", "input_hash"),
    ),
)
