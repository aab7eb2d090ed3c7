"""What runs used and made: datasets, and MLflow 3's logged models. Written as MLflow's `log_inputs` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Dataset, DatasetInput
from mlmeta.stores.sql.database_tables import Tables, among
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.queries import batches, grouped, rows_of

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
            "model_inputs": tuple({"model_id": model} for model, _ in used.get(run_id, ())),
            "model_outputs": tuple({"model_id": model, "step": step or 0} for model, step in made.get(run_id, ())),
        }
        for run_id in ids
    }


def _dataset_inputs(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
    """Looked up table by table: MySQL refuses to join columns of two collations, and these have no foreign key."""
    inputs = tables["inputs"].c
    query = sa.select(inputs.destination_id, inputs.input_uuid, inputs.source_id).where(
        inputs.destination_type == "RUN", among(inputs.destination_id, ids, connection.dialect.name)
    )
    used = rows_of(connection, query)
    datasets = _by_id(connection, tables, "datasets", ("dataset_uuid", *_DATASET), {row[2] for row in used})
    if not datasets:
        return {}
    tags = _by_id(connection, tables, "input_tags", ("input_uuid", "name", "value"), {row[1] for row in used})
    found: dict[str, list[DatasetInput]] = {}
    for run_id, input_id, dataset_id in used:
        for dataset in datasets.get(dataset_id, ()):
            use = _dataset_input(tables, run_id, dataset, tags.get(input_id, []))
            if use is not None:
                found.setdefault(run_id, []).append(use)
    return found


def _by_id(
    connection: Connection, tables: Tables, table: str, columns: Sequence[str], ids: set[Any]
) -> dict[Any, list[Any]]:
    found: list[Any] = []
    for batch in batches(sorted(found_id for found_id in ids if isinstance(found_id, str))):
        query = sa.select(*tables.columns(table, *columns))
        query = query.where(among(tables[table].c[columns[0]], batch, connection.dialect.name))
        found += rows_of(connection, query)
    return grouped(found)


def _dataset_input(tables: Tables, run_id: str, row: Sequence[Any], tags: list[Any]) -> DatasetInput | None:
    name, digest, source_type, source, schema, profile = row
    fields = {
        "name": name,
        "digest": digest,
        "source_type": source_type or None,
        "source": source or None,
        "schema": schema or None,
        "profile": profile or None,
    }
    dataset = tables.oddities.validated(Dataset, fields, "run", f"{run_id}, dataset {shown(name)}")
    values = {"dataset": dataset, "tags": {key: value or "" for key, value in tags}}
    if dataset is None:
        return None
    return tables.oddities.validated(DatasetInput, values, "run", f"{run_id}, dataset {shown(name)}")


def _models(connection: Connection, tables: Tables, ids: Sequence[str], source: str) -> dict[str, list[Any]]:
    """Ids of logged models with the step, by run. Only a few runs have any."""
    inputs = tables["inputs"]
    columns = tables.columns("inputs", "source_id", "destination_id", "step")
    query = sa.select(*columns).where(
        inputs.c.source_type == source, among(inputs.c.source_id, ids, connection.dialect.name)
    )
    return grouped(rows_of(connection, query))
