"""Reads records from MLflow's tables, as `tables` describes them.

Records come in batches; the rows that belong to a batch are looked up by its keys, which every MLflow version has
indexed. So nothing has to be sorted but the records, and memory holds one batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema import Record, model_title
from mlmeta.stores.sql.database_tables import Tables, among, by_bytes, whole
from mlmeta.stores.sql.mapping import KindTable, Links, Pairs, Table, Values
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.queries import BATCH, any_text, batches, plain_rows_of, rows_of
from mlmeta.stores.sql.tables import TABLES

R = TypeVar("R", bound=Record)

FIRST_BATCH = 50
"""Records that are read before anything else can begin; each batch has twice as many, up to `BATCH`."""

Parts = dict[str, Mapping[Any, Any]]
"""By field, then by the key of the record: what is read from further tables."""


class Reader(Generic[R]):
    """Reads the records of one kind.

    Args:
        connection: in a transaction.
        tables: of that database.
        table: of the kind.
        within: the workspaces that are meant, as records have them; just one, where keys are names. Empty: all.
    """

    def __init__(
        self, connection: Connection, tables: Tables, table: KindTable[R], within: Sequence[str | None] = ()
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._table = table
        self._within = within
        self._dialect = connection.dialect.name

    def by_key(self, keys: Iterable[Any]) -> Iterator[R]:
        """Those of these records that exist, in the order of their keys."""
        for batch in batches(keys if self._table.name in self._tables else (), self._table.at_once):
            rows = {row[0]: row for row in self._rows(self._table, self._table.read_names, batch)}
            yield from self._records([rows[key] for key in batch if key in rows])

    def stream(self, experiments: Sequence[int] | None) -> Iterator[list[R]]:
        """Batches of records in the kind's order, deleted ones too.

        Args:
            experiments: ids of the experiments that are meant; None: all that are there.
        """
        for rows in self._in_order(self._table.read_names[: self._table.key], experiments):
            yield list(self.by_key(self._sound(row[0] for row in rows)))

    def count(self, experiments: Sequence[int] | None) -> int:
        """How many records `stream` would give."""
        table = self._tables[self._table.name]
        query = sa.select(sa.func.count()).select_from(table).where(self._meant(experiments))
        return int(self._connection.execute(query).scalar_one())

    def _in_order(self, columns: Sequence[str], experiments: Sequence[int] | None) -> Iterator[Sequence[Any]]:
        """Batches of rows of the kind's own table, in the kind's order."""
        if self._table.name not in self._tables:
            return
        query = sa.select(*self._tables.columns(self._table.name, *columns)).where(self._meant(experiments))
        query = query.order_by(*self._order())
        # A cursor in the server leaves the connection free for the look-ups; MySQL's would not.
        options = {"stream_results": True, "max_row_buffer": BATCH} if self._dialect == "postgresql" else {}
        with any_text(self._connection):
            result = self._connection.execute(query, execution_options=options)
        for size in _sizes():
            with any_text(self._connection):
                rows = result.fetchmany(size)
            if not rows:
                return
            yield rows

    def _order(self) -> Iterator[ColumnElement[Any]]:
        """Times as whole numbers, none of them last (or where the record has 0 for it); ids by bytes."""
        columns, fields = self._tables[self._table.name].c, {column.name: column for column in self._table.fields}
        *before, key = self._table.order or self._table.read_names[: self._table.key]
        for name in before:
            if fields[name].is_id:
                yield by_bytes(columns[name], self._dialect)
                continue
            if not fields[name].limited:
                yield columns[name]
                continue
            number, otherwise = whole(columns[name], self._dialect), fields[name].otherwise
            if otherwise is None:
                yield sa.case((number.is_(None), 1), else_=0)
            yield number if otherwise is None else sa.func.coalesce(number, otherwise)
        yield by_bytes(columns[key], self._dialect)

    def _meant(self, experiments: Sequence[int] | None) -> ColumnElement[bool]:
        """The condition for rows that belong to these experiments; None: to any that is there."""
        return self._meant_of(self._table, experiments)

    def _meant_of(self, table: KindTable[Any], experiments: Sequence[int] | None) -> ColumnElement[bool]:
        columns = self._tables[table.name].c
        if table.kind.owner is not None:
            owner = TABLES[table.kind.owner.name]
            key = owner.columns[0].name
            of_owner = sa.select(self._tables[owner.name].c[key])
            return columns[key].in_(of_owner.where(self._meant_of(owner, experiments)))
        if "experiment_id" not in columns:
            shown = self._tables.shown(table)
            linked = (self._linked(table, links, experiments) for links in table.links if experiments is not None)
            return sa.and_(shown, self._tables.within(table.name, self._within), *linked)
        if experiments is not None:
            return columns.experiment_id.in_(experiments)
        return columns.experiment_id.in_(sa.select(self._tables["experiments"].c.experiment_id))

    def _linked(self, table: KindTable[Any], links: Links, experiments: Sequence[int] | None) -> ColumnElement[bool]:
        """The condition for rows that are linked to one of some experiments."""
        columns = self._tables[links.name].c
        owners = sa.select(columns[links.owner]).where(self._tables.of_links(links))
        wanted = columns[links.other].in_([str(experiment) for experiment in experiments or ()])
        return self._tables[table.name].c[table.columns[0].name].in_(owners.where(wanted))

    def _sound(self, keys: Iterable[Any]) -> Iterator[str]:
        """The keys that are text; the others are named as lost."""
        for key in keys:
            if isinstance(key, str):
                yield key
            else:
                what = "name" if self._table.read_names[0] == "name" else "id"
                self._lost(shown(key), f"its {what} is not text, and it was not saved")

    def _name(self, key: Any) -> str:
        """What a message calls a record."""
        return model_title(str(key), self._within[0]) if self._table.key > 1 else str(key)

    def _lost(self, name: str, what: str) -> None:
        self._tables.oddities.lost(self._table.kind.one, name, what)

    def _records(self, rows: Sequence[Any]) -> Iterator[R]:
        """The records of rows of the kind's own table."""
        keys = [row[0] for row in rows]
        parts = self._parts(keys) if keys else {}
        for row in rows:
            own = {field: found[row[0]] for field, found in parts.items()}
            record = self._record(self._table, row, own, self._name(row[0]))
            if record is not None:
                yield record

    def _record(self, table: KindTable[Any], row: Sequence[Any], parts: Values, name: str) -> Any:
        """A record of its row and what belongs to it; None where it says nothing."""
        oddities, one = self._tables.oddities, self._table.kind.one
        values = table.values(row)
        for field, known, otherwise in table.states:
            values[field] = oddities.one_of(one, name, field, values[field], known, otherwise)
        values |= parts
        table.complete(values, oddities, name)
        instead = table.defaults | table.otherwise(values)
        return oddities.validated(table.kind.record, values, one, name, instead)

    def _parts(self, keys: Sequence[Any]) -> Parts:
        found: Parts = {pairs.field: self._pairs(pairs, keys, 1) for pairs in self._table.pairs}
        for field, table in self._table.parts.items():
            if table.name not in self._tables:  # of a newer MLflow
                found[field] = defaultdict(tuple)
            elif isinstance(table, KindTable):
                found[field] = self._part_records(table, keys)
            else:
                found[field] = self._part_rows(table, keys)
        for links in self._table.links:
            found[links.field] = self._linked_ids(links, keys)
        return found

    def _linked_ids(self, links: Links, keys: Sequence[Any]) -> Mapping[Any, tuple[Any, ...]]:
        """The ids that records have as tuples, by key."""
        found: dict[Any, list[Any]] = defaultdict(list)
        if links.name in self._tables:
            query = sa.select(*self._tables.columns(links.name, links.owner, links.other))
            owned = among(self._tables[links.name].c[links.owner], keys, self._dialect)
            for owner, other in rows_of(self._connection, query.where(owned, self._tables.of_links(links))):
                found[owner].append(other)
        return defaultdict(tuple, {key: tuple(ids) for key, ids in found.items()})

    def _pairs(self, pairs: Pairs, keys: Sequence[Any], width: int) -> Mapping[Any, dict[str, Any]]:
        """The maps of records by key: the first column, or a tuple of the first `width` ones."""
        found: dict[Any, dict[str, Any]] = defaultdict(dict)
        rows, is_text = self._rows(pairs, (*pairs.owner[:width], pairs.key, pairs.value), keys), pairs.text
        self._tables.read[pairs.name] += len(rows)
        if width > 1:
            for *owner, key, value in rows:
                found[tuple(owner)][key] = value or "" if is_text else value
        else:
            for one, key, value in rows:
                found[one][key] = value or "" if is_text else value
        return found

    def _part_rows(self, table: Table, keys: Sequence[Any]) -> Mapping[Any, tuple[Any, ...]]:
        """What becomes the parts of records, by key."""
        found: dict[Any, list[Values]] = defaultdict(list)
        for row in self._rows(table, table.read_names, keys):
            found[row[0]].append(table.values(row))
        return defaultdict(tuple, {key: tuple(values) for key, values in found.items()})

    def _part_records(self, table: KindTable[Any], keys: Sequence[Any]) -> Mapping[Any, tuple[Any, ...]]:
        """The parts of records that are records of a kind themselves: an odd one costs no other."""
        found: dict[Any, tuple[Any, ...]] = defaultdict(tuple)
        maps = {pairs.field: self._pairs(pairs, keys, table.key) for pairs in table.pairs}
        for row in self._rows(table, table.read_names, keys):
            key = tuple(row[: table.key])
            parts = {field: by_key[key] for field, by_key in maps.items()}
            name = f"{self._name(row[0])} {table.read_names[table.key - 1]} {shown(key[-1])}"
            record = self._record(table, row, parts, name)
            if record is not None:
                found[row[0]] += (record,)
        return found

    def _rows(self, table: Table | Pairs, columns: Sequence[str], keys: Sequence[Any]) -> Sequence[Any]:
        """The rows of a table that belong to records with these keys, and that MLflow shows."""
        if table.name not in self._tables:  # of a newer MLflow
            return ()
        query = sa.select(*self._tables.columns(table.name, *columns))
        owned = among(self._tables[table.name].c[columns[0]], keys, self._dialect)
        within = self._tables.within(table.name, self._within)
        return plain_rows_of(self._connection, query.where(owned, self._tables.shown(table), within))


def _sizes() -> Iterator[int]:
    size = FIRST_BATCH
    while True:
        yield size
        size = min(2 * size, BATCH)
