"""Writes records as rows, or, for a plan, nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import (
    SPANS,
    Assessment,
    Experiment,
    LoggedModel,
    MetricHistory,
    ModelVersion,
    Record,
    RegisteredModel,
    Run,
    SpanLine,
    Trace,
)
from mlmeta.schema.rows import Row as TableRow
from mlmeta.stores.sql.database import SQLITE
from mlmeta.stores.sql.existing import DEFAULT_ID, ExistingRows
from mlmeta.stores.sql.inserts import Inserts, raise_experiment_counter
from mlmeta.stores.sql.joining import MissingPoints
from mlmeta.stores.sql.mapping import KindTable, Row
from mlmeta.stores.sql.merging import Merges
from mlmeta.stores.sql.metric_rows import history_rows, latest_points, latest_rows, single_point_rows
from mlmeta.stores.sql.rollups import Rollups
from mlmeta.stores.sql.row_inserts import Candidate, Failed, RowInserts
from mlmeta.stores.sql.runs import Leftover, Link, dataset_id, datasets_of, input_links, input_row
from mlmeta.stores.sql.spans import span_row
from mlmeta.stores.sql.stored import StoredHistories
from mlmeta.stores.sql.tables import (
    DATASET_RECORD_TABLE,
    DATASET_TABLE,
    EVALUATION_DATASET_TABLE,
    EXPERIMENT_TABLE,
    INPUT_TAGS,
    LOGGED_MODEL_METRIC_TABLE,
    MODEL_TABLE,
    MODEL_VERSION_TABLE,
    VERSION_TAGS,
    struck_out,
    table_of,
)
from mlmeta.stores.sql.trace_tables import (
    ASSESSMENT_TABLE,
    TRACE_METADATA,
    TRACE_TABLE,
    TRACE_TAGS,
    analytics,
    assessment_rows,
    untold,
)

P = ParamSpec("P")
R = TypeVar("R", bound=Record)

_WORKSPACES = "workspaces"
"""MLflow's list of them, with a description and an artifact root of each."""


class Writer(Protocol):
    """Takes what is to be written: a method of `RowWriter`, and what that gets."""

    def do(self, method: Callable[Concatenate[RowWriter, P], None], *given: P.args, **named: P.kwargs) -> None:
        """Write something."""

    def experiments_of_runs(self, ids: Sequence[str]) -> dict[str, int]:
        """The experiment ids of those of these runs that are there, or will be, by run id."""


class Planned:
    """The writer of a plan: it writes nothing, and remembers which runs would be there.

    Args:
        existing: what the target has already.
    """

    def __init__(self, existing: ExistingRows) -> None:
        self._existing = existing
        self._runs: dict[str, int] = {}
        self.writes = 0
        """How often something was to be written."""

    def do(self, method: Callable[Concatenate[RowWriter, P], None], *given: P.args, **_: P.kwargs) -> None:
        """See `Writer`."""
        self.writes += method not in {RowWriter.flush, RowWriter.flush_rows}
        if method == RowWriter.run:
            run: Any = given[0]
            self._runs[run.run_id] = int(run.experiment_id)

    def experiments_of_runs(self, ids: Sequence[str]) -> dict[str, int]:
        """See `Writer`."""
        planned = {run_id: self._runs[run_id] for run_id in ids if run_id in self._runs}
        return {**planned, **self._existing.experiments_of_runs(ids)}


@dataclass
class Missing:
    """What a registered model of the target lacks of the snapshot's.

    Args:
        tags: of the model.
        aliases: of the model.
        versions: numbers of versions.
        version_tags: of versions that are there, by number.
        stages: of versions that are there, by number.
    """

    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: set[int] = field(default_factory=set)
    version_tags: dict[int, dict[str, str]] = field(default_factory=dict)
    stages: dict[int, str] = field(default_factory=dict)


