"""Rewrites the artifact locations of a store in its database: one statement a column, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.progress import Progress
from mlmeta.redaction import cut
from mlmeta.schema import ROWS
from mlmeta.stores.rewrite import Example, Located, Pairs, Rewriter, Survey, is_nested, root_of, shown_location
from mlmeta.stores.sql.database import MYSQL, POSTGRESQL, SQLITE, parse, reading_still
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.limits import ColumnLimit, limits_of
from mlmeta.stores.sql.queries import any_text
from mlmeta.stores.sql.tables import DATASET_TABLE, TABLES
from mlmeta.stores.sql.writing import writing

_AT_ONCE = 5000
"""Locations that are fetched together."""
_EXAMPLES = 3
_LONGEST = 500
"""Characters of a location that is shown."""
_NUMBERS = 1 << 64
_TEXT = sa.Text()


@dataclass(frozen=True)
class Place:
    """A column that holds locations.

    Args:
        kind: of record, as `Located` has it.
        field: likewise.
        table: of MLflow's.
        column: of that table.
        tag: a column and what it must say, where only some rows are meant.
    """

    kind: str
    field: str
    table: str
    column: str
    tag: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """As `Located` has it."""
        return f"{self.kind}.{self.field}"


def places() -> Iterator[Place]:
    """All columns that hold locations, as the kinds of record tell."""
    for table in TABLES.values():
        kind = table.kind
        for column in table.fields:
            if column.field in kind.locations:
                yield Place(kind.counted_as, column.field, table.name, column.name)
        for pairs in table.pairs:
            for tag in kind.location_tags if pairs.field == "tags" else ():
                yield Place(kind.counted_as, tag, pairs.name, pairs.value, (pairs.key, tag))
    for name, columns in ROWS.location_columns.items():
        for one in columns:
            yield Place(name, one, name, one)


class SqlLocations:
    """The locations in a database of MLflow's, whatever revision its schema has.

    Args:
        uri: ``sqlite:///…``, ``postgresql://…`` or ``mysql://…``, as MLflow takes it.

    Raises:
        UsageError: the URI is not valid, or its driver is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._database = parse(uri)

    def survey(self, pairs: Pairs, progress: Progress) -> Survey:
        """See `Locations.survey`."""
        progress.phase("looking at all locations")
        with reading_still(self._database) as still, any_text(still.connection):
            connection = still.connection
            tables = Tables(connection, self._database.shown)
            limits, others = limits_of(connection), Counter[str]()
            rewriter = Rewriter(pairs, settles=True)
            located = []
            for place in _there(tables):
                counting = _Counting(rewriter, limits.column(place.table, place.column))
                for batch in _fetched(connection, _all(tables, place, connection)):
                    counting.take(batch, others)
                    progress.advance("locations", len(batch))
                located.append(counting.result(place))
            mentions = _mentions(connection, tables, pairs)
        return Survey(
            target=self._database.shown,
            located=tuple(one for one in located if one.total),
            others=dict(others.most_common()),
            mentions=mentions,
            unused=rewriter.unused,
        )

    def rewrite(self, pairs: Pairs, progress: Progress) -> dict[str, int]:
        """See `Locations.rewrite`."""
        progress.phase("rewriting locations")
        changed = {}
        with writing(self._database, progress) as connection, self._database.errors():
            tables = Tables(connection, self._database.shown)
            for place in _there(tables):
                count = connection.execute(_statement(tables, place, pairs, connection.dialect.name)).rowcount
                progress.advance("locations", count)
                if count:
                    changed[place.name] = count
        return changed


class _Counting:
    """Counts the locations of a column."""

    def __init__(self, rewriter: Rewriter, limit: ColumnLimit) -> None:
        self._rewriter = rewriter
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._problem = ""
        self._examples: list[Example] = []
        self._found = self._wanted = 0

    def take(self, locations: Sequence[str], others: Counter[str]) -> None:
        """Count some; those that begin with something else are counted by that as well."""
        for old in locations:
            new = self._rewriter.preview(old) or ""
            self._rewriter.use(old)
            self._found += hash(old)
            self._wanted += hash(new)
            if new != old:
                self._match(old, new)
            elif self._rewriter.is_settled(old):
                self._counts["settled"] += 1
            else:
                others[root_of(old)] += 1
        self._counts["total"] += len(locations)

    def _match(self, old: str, new: str) -> None:
        self._counts["matching"] += 1
        self._counts["again"] += self._rewriter.preview(new) != new
        if len(self._examples) < _EXAMPLES:
            self._examples.append(Example(old=_shown(old), new=_shown(new)))
        if why := self._limit.problem(new):
            self._counts["unfit"] += 1
            self._problem = self._problem or f"{_shown(new)} {why}"

    def result(self, place: Place) -> Located:
        """What came of it."""
        return Located(
            kind=place.kind,
            field=place.field,
            **self._counts,
            problem=self._problem,
            examples=tuple(self._examples),
            found=self._found % _NUMBERS,
            wanted=self._wanted % _NUMBERS,
        )


