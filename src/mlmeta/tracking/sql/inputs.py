"""What runs used and made: datasets, and MLflow 3's logged models. Written as MLflow's `log_inputs` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import DatasetInput, ModelInput, ModelOutput
from mlmeta.tracking.sql.batches import grouped
from mlmeta.tracking.sql.tables import Tables, among

_DATASET = ("name", "digest", "dataset_source_type", "dataset_source", "dataset_schema", "dataset_profile")


def read_inputs(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The fields `dataset_inputs`, `model_inputs` and `model_outputs` of each of these runs."""
    if "inputs" not in tables:  # before MLflow 2.4
        return {run_id: {} for run_id in ids}
    datasets = _dataset_inputs(connection, tables, ids)
    used = _models(connection, tables, ids, "RUN_INPUT")
    made = _models(connection, tables, ids, "RUN_OUTPUT")
    return {
        run_id: {
            "dataset_inputs": tuple(datasets.get(run_id, ())),
            "model_inputs": tuple(ModelInput(model_id=model) for model, _ in used.get(run_id, ())),
            "model_outputs": tuple(ModelOutput(model_id=model, step=step or 0) for model, step in made.get(run_id, ())),
        }
        for run_id in ids
    }


def _dataset_inputs(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
    inputs, datasets = tables["inputs"], tables["datasets"]
    query = (
        sa.select(inputs.c.destination_id, inputs.c.input_uuid, *tables.columns("datasets", *_DATASET))
        .select_from(inputs.join(datasets, inputs.c.source_id == datasets.c.dataset_uuid))
        .where(inputs.c.destination_type == "RUN", among(inputs.c.destination_id, ids, connection.dialect.name))
    )
    rows = grouped(connection.execute(query))
    if not rows:
        return {}
    tags = _input_tags(connection, tables, ids)
    return {run_id: [_dataset_input(row, tags.get(row[0], [])) for row in found] for run_id, found in rows.items()}


def _input_tags(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, list[Any]]:
    inputs, tags = tables["inputs"], tables["input_tags"]
    query = (
        sa.select(tags.c.input_uuid, tags.c.name, tags.c.value)
        .select_from(tags.join(inputs, inputs.c.input_uuid == tags.c.input_uuid))
        .where(inputs.c.destination_type == "RUN", among(inputs.c.destination_id, ids, connection.dialect.name))
    )
    return grouped(connection.execute(query))


def _dataset_input(row: Sequence[Any], tags: list[Any]) -> DatasetInput:
    _, name, digest, source_type, source, schema, profile = row
    return DatasetInput.model_validate(
        {
            "dataset": {
                "name": name,
                "digest": digest,
                "source_type": source_type or None,
                "source": source or None,
                "schema": schema or None,
                "profile": profile or None,
            },
            "tags": {key: value or "" for key, value in tags},
        }
    )


def _models(connection: Connection, tables: Tables, ids: Sequence[str], source: str) -> dict[str, list[Any]]:
    """Ids of logged models with the step, by run. Only a few runs have any."""
    inputs = tables["inputs"]
    columns = tables.columns("inputs", "source_id", "destination_id", "step")
    query = sa.select(*columns).where(
        inputs.c.source_type == source, among(inputs.c.source_id, ids, connection.dialect.name)
    )
    return grouped(connection.execute(query))
