"""Runs, with what no description of a table tells: latest metrics, and what they used and made."""

from __future__ import annotations

import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import RUNS, Dataset, DatasetInput, LatestMetric, Run
from mlmeta.stores.sql.database_tables import Tables, among
from mlmeta.stores.sql.mapping import KindTable, Row, Values
from mlmeta.stores.sql.odd_points import points_of
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.queries import batches, grouped, rows_of
from mlmeta.stores.sql.reader import Parts, Reader
from mlmeta.stores.sql.tables import DATASET_TABLE, INPUT_TAGS, METRIC_COLUMNS, RUN_TABLE

_NAN = float("nan")


class RunReader(Reader[Run]):
    """Reads runs. As there are many, their own rows are read in order, not looked up by their ids."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        super().__init__(connection, tables, RUN_TABLE)

    def stream(self, experiments: Sequence[int] | None) -> Iterator[list[Run]]:
        """See `Reader.stream`."""
        for rows in self._in_order(RUN_TABLE.read_names, experiments):
            sound = set(self._sound(row[0] for row in rows))
            yield list(self._records([row for row in rows if row[0] in sound]))

    def _parts(self, keys: Sequence[Any]) -> Parts:
        inputs = read_inputs(self._connection, self._tables, keys)
        return {**super()._parts(keys), "metrics": _latest_metrics(self._connection, self._tables, keys), **inputs}

    def _record(self, table: KindTable[Any], row: Sequence[Any], parts: Values, name: str) -> Any:
        run = super()._record(table, row, parts, name)
        return run and _with_latest(self._connection, self._tables, run, parts["metrics"])


def _latest_metrics(
    connection: Connection, tables: Tables, ids: Sequence[str]
) -> Mapping[str, dict[str, dict[str, Any]]]:
    """The latest metrics of runs by id and key, as the database has them: values that pydantic makes records of."""
    query = _query if "latest_metrics" in tables else _from_histories
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    rows = rows_of(connection, query(connection, tables, ids))
    tables.read["latest_metrics"] += len(rows)
    for run_id, key, value, step, timestamp, nan in rows:
        found[run_id][key] = {"value": _NAN if nan else value, "step": step, "timestamp": timestamp}
    return found


def _query(connection: Connection, tables: Tables, ids: Sequence[str]) -> sa.Select[Any]:
    table = tables["latest_metrics"]
    query = sa.select(*tables.columns("latest_metrics", *METRIC_COLUMNS))
    return query.where(among(table.c.run_uuid, ids, connection.dialect.name))


def _from_histories(connection: Connection, tables: Tables, ids: Sequence[str]) -> sa.Select[Any]:
    """As MLflow 1.2 filled its new table of latest metrics (its migration 89d4b8295536)."""
    run, key, value, step, timestamp, _ = (tables.column("metrics", name) for name in METRIC_COLUMNS)
    order = (step.desc(), timestamp.desc(), value.desc())
    place = sa.func.row_number().over(partition_by=(run, key), order_by=order).label("place")
    points = sa.select(*tables.columns("metrics", *METRIC_COLUMNS), place)
    found = points.where(among(run, ids, connection.dialect.name)).subquery()
    return sa.select(*(found.c[name] for name in METRIC_COLUMNS)).where(found.c.place == 1)


def _with_latest(connection: Connection, tables: Tables, run: Run, stored: Mapping[str, Any]) -> Run:
    """A run with latest metrics for all keys: from its histories where the stored ones were too odd to be kept."""
    if len(run.metrics) == len(stored):
        return run
    found = {key: _last(connection, tables, run.run_id, key) for key in stored if key not in run.metrics}
    there = {key: latest for key, latest in found.items() if latest is not None}
    return run.model_copy(update={"metrics": dict(sorted({**run.metrics, **there}.items()))})


def _last(connection: Connection, tables: Tables, run_id: str, key: str) -> LatestMetric | None:
    for step, timestamp, value in deque(points_of(connection, tables, run_id, key), maxlen=1):
        return LatestMetric(step=step, timestamp=timestamp, value=value)
    return None


_IDS = uuid.UUID("6d6c6d65-7461-4000-8000-000000000000")
"""Namespace of made-up ids: the API shows no ids of datasets and inputs, so they are derived from content."""

Link = tuple[str, str, str, str]
"""The primary key of the table `inputs`: type and id of a source and of a destination."""


def read_inputs(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, Mapping[Any, tuple[Any, ...]]]:
    """The fields `dataset_inputs`, `model_inputs` and `model_outputs` of these runs, each by run."""
    if "inputs" not in tables:  # before MLflow 2.4
        return {}
    used = _models(connection, tables, ids, "RUN_INPUT")
    made = _models(connection, tables, ids, "RUN_OUTPUT")
    return {
        "dataset_inputs": _dataset_inputs(connection, tables, ids),
        "model_inputs": _tuples({run: [{"model_id": model} for model, _ in own] for run, own in used.items()}),
        "model_outputs": _tuples(
            {run: [{"model_id": model, "step": step or 0} for model, step in own] for run, own in made.items()}
        ),
    }


def _tuples(found: Mapping[Any, Sequence[Any]]) -> Mapping[Any, tuple[Any, ...]]:
    return defaultdict(tuple, {key: tuple(values) for key, values in found.items()})


def _dataset_inputs(connection: Connection, tables: Tables, ids: Sequence[str]) -> Mapping[Any, tuple[Any, ...]]:
    inputs = tables["inputs"].c
    query = sa.select(inputs.destination_id, inputs.input_uuid, inputs.source_id).where(
        inputs.destination_type == "RUN", among(inputs.destination_id, ids, connection.dialect.name)
    )
    used = rows_of(connection, query)
    rows = _by_id(connection, tables, DATASET_TABLE.name, DATASET_TABLE.read_names, {row[2] for row in used})
    datasets = {row[0]: DATASET_TABLE.values(row) for row in rows}
    if not datasets:
        return _tuples({})
    columns = (*INPUT_TAGS.owner, INPUT_TAGS.key, INPUT_TAGS.value)
    tags = grouped(_by_id(connection, tables, INPUT_TAGS.name, columns, {row[1] for row in used}))
    found: dict[str, list[DatasetInput]] = defaultdict(list)
    for run_id, input_id, dataset_id in used:
        if dataset_id in datasets:
            use = _dataset_input(tables, run_id, datasets[dataset_id], tags.get(input_id, []))
            found[run_id] += [use] if use is not None else []
    return _tuples(found)


def _by_id(connection: Connection, tables: Tables, table: str, columns: Sequence[str], ids: set[Any]) -> list[Any]:
    """Rows that have one of these ids in the first of the columns."""
    found: list[Any] = []
    for batch in batches(sorted(found_id for found_id in ids if isinstance(found_id, str))):
        query = sa.select(*tables.columns(table, *columns))
        query = query.where(among(tables[table].c[columns[0]], batch, connection.dialect.name))
        found += rows_of(connection, query)
    return found


def _dataset_input(tables: Tables, run_id: str, values: Mapping[str, Any], tags: list[Any]) -> DatasetInput | None:
    name = f"{run_id}, dataset {shown(values['name'])}"
    dataset = tables.oddities.validated(Dataset, dict(values), RUNS.one, name)
    if dataset is None:
        return None
    use = {"dataset": dataset, "tags": {key: value or "" for key, value in tags}}
    return tables.oddities.validated(DatasetInput, use, RUNS.one, name)


def _models(connection: Connection, tables: Tables, ids: Sequence[str], source: str) -> dict[Any, list[Any]]:
    """Ids of logged models with the step, by run. Only a few runs have any."""
    inputs = tables["inputs"]
    columns = tables.columns("inputs", "source_id", "destination_id", "step")
    query = sa.select(*columns).where(
        inputs.c.source_type == source, among(inputs.c.source_id, ids, connection.dialect.name)
    )
    return grouped(rows_of(connection, query))


def dataset_id(experiment_id: str, name: str, digest: str) -> str:
    """A stable id for a dataset of an experiment."""
    return uuid.uuid5(_IDS, "\x00".join(("dataset", experiment_id, name, digest))).hex


def datasets_of(record: Run) -> dict[tuple[str, str], Dataset]:
    """The datasets that a run used, by name and digest: MLflow keeps each once."""
    return {(used.dataset.name, used.dataset.digest): used.dataset for used in reversed(record.dataset_inputs)}


def input_links(record: Run, datasets: Mapping[tuple[str, str], str]) -> Iterator[tuple[Link, int, dict[str, str]]]:
    """What a run used and made, for the table `inputs`: primary key, step and tags of each.

    Args:
        record: the run.
        datasets: ids of the datasets that its experiment has; others get the one that `dataset_id` gives.
    """
    uses = {(used.dataset.name, used.dataset.digest): used.tags for used in reversed(record.dataset_inputs)}
    for key, tags in uses.items():
        dataset = datasets.get(key) or dataset_id(record.experiment_id, *key)
        yield ("DATASET", dataset, "RUN", record.run_id), 0, tags
    for model in record.model_inputs:
        yield ("RUN_INPUT", record.run_id, "MODEL_INPUT", model.model_id), 0, {}
    for made in record.model_outputs:
        yield ("RUN_OUTPUT", record.run_id, "MODEL_OUTPUT", made.model_id), made.step, {}


def input_row(link: Link, step: int) -> Row:
    """For the table `inputs`, with a stable id first."""
    return (uuid.uuid5(_IDS, "\x00".join(link)).hex, *link, step)


@dataclass(frozen=True)
class Leftover:
    """A row of the table `inputs` that `mlflow gc` left behind, with its tags. A restore takes it over as it is.

    Args:
        input_uuid: its id.
        step: of a model that the run made.
        tags: of a dataset that the run used.
    """

    input_uuid: str
    step: int
    tags: dict[str, str] = field(default_factory=dict)


def leftovers(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[Link, Leftover]:
    """The rows of these runs, which are not there any more.

    Args:
        connection: in a transaction.
        tables: of that database.
        ids: of the runs, at most a batch.
    """
    inputs, dialect = tables["inputs"].c, connection.dialect.name
    link = (inputs.source_type, inputs.source_id, inputs.destination_type, inputs.destination_id)
    query = sa.select(*link, *tables.columns("inputs", "input_uuid", "step")).where(
        sa.or_(
            sa.and_(inputs.destination_type == "RUN", among(inputs.destination_id, ids, dialect)),
            sa.and_(inputs.source_type.in_(("RUN_INPUT", "RUN_OUTPUT")), among(inputs.source_id, ids, dialect)),
        )
    )
    found = {tuple(row[:4]): Leftover(row.input_uuid, row.step or 0) for row in connection.execute(query)}
    by_id = {leftover.input_uuid: leftover for leftover in found.values()}
    if by_id:
        tags = tables["input_tags"].c
        where = among(tags.input_uuid, list(by_id), dialect)
        for row in connection.execute(sa.select(tags.input_uuid, tags.name, tags.value).where(where)):
            by_id[row.input_uuid].tags[row.name] = row.value or ""
    return found