class RowWriter:
    """The writer of a restore: it turns records into rows, and writes them into a database's transaction.

    Args:
        connection: in that transaction.
        existing: what the target has already.
    """

    def __init__(self, connection: Connection, existing: ExistingRows) -> None:
        self._connection = connection
        self._as_bytes = connection.dialect.name == SQLITE
        self._existing = existing
        self._inserts = Inserts(connection)
        self._rows = RowInserts(connection)
        self._rollups = Rollups(connection)
        self._merges = Merges(connection, existing, self._inserts)
        self._undeleted: dict[KindTable[Any], list[str | int]] = {}
        self._grown: set[str] = set()

    def do(self, method: Callable[Concatenate[RowWriter, P], None], *given: P.args, **named: P.kwargs) -> None:
        """See `Writer`."""
        method(self, *given, **named)

    def record(self, record: Record) -> None:
        """Add a record with everything that belongs to it; for some kinds, there is more to be looked up."""
        self._add(table_of(record).rows(record))

    def _add(self, rows: Iterable[tuple[str, Iterable[Row]]]) -> None:
        for table, some in rows:
            self._inserts.add(table, some)

    def claim_numbers(self) -> None:
        """Have a server that makes experiments meanwhile give them no number that was just taken."""
        self._inserts.flush()
        raise_experiment_counter(self._connection)

    def adopt_default(self, record: Experiment) -> None:
        """Put an experiment in the place of an untouched Default experiment, which has no tags.

        A new row is inserted where its id is another one: MySQL's counter follows inserts only.
        """
        table = self._existing.table(EXPERIMENT_TABLE.name)
        is_default = table.c.experiment_id == DEFAULT_ID
        if int(record.experiment_id) == DEFAULT_ID:
            values = dict(zip(EXPERIMENT_TABLE.names, EXPERIMENT_TABLE.row(record), strict=True))
            fields = {column.name: values[column.name] for column in EXPERIMENT_TABLE.fields if column.limited}
            self._connection.execute(sa.update(table).where(is_default).values(fields))
            self._add(EXPERIMENT_TABLE.rows_below(record))
        else:
            self._connection.execute(sa.delete(table).where(is_default))
            self.record(record)

    def run(self, record: Run, histories: StoredHistories, left: Mapping[Link, Leftover]) -> None:
        """Add a run of an experiment that is there, with everything that belongs to it.

        Args:
            record: the run.
            histories: of its metrics.
            left: of its inputs, which are taken over.
        """
        self.record(record)
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

    def merge(self, found: R, joined: R, *owner: Any) -> None:
        """Add what a record that is there lacks, but for what is looked up for it, and for its parts.

        Args:
            found: the target's.
            joined: the same, as it shall be.
            owner: the key of the record that it is a part of.
        """
        self._merges.record(found, joined, *owner)

    def merge_trace(
        self, found: Trace, joined: Trace, assessments: Sequence[Assessment], lines: Sequence[SpanLine]
    ) -> None:
        """Add what a trace that is there lacks.

        Args:
            found: the target's.
            joined: the same, as it shall be, but for its parts.
            assessments: that are missing.
            lines: the spans that are missing.
        """
        self._merges.trace(found, joined)
        experiment, add = int(found.experiment_id), self._inserts.add_missing
        add(ASSESSMENT_TABLE.name, assessment_rows(found.model_copy(update={"assessments": tuple(assessments)})))
        if lines:
            add(SPANS.name, [span_row(line, experiment, as_bytes=self._as_bytes) for line in lines])
            self._rollups.add(experiment, found.timestamp, (line.started for line in lines))

    def merge_points(self, run_id: str, missing: MissingPoints) -> None:
        """Add points to a run that is there.

        Args:
            run_id: of the run.
            missing: the points.
        """
        for history in missing.histories:
            self._inserts.add_missing("metrics", history_rows(history))
        self._merges.latest(latest_points(run_id, missing.latest))

    def merge_inputs(self, record: Run, left: Mapping[Link, Leftover]) -> None:
        """Add what a run that is there used and made.

        Args:
            record: the snapshot's.
            left: what the target has of that.
        """
        self._inputs(record, left)

    def _inputs(self, record: Run, left: Mapping[Link, Leftover]) -> None:
        add = self._inserts.add
        known = self._existing.datasets(int(record.experiment_id)) if record.dataset_inputs else {}
        for key, dataset in datasets_of(record).items():
            if key not in known:
                known[key] = dataset_id(record.experiment_id, *key)
                add(DATASET_TABLE.name, [DATASET_TABLE.row(dataset, known[key], int(record.experiment_id))])
        for link, step, tags in input_links(record, known):
            there = left.get(link)
            if there is None:
                row = input_row(link, step)
                add("inputs", [row])
                add(INPUT_TAGS.name, INPUT_TAGS.rows(row, tags))
            else:
                missing = {key: value for key, value in tags.items() if key not in there.tags}
                add(INPUT_TAGS.name, INPUT_TAGS.rows((there.input_uuid,), missing))

    def trace(self, record: Trace, lines: Sequence[SpanLine]) -> None:
        """Add a trace of an experiment that is there, with everything that belongs to it.

        Args:
            record: the trace.
            lines: its spans.
        """
        experiment, add = int(record.experiment_id), self._inserts.add
        has_columns = "session_id" in self._existing.table(TRACE_TABLE.name).c
        columns = analytics(record)
        tags, metadata = untold(record, columns) if has_columns else (record.tags, record.metadata)
        add(TRACE_TABLE.name, [TRACE_TABLE.row(record, *columns)])
        add(TRACE_TAGS.name, TRACE_TAGS.rows((record.trace_id,), tags))
        add(TRACE_METADATA.name, TRACE_METADATA.rows((record.trace_id,), metadata))
        if record.assessments:
            add(ASSESSMENT_TABLE.name, assessment_rows(record))
        if lines:
            add(SPANS.name, [span_row(line, experiment, as_bytes=self._as_bytes) for line in lines])
        self._rollups.add(experiment, record.timestamp, (line.started for line in lines))

    def logged_model_metrics(self, record: LoggedModel, experiments: Mapping[str, int]) -> None:
        """Add the metrics of a logged model that is there.

        Args:
            record: whose metrics are all missing.
            experiments: of the runs of its metrics, by run id.
        """
        for metric in record.metrics:
            experiment = experiments[metric.run_id]
            known = self._existing.datasets(experiment)
            dataset = known.get((metric.dataset_name or "", metric.dataset_digest or ""))
            row = LOGGED_MODEL_METRIC_TABLE.row(metric, record.model_id, experiment, dataset)
            self._inserts.add(LOGGED_MODEL_METRIC_TABLE.name, [row])

    def table_rows(self, table: str, columns: tuple[str, ...], rows: Sequence[Candidate]) -> None:
        """Add rows of a table that no record models.

        Args:
            table: its name.
            columns: those that are written.
            rows: each with the values of these.
        """
        self._rows.add(table, columns, rows)

    def replace_row(self, row: TableRow) -> None:
        """Have a row that is there say what the snapshot says, but in columns that the target lacks."""
        table = self._existing.table(row.table)
        where = sa.and_(*(table.c[column] == value for column, value in row.key.items()))
        values = {column: value for column, value in row.row.items() if column in table.c}
        self._connection.execute(sa.update(table).where(where).values(values))

    def undelete_row(self, row: TableRow, column: str) -> None:
        """Take back the deletion of a row; nothing else of it changes.

        Args:
            row: the snapshot's.
            column: with the time of the deletion.
        """
        table = self._existing.table(row.table)
        where = sa.and_(*(table.c[key] == value for key, value in row.key.items()))
        self._connection.execute(sa.update(table).where(where).values({column: None}))

    def flush(self) -> None:
        """Write what is held of records."""
        self._inserts.flush()

    def flush_rows(self, failed: Failed) -> None:
        """Write what is held of rows; those that the database refuses are told."""
        self._rows.finish(failed)

    def undelete(self, table: KindTable[Any], key: str | int) -> None:
        """Have a record become active, at the end; nothing else of it changes."""
        self._undeleted.setdefault(table, []).append(key)

    def _make_active(self) -> None:
        for described, keys in self._undeleted.items():
            table = self._existing.table(described.name)
            values: dict[str, Any] = {"lifecycle_stage": "active"}
            if "deleted_time" in table.c:
                values["deleted_time"] = None
            key = table.c[described.columns[0].name]
            update = sa.update(table).where(key == sa.bindparam("record_key")).values(values)
            self._connection.execute(update, [{"record_key": one} for one in keys])

    def experiments_of_runs(self, ids: Sequence[str]) -> dict[str, int]:
        """See `Writer`."""
        self._inserts.flush()
        return self._existing.experiments_of_runs(ids)

    def complete_model(self, record: RegisteredModel, missing: Missing) -> None:
        """Add what a registered model lacks: versions, tags, aliases and stages."""
        versions = tuple(v for v in record.versions if v.version in missing.versions)
        self._remove_struck_out(record, missing.versions)
        key = MODEL_TABLE.row(record)[: MODEL_TABLE.key]
        update = {"tags": missing.tags, "aliases": missing.aliases, "versions": versions}
        self._add(MODEL_TABLE.rows_below(record.model_copy(update=update)))
        for number, tags in missing.version_tags.items():
            self._inserts.add(VERSION_TAGS.name, VERSION_TAGS.rows((*key, number), tags))
        table = self._existing.table(MODEL_VERSION_TABLE.name)
        for number, stage in missing.stages.items():
            where = self._existing.version(record, number, MODEL_VERSION_TABLE.name)
            self._connection.execute(sa.update(table).where(where).values(current_stage=stage))

    def keep_number(self, record: RegisteredModel, newest: ModelVersion) -> None:
        """Have a model's next version get a higher number than one of the snapshot that is not restored, if it is new.

        MLflow counts on from the highest number that a row has, also that of a deleted version.
        """
        there = self._existing.table(MODEL_VERSION_TABLE.name)
        inside = self._existing.of_model(record, MODEL_VERSION_TABLE.name)
        highest = self._connection.execute(sa.select(sa.func.max(there.c.version)).where(inside)).scalar()
        if newest.version > (highest or 0):
            update = {"tags": {}, "aliases": {}, "versions": (struck_out(newest),)}
            self._add(MODEL_TABLE.rows_below(record.model_copy(update=update)))

    def _remove_struck_out(self, record: RegisteredModel, numbers: Iterable[int]) -> None:
        """Make room for versions that MLflow keeps, with their content struck out, and shows to nobody."""
        for number in numbers:
            for table in (VERSION_TAGS.name, MODEL_VERSION_TABLE.name):
                where = self._existing.version(record, number, table)
                self._connection.execute(sa.delete(self._existing.table(table)).where(where))

    def count_records(self, dataset_id: str) -> None:
        """Have the profile of an evaluation dataset say how many records it has, at the end, as MLflow does."""
        self._grown.add(dataset_id)

    def _count_records(self) -> None:
        for grown in sorted(self._grown):
            datasets = self._existing.table(EVALUATION_DATASET_TABLE.name)
            records = self._existing.table(DATASET_RECORD_TABLE.name)
            query = sa.select(sa.func.count()).select_from(records).where(records.c.dataset_id == grown)
            profile = json.dumps({"num_records": self._connection.execute(query).scalar_one()})
            update = sa.update(datasets).where(datasets.c.dataset_id == grown)
            self._connection.execute(update.values(profile=profile))

    def ensure_workspaces(self, names: Iterable[str]) -> None:
        """Have MLflow know workspaces: it shows nothing of what is in one that is not in its list."""
        if _WORKSPACES not in self._existing:
            return
        self._inserts.flush()
        table = self._existing.table(_WORKSPACES)
        there = set(self._connection.execute(sa.select(table.c.name)).scalars())
        if new := sorted(set(names) - there):
            self._connection.execute(sa.insert(table), [{"name": name} for name in new])

    def finish(self) -> str:
        """Write what is held, and see to the next experiment's id; what a person should know of it, or nothing."""
        self._inserts.flush()
        self._merges.flush()
        self._rollups.finish()
        self._make_active()
        self._count_records()
        return raise_experiment_counter(self._connection)
