"""Bulk inserts: rows are gathered by table and written together, parents before children."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import SPANS, MetricHistory
from mlmeta.stores.sql.database import MYSQL, SQLITE
from mlmeta.stores.sql.mapping import Row
from mlmeta.stores.sql.metric_rows import history_rows
from mlmeta.stores.sql.postgres import TYPES, copy_histories, driver_errors, psycopg_of
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.stored import StoredHistories
from mlmeta.stores.sql.tables import COLUMNS, DATASET_RECORD_TABLE
from mlmeta.stores.sql.trace_tables import SPAN_ROW

ROWS_AT_ONCE = 20_000
"""Rows that are held before they are written."""

POINTS_A_ROW = 5
"""Points of a history that take as much memory as a row of another table, as they wait as text."""

_AS_TEXT = "CAST(? AS TEXT)"
"""For the contents of spans, which SQLite gets in UTF-8."""
LETTERS_A_ROW = 500
"""Letters of a row that are as much as another row of a usual size."""

_UNLESS_THERE = {MYSQL: " ON DUPLICATE KEY UPDATE {column} = {column}"}
"""What leaves a row alone whose key is there; MySQL's INSERT IGNORE would ignore other faults, too."""

ROWS_TO_COPY = 100
"""From so many rows on, PostgreSQL gets them by COPY (psycopg 3 only)."""

PARAMETERS = 999
"""Parameters that any build of SQLite takes in one statement (SQLITE_MAX_VARIABLE_NUMBER before 3.32)."""


class Inserts:
    """Gathers rows for MLflow's tables and writes them.

    Args:
        connection: in a transaction that may write.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        there = set(sa.inspect(connection).get_table_names())
        self._tables = {
            name: TableInsert(connection, name, COLUMNS[name], _columns(connection, name))
            for name in COLUMNS
            if name in there
        }
        self._rows: dict[str, list[Row]] = {name: [] for name in self._tables}
        self._missing: dict[str, list[Row]] = {name: [] for name in self._tables}
        self._histories: list[Iterable[MetricHistory]] = []
        self._held = 0

    def add(self, table: str, rows: Iterable[Row]) -> None:
        """Gather rows with the columns of `COLUMNS`."""
        held = self._rows[table]
        before = len(held)
        held.extend(rows)
        self._held += len(held) - before
        if weight := _WEIGHTS.get(table):
            self._held += sum(map(weight, held[before:]))
        if self._held >= ROWS_AT_ONCE:
            self.flush()

    def add_missing(self, table: str, rows: Iterable[Row]) -> None:
        """Gather rows that a server may write as well, until this transaction ends: they stay as they are then."""
        held = self._missing[table]
        before = len(held)
        held.extend(rows)
        self._held += len(held) - before
        if self._held >= ROWS_AT_ONCE:
            self.flush()

    def add_histories(self, histories: StoredHistories) -> None:
        """Gather the histories of a run, for the table `metrics`."""
        self._histories.append(histories)
        self._held += histories.size // POINTS_A_ROW
        if self._held >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write all rows that are held."""
        for name, table in self._tables.items():
            if rows := self._rows[name]:
                table.write(self._connection, rows)
                rows.clear()
        if self._histories:
            self._tables["metrics"].write_histories(self._connection, chain.from_iterable(self._histories))
            self._histories.clear()
        for name, table in self._tables.items():
            if rows := self._missing[name]:
                table.write_missing(self._connection, rows)
                rows.clear()
        self._held = 0


_CONTENT = SPAN_ROW.index("content")


def _weight_of_span(row: Row) -> int:
    return len(row[_CONTENT]) // LETTERS_A_ROW


def _weight(row: Row) -> int:
    """How many usual rows have a row's letters."""
    return sum(len(value) for value in row if isinstance(value, str)) // LETTERS_A_ROW


_WEIGHTS: dict[str, Callable[[Row], int]] = {DATASET_RECORD_TABLE.name: _weight, SPANS.name: _weight_of_span}
"""Tables whose rows may have megabytes."""


def _columns(connection: Connection, name: str) -> set[str]:
    return {column["name"] for column in sa.inspect(connection).get_columns(name)}