def _shown(location: str) -> str:
    return cut(shown_location(location), _LONGEST)


def _there(tables: Tables) -> Iterator[Place]:
    """The places that a database has: older ones lack some."""
    return (one for one in places() if one.table in tables and one.column in tables[one.table].c)


def _meant(tables: Tables, place: Place, dialect: str) -> ColumnElement[bool]:
    """The condition for rows that have a location."""
    columns = tables[place.table].c
    column = columns[place.column]
    found = [column != ""]  # which NULL is not, either
    if dialect == SQLITE:
        found.append(sa.func.typeof(column) == "text")
    if place.tag is not None:
        found.append(columns[place.tag[0]] == place.tag[1])
    return sa.and_(*found)


def _all(tables: Tables, place: Place, connection: Connection) -> sa.Select[Any]:
    column = tables[place.table].c[place.column]
    return sa.select(column).where(_meant(tables, place, connection.dialect.name))


def _fetched(connection: Connection, query: sa.Select[Any]) -> Iterator[list[str]]:
    options = {} if connection.dialect.name == SQLITE else {"stream_results": True, "max_row_buffer": _AT_ONCE}
    result = connection.execute(query, execution_options=options)
    while rows := result.fetchmany(_AT_ONCE):
        yield [_text(value) for (value,) in rows]


def _text(value: str | bytes) -> str:
    """A location; its bytes, where they are not UTF-8, as Python has such file names."""
    return value if isinstance(value, str) else value.decode(errors="surrogateescape")


def _mentions(connection: Connection, tables: Tables, pairs: Pairs) -> int:
    if DATASET_TABLE.name not in tables:
        return 0
    table = tables[DATASET_TABLE.name]
    named = sa.or_(*(table.c.dataset_source.contains(old, autoescape=True) for old, _ in pairs))
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(named)).scalar_one()


def _statement(tables: Tables, place: Place, pairs: Pairs, dialect: str) -> sa.Update:
    """What rewrites a column, as `Rewriter` does it: the first pair whose old prefix a location begins with."""
    table = tables[place.table]
    column: ColumnElement[Any] = sa.type_coerce(table.c[place.column], _TEXT)
    whens: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = []
    changes: list[ColumnElement[bool]] = []
    for old, new in pairs:
        begins = _begins(column, old, dialect)
        moved = sa.literal(new, _TEXT) + sa.func.substr(column, len(old) + 1, type_=_TEXT)
        if is_nested(old, new):
            settled = _begins(column, new, dialect)
            whens.append((sa.and_(begins, settled), column))
            changes.append(sa.and_(begins, sa.not_(settled)))
        else:
            changes.append(begins)
        whens.append((begins, moved))
    meant = sa.and_(_meant(tables, place, dialect), sa.or_(*changes))
    return sa.update(table).values({place.column: sa.case(*whens, else_=column)}).where(meant)


def _begins(column: ColumnElement[Any], prefix: str, dialect: str) -> ColumnElement[bool]:
    """The condition that a location begins with a prefix, to the letter, which ends there or at a slash."""
    if prefix.endswith("/"):
        return _same(sa.func.substr(column, 1, len(prefix), type_=_TEXT), prefix, dialect)
    head = sa.func.substr(column, 1, len(prefix) + 1, type_=_TEXT)
    return sa.or_(_same(column, prefix, dialect), _same(head, f"{prefix}/", dialect))


def _same(value: ColumnElement[Any], text: str, dialect: str) -> ColumnElement[bool]:
    """The condition that two texts have the same characters, whatever a column's collation calls equal."""
    if dialect == MYSQL:
        unicode = sa.func.convert(value.op("USING")(sa.literal_column("utf8mb4")))
        return sa.cast(unicode, sa.LargeBinary) == sa.literal(text.encode(), sa.LargeBinary)
    return value.collate("C") == text if dialect == POSTGRESQL else value == text
