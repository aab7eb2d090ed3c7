"""Writes records as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Experiment, LoggedModel, MetricHistory, RegisteredModel, Run
from mlmeta.stores.sql.holdings import DEFAULT_ID, Holdings
from mlmeta.stores.sql.inputs import Leftover, Link, dataset_id, datasets_of, input_links, input_row
from mlmeta.stores.sql.inserts import Inserts, raise_experiment_counter
from mlmeta.stores.sql.mapping import Row
from mlmeta.stores.sql.metric_rows import latest_rows, single_point_rows
from mlmeta.stores.sql.outcome import Missing
from mlmeta.stores.sql.stored import StoredHistories
from mlmeta.stores.sql.tables import (
    DATASET_TABLE,
    EXPERIMENT_TABLE,
    INPUT_TAGS,
    LOGGED_MODEL_METRIC_TABLE,
    LOGGED_MODEL_TABLE,
    MODEL_TABLE,
    RUN_TABLE,
    VERSION_TAGS,
)

_KEYS = {"experiments": "experiment_id", "runs": "run_uuid", "logged_models": "model_id"}


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
        self._undeleted: dict[str, list[str | int]] = {}

    def experiment(self, record: Experiment) -> None:
        """Add an experiment with its tags."""
        self._add(EXPERIMENT_TABLE.rows(record))

    def _add(self, rows: Iterable[tuple[str, Iterable[Row]]]) -> None:
        for table, some in rows:
            self._inserts.add(table, some)

    def adopt_default(self, record: Experiment) -> None:
        """Put an experiment in the place of an untouched Default experiment, which has no tags.

        A new row is inserted where its id is another one: MySQL's counter follows inserts only.
        """
        table = self._holdings.table(EXPERIMENT_TABLE.name)
        is_default = table.c.experiment_id == DEFAULT_ID
        if int(record.experiment_id) == DEFAULT_ID:
            values = dict(zip(EXPERIMENT_TABLE.names, EXPERIMENT_TABLE.row(record), strict=True))
            fields = {column.name: values[column.name] for column in EXPERIMENT_TABLE.fields if column.limited}
            self._connection.execute(sa.update(table).where(is_default).values(fields))
            self._add(EXPERIMENT_TABLE.rows_below(record))
        else:
            self._connection.execute(sa.delete(table).where(is_default))
            self.experiment(record)

    def run(self, record: Run, histories: StoredHistories, left: Mapping[Link, Leftover]) -> None:
        """Add a run with everything that belongs to it."""
        self._add(RUN_TABLE.rows(record))
        self._inserts.add("latest_metrics", latest_rows(record, self._without_latest(record, histories)))
        self._inserts.add("metrics", single_point_rows(record, histories.keys))
        self._inserts.add_histories(histories)
        if record.dataset_inputs or record.model_inputs or record.model_outputs:
            self._inputs(record, left)

    @staticmethod
    def _without_latest(record: Run, histories: StoredHistories) -> Iterator[MetricHistory]:
        """The histories of metrics that the run has no latest point of."""
        missing = histories.keys.difference(record.metrics)
        return (history for history in histories if history.key in missing) if missing else iter(())

    def _inputs(self, record: Run, left: Mapping[Link, Leftover]) -> None:
        known = self._holdings.datasets(int(record.experiment_id)) if record.dataset_inputs else {}
        for key, dataset in datasets_of(record).items():
            if key not in known:
                known[key] = dataset_id(record.experiment_id, *key)
                row = DATASET_TABLE.row(dataset, known[key], int(record.experiment_id))
                self._inserts.add(DATASET_TABLE.name, [row])
        for link, step, tags in input_links(record, known):
            there = left.get(link)
            if there is None:
                row = input_row(link, step)
                self._inserts.add("inputs", [row])
                self._inserts.add(INPUT_TAGS.table, INPUT_TAGS.rows(row, tags))
            else:
                missing = {key: value for key, value in tags.items() if key not in there.tags}
                self._inserts.add(INPUT_TAGS.table, INPUT_TAGS.rows((there.input_uuid,), missing))

    def logged_model(self, record: LoggedModel, experiments: dict[str, int]) -> None:
        """Add a logged model with everything that belongs to it."""
        self._add(LOGGED_MODEL_TABLE.rows(record))
        self.logged_model_metrics(record, experiments)

    def logged_model_metrics(self, record: LoggedModel, experiments: dict[str, int]) -> None:
        """Add the metrics of a logged model."""
        for metric in record.metrics:
            experiment = experiments[metric.run_id]
            known = self._holdings.datasets(experiment)
            dataset = known.get((metric.dataset_name or "", metric.dataset_digest or ""))
            row = LOGGED_MODEL_METRIC_TABLE.row(metric, record.model_id, experiment, dataset)
            self._inserts.add(LOGGED_MODEL_METRIC_TABLE.name, [row])

    def undelete(self, table: str, record_id: str | int) -> None:
        """Have an experiment, run or logged model become active, at the end."""
        self._undeleted.setdefault(table, []).append(record_id)

    def _make_active(self) -> None:
        for name, ids in self._undeleted.items():
            table = self._holdings.table(name)
            values: dict[str, Any] = {"lifecycle_stage": "active"}
            if "deleted_time" in table.c:
                values["deleted_time"] = None
            key = table.c[_KEYS[name]]
            update = sa.update(table).where(key == sa.bindparam("record_id")).values(values)
            self._connection.execute(update, [{"record_id": record_id} for record_id in ids])

    def flush(self) -> None:
        """Write what is held."""
        self._inserts.flush()

    def model(self, record: RegisteredModel) -> None:
        """Add a registered model with everything that belongs to it."""
        self._add(MODEL_TABLE.rows(record))

    def complete_model(self, record: RegisteredModel, missing: Missing) -> None:
        """Add what a registered model lacks: versions, tags, aliases and stages."""
        versions = tuple(v for v in record.versions if v.version in missing.versions)
        self._remove_struck_out(record.name, missing.versions)
        update = {"tags": missing.tags, "aliases": missing.aliases, "versions": versions}
        self._add(MODEL_TABLE.rows_below(record.model_copy(update=update)))
        for number, tags in missing.version_tags.items():
            self._inserts.add(VERSION_TAGS.table, VERSION_TAGS.rows((record.name, number), tags))
        versions_table = self._holdings.table("model_versions")
        for number, stage in missing.stages.items():
            where = self._holdings.version(record.name, number, "model_versions")
            self._connection.execute(sa.update(versions_table).where(where).values(current_stage=stage))

    def _remove_struck_out(self, name: str, numbers: Iterable[int]) -> None:
        """Make room for versions that MLflow keeps, with their content struck out, and shows to nobody."""
        for number in numbers:
            for table in ("model_version_tags", "model_versions"):
                where = self._holdings.version(name, number, table)
                self._connection.execute(sa.delete(self._holdings.table(table)).where(where))

    def finish(self) -> str:
        """Write what is held, and see to the next experiment's id; what a person should know of it, or nothing."""
        self._inserts.flush()
        self._make_active()
        return raise_experiment_counter(self._connection)