class TableInsert:
    """The insert statement for one table.

    Of the columns we write, older versions of MLflow lack some: these are left out.

    Args:
        connection: in a transaction that may write.
        name: of the table.
        wanted: the columns that rows have.
        there: the columns that the table has.
    """

    def __init__(self, connection: Connection, name: str, wanted: Sequence[str], there: Collection[str]) -> None:
        kept = [i for i, column in enumerate(wanted) if column in there]
        self._pick = itemgetter(*kept) if len(kept) < len(wanted) else None
        quote = connection.dialect.identifier_preparer.quote
        columns = ", ".join(quote(wanted[i]) for i in kept)
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        as_text = mark == "?" and name == SPANS.name
        marks = [_AS_TEXT if as_text and wanted[i] == "content" else mark for i in kept]
        into, row = f"{quote(name)} ({columns})", f"({', '.join(marks)})"
        self._name, self._columns = name, [wanted[i] for i in kept]
        self._copy_sql = f"COPY {into} FROM STDIN"
        self._types: list[int] | None = None
        self._sql = f"INSERT INTO {into} VALUES {row}"  # noqa: S608
        self._missing_sql = self._sql + _UNLESS_THERE.get(connection.dialect.name, " ON CONFLICT DO NOTHING").format(
            column=quote(wanted[kept[0]])
        )
        self._block = PARAMETERS // len(kept)
        self._block_sql = f"INSERT INTO {into} VALUES {', '.join([row] * self._block)}"  # noqa: S608

    def write(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Write rows with the wanted columns."""
        picked = [self._pick(row) for row in rows] if self._pick else rows
        if connection.dialect.driver == "psycopg" and len(rows) >= ROWS_TO_COPY:
            self._copy(connection, picked)
        elif connection.dialect.name == SQLITE:
            self._in_blocks(connection, picked)
        else:
            connection.exec_driver_sql(self._sql, list(picked))

    def write_missing(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Write rows with the wanted columns, but for those whose key is there."""
        picked = [self._pick(row) for row in rows] if self._pick else list(rows)
        connection.exec_driver_sql(self._missing_sql, picked)

    def write_histories(self, connection: Connection, records: Iterator[MetricHistory]) -> None:
        """For the table `metrics`."""
        if connection.dialect.driver == "psycopg" and self._types_in(connection) == list(TYPES.values()):
            copy_histories(connection, records)
        else:
            for rows in batches(chain.from_iterable(map(history_rows, records)), ROWS_AT_ONCE):
                self.write(connection, rows)

    def _in_blocks(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Many rows a statement: for SQLite twice as fast as one by one."""
        whole = len(rows) - len(rows) % self._block
        blocks = [tuple(chain.from_iterable(rows[i : i + self._block])) for i in range(0, whole, self._block)]
        if blocks:
            connection.exec_driver_sql(self._block_sql, blocks)
        if rows[whole:]:
            connection.exec_driver_sql(self._sql, list(rows[whole:]))

    def _copy(self, connection: Connection, rows: Sequence[Row]) -> None:
        """PostgreSQL's own bulk path, three to six times as fast as inserts; SQLAlchemy does not know it."""
        types = self._types_in(connection)
        binary = _BINARY.issuperset(types)
        statement = self._copy_sql + " (FORMAT BINARY)" * binary
        with (
            driver_errors(connection, statement),
            psycopg_of(connection).cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            if binary:
                copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def _types_in(self, connection: Connection) -> list[int]:
        if self._types is None:
            self._types = _types(connection, self._name, self._columns)
        return self._types


_BINARY = {16, 20, 25, 701, 1043}
"""The types bool, int8, text, float8 and varchar (`pg_type.oid`), which psycopg writes in PostgreSQL's binary format
as they are, or refuses. It cuts the high bits off an int4 that is too big (psycopg 3.3): other tables go as text."""


def _types(connection: Connection, table: str, columns: list[str]) -> list[int]:
    """PostgreSQL's numbers of the columns' types, which its binary format does not say."""
    query = "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0"
    found = {row.attname: row.atttypid for row in connection.execute(sa.text(query), {"table": table})}
    return [found[column] for column in columns]


_COUNTER = """
SELECT coalesce(pg_get_serial_sequence('experiments', 'experiment_id'), (
    SELECT refobjid::regclass::text FROM pg_attrdef
    JOIN pg_depend ON pg_depend.classid = 'pg_attrdef'::regclass AND pg_depend.objid = pg_attrdef.oid
    JOIN pg_class ON pg_class.oid = refobjid AND refclassid = 'pg_class'::regclass AND relkind = 'S'
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = to_regclass('experiments') AND attname = 'experiment_id'
))
"""
"""The sequence that gives experiments their ids: the column's own, else the one that its default names."""


def raise_experiment_counter(connection: Connection) -> str:
    """Have the next `create_experiment` take an id after all that are there; what a person should know, or nothing.

    SQLite counts from the highest id, MySQL's counter follows inserts; only PostgreSQL's sequence has to be told.
    """
    if connection.dialect.name != "postgresql":
        return ""
    highest = connection.execute(sa.text("SELECT max(experiment_id) FROM experiments")).scalar() or 0
    sequence = connection.execute(sa.text(_COUNTER)).scalar()
    if sequence is None:
        return (
            "experiments.experiment_id has no sequence in the target: MLflow can't create experiments there until "
            f"its default is one that begins at {highest + 1}"
        )
    last, called = connection.execute(sa.text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
    if highest > last or (highest == last and not called):
        connection.execute(sa.select(sa.func.setval(sequence, highest)))
    return ""
