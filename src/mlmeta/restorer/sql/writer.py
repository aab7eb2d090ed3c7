"""Writes records as rows."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.restorer.sql import rows
from mlmeta.restorer.sql.holdings import DEFAULT_ID, Holdings
from mlmeta.restorer.sql.inserts import Inserts, raise_experiment_counter
from mlmeta.restorer.sql.stored import StoredHistories
from mlmeta.schema import DatasetInput, Experiment, LoggedModel, MetricHistory, RegisteredModel, Run


class RowWriter:
    """A sink that writes into a database's transaction.

    Args:
        connection: in that transaction.
        holdings: what the database holds.
    """

    def __init__(self, connection: Connection, holdings: Holdings) -> None:
        self._connection = connection
        self._holdings = holdings
        self._inserts = Inserts(connection)
        self._datasets: dict[str, dict[tuple[str, str], str]] = {}

    def experiment(self, record: Experiment) -> None:
        """Add an experiment with its tags."""
        row = rows.experiment_row(record)
        self._inserts.add("experiments", [row])
        self._inserts.add("experiment_tags", rows.tag_rows(row[0], record.tags))

    def adopt_default(self, record: Experiment) -> None:
        """Put an experiment in the place of an untouched Default experiment, which has no tags.

        A new row is inserted where its id is another one: MySQL's counter follows inserts only.
        """
        row = rows.experiment_row(record)
        values = dict(zip(rows.COLUMNS["experiments"], row, strict=True))
        table = sa.table("experiments", *map(sa.column, values))
        is_default = table.c.experiment_id == DEFAULT_ID
        if row[0] == DEFAULT_ID:
            values = {name: values[name] for name in values if name not in {"experiment_id", "workspace"}}
            self._connection.execute(sa.update(table).where(is_default).values(values))
        else:
            self._connection.execute(sa.delete(table).where(is_default))
            self._inserts.add("experiments", [row])
        self._inserts.add("experiment_tags", rows.tag_rows(row[0], record.tags))

    def run(self, record: Run, histories: StoredHistories) -> None:
        """Add a run with everything that belongs to it."""
        add = self._inserts.add
        add("runs", [rows.run_row(record)])
        add("params", rows.tag_rows(record.run_id, record.params))
        add("tags", rows.tag_rows(record.run_id, record.tags))
        add("latest_metrics", rows.latest_rows(record, self._without_latest(record, histories)))
        add("metrics", rows.single_point_rows(record, histories.keys))
        self._inserts.add_histories(histories)
        if record.dataset_inputs or record.model_inputs or record.model_outputs:
            self._inputs(record)

    @staticmethod
    def _without_latest(record: Run, histories: StoredHistories) -> Iterator[MetricHistory]:
        """The histories of metrics that the run has no latest point of."""
        missing = histories.keys.difference(record.metrics)
        return (history for history in histories if history.key in missing) if missing else iter(())

    def _inputs(self, record: Run) -> None:
        once = {(used.dataset.name, used.dataset.digest): used for used in reversed(record.dataset_inputs)}
        for used in once.values():
            row = rows.input_row("DATASET", self._dataset(record.experiment_id, used), "RUN", record.run_id)
            self._inserts.add("inputs", [row])
            self._inserts.add("input_tags", rows.tag_rows(row[0], used.tags))
        for model in record.model_inputs:
            row = rows.input_row("RUN_INPUT", record.run_id, "MODEL_INPUT", model.model_id)
            self._inserts.add("inputs", [row])
        for made in record.model_outputs:
            row = rows.input_row("RUN_OUTPUT", record.run_id, "MODEL_OUTPUT", made.model_id, made.step)
            self._inserts.add("inputs", [row])

    def _dataset(self, experiment_id: str, used: DatasetInput) -> str:
        """The id of a dataset of an experiment; added where the experiment does not have it yet."""
        known = self._known_datasets(experiment_id)
        key = (used.dataset.name, used.dataset.digest)
        if key not in known:
            known[key] = rows.dataset_id(experiment_id, *key)
            self._inserts.add("datasets", [rows.dataset_row(known[key], experiment_id, used)])
        return known[key]

    def _known_datasets(self, experiment_id: str) -> dict[tuple[str, str], str]:
        """Ids of the datasets of an experiment, by name and digest."""
        if experiment_id not in self._datasets:
            self._datasets[experiment_id] = self._holdings.datasets(int(experiment_id))
        return self._datasets[experiment_id]

    def logged_model(self, record: LoggedModel, experiments: dict[str, int]) -> None:
        """Add a logged model with everything that belongs to it."""
        owner = (record.model_id, int(record.experiment_id))
        self._inserts.add("logged_models", [rows.logged_model_row(record)])
        self._inserts.add("logged_model_params", ((*owner, *item) for item in record.params.items()))
        self._inserts.add("logged_model_tags", ((*owner, *item) for item in record.tags.items()))
        for metric in record.metrics:
            experiment = experiments[metric.run_id]
            known = self._known_datasets(str(experiment))
            dataset = known.get((metric.dataset_name or "", metric.dataset_digest or ""))
            row = rows.logged_model_metric_row(record.model_id, metric, experiment, dataset)
            self._inserts.add("logged_model_metrics", [row])

    def flush(self) -> None:
        """Write what is held."""
        self._inserts.flush()

    def model(self, record: RegisteredModel) -> None:
        """Add a registered model with everything that belongs to it."""
        for table, row in rows.model_rows(record):
            self._inserts.add(table, [row])

    def finish(self) -> str:
        """Write what is held, and see to the next experiment's id; what a person should know of it, or nothing."""
        self._inserts.flush()
        return raise_experiment_counter(self._connection)
