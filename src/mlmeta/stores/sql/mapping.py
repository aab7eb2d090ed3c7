"""How records and rows of MLflow's tables become one another: what the description of a table can say.

`tables` has the descriptions. Whatever is derived from one is made once: reading or writing a row looks nothing up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import repeat
from operator import attrgetter
from typing import Any, Generic, TypeVar

from mlmeta.schema import Kind, Record
from mlmeta.stores.sql.oddities import Oddities

R = TypeVar("R", bound=Record)
Row = tuple[Any, ...]
Values = dict[str, Any]
"""The fields of a record to be."""

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: in the table.
        field: of the record that has its content; empty: none has.
        read: makes the field's value of the column's; None: they are the same.
        write: the other way.
        known: the values that MLflow knows, each with what a record has for it; None: any value.
        otherwise: what stands for a value that is not known, or that is off where a record can't be without.
        value: what is written where there is no field.
        limited: whether the values may be too much for a column; an experiment's id is looked at elsewhere.
        is_id: whether records are sorted by it as a text, and not as a number.
        made: what is written where the record has nothing, made of the whole record; None: nothing is.
        is_json: whether a text of JSON is written.
    """

    name: str
    field: str = ""
    read: Convert | None = None
    write: Convert | None = None
    known: Mapping[Any, str] | None = None
    otherwise: Any = None
    value: Any = None
    limited: bool = True
    is_id: bool = False
    made: Callable[[Any], Any] | None = None
    is_json: bool = False

    @property
    def shown_as(self) -> str:
        """The field's name in a snapshot: without the `_` that Python has behind a name that is taken."""
        return self.field.rstrip("_")


def plain(name: str, field: str = "", *, otherwise: Any = None) -> Column:
    """A column whose content a record has as it is."""
    return Column(name, field or name, otherwise=otherwise)


def optional(name: str, field: str = "") -> Column:
    """A column in which an empty text or 0 says that there is nothing, as over REST."""
    return Column(name, field or name, read=_or_none)


def filled(name: str, field: str = "") -> Column:
    """Like `optional`, and what there is nothing for has an empty text.

    Over NULL, MLflow's entities and protobuf messages stumble, and the whole experiment can't be listed any more
    (tried with 3.17).
    """
    return Column(name, field or name, read=_or_none, write=lambda value: value or "")


def defaulting(name: str, default: Any, field: str = "") -> Column:
    """A column that gets MLflow's default where a record has nothing: MLflow can't show it otherwise."""
    return Column(name, field or name, write=lambda value: value or default)


def one_of(name: str, known: Mapping[Any, str], otherwise: str, *, read: Convert | None = None) -> Column:
    """A column that takes only what MLflow knows."""
    back = {text: value for value, text in known.items()}
    return Column(
        name,
        name,
        read=read,
        write=None if back == known else back.__getitem__,
        known=known,
        otherwise=otherwise,
    )


def identifier(name: str) -> Column:
    """A column with an id by which records are sorted, beside the one that is their key."""
    return Column(name, name, is_id=True)


def of_json(name: str, *, read: Convert | None = None, write: Convert | None = None) -> Column:
    """A column of JSON; where it is NULL or holds ``null``, there is nothing.

    Args:
        name: of the column, and of the field.
        read: makes the field's value of what the JSON says.
        write: the other way.
    """
    if read is None or write is None:
        return Column(name, name, read=from_json, write=to_json, is_json=True)
    return Column(
        name, name, read=lambda text: read(from_json(text)), write=lambda value: to_json(write(value)), is_json=True
    )


def from_json(text: Any) -> Any:
    """What a column of JSON says; what is no JSON, as it is."""
    try:
        return json.loads(text) if isinstance(text, str | bytes) else text
    except (ValueError, RecursionError):
        return text


def to_json(value: Any) -> str | None:
    """The text for a column of JSON, as MLflow writes it."""
    return None if value is None else json.dumps(value)


def fixed(name: str, value: Any) -> Column:
    """A column that always gets the same."""
    return Column(name, value=value)


EXPERIMENT_ID = Column("experiment_id", "experiment_id", read=str, write=int, limited=False)


def _or_none(value: Any) -> Any:
    return value or None


@dataclass(frozen=True)
class Pairs:
    """A table of keys and values, which a record has as a map.

    Args:
        name: of the table.
        field: of the record.
        owner: the columns that say whose they are: the first of the record's own row.
        key: the column for keys.
        value: the column for values.
        text: whether values are texts, empty ones perhaps NULL.
    """

    name: str
    field: str
    owner: tuple[str, ...]
    key: str = "key"
    value: str = "value"
    text: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are written."""
        return (*self.owner, self.key, self.value)

    def rows(self, owner: Row, pairs: Mapping[str, Any]) -> Iterator[Row]:
        """The rows of a map, in the order of `names`.

        Args:
            owner: the row of the record that they belong to.
            pairs: the map.
        """
        front = map(repeat, owner[: len(self.owner)])
        return zip(*front, pairs, pairs.values(), strict=False)


@dataclass(frozen=True)
class Links:
    """Rows of a table of links that lead from a record to others, of which the record has the ids as a tuple.

    Args:
        name: of the table.
        field: of the record.
        owner: the column for the record's own id.
        other: the column for the ids of the others.
        types: columns that say what is linked to what, and what they say here: rows that say something else belong to
            others.
        rest: columns after these, and what makes their content of the record and an id.
    """

    name: str
    field: str
    owner: str
    other: str
    types: Mapping[str, str]
    rest: Mapping[str, Callable[[Any, str], Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are written."""
        return (self.owner, self.other, *self.types, *self.rest)

    def rows(self, owner: Row, record: Record) -> Iterator[Row]:
        """The rows of a record, in the order of `names`.

        Args:
            owner: the record's own row.
            record: whose ids they are.
        """
        for other in getattr(record, self.field):
            yield (owner[0], other, *self.types.values(), *(made(record, other) for made in self.rest.values()))


@dataclass(frozen=True, eq=False)
class Table:
    """A table with a row for each record, or for each of the parts of one.

    Args:
        name: of the table.
        columns: those that a record says something about, then those that always get the same.
        owner: columns before these, of the record that a row is a part of.
        looked_up: columns after these, whose content no record has: whoever writes them looks it up.
        also: columns that are read beside those of fields, for `KindTable.complete`.
    """

    name: str
    columns: tuple[Column, ...]
    owner: tuple[str, ...] = ()
    looked_up: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that are written."""
        return (*self.owner, *self.looked_up, *(column.name for column in self.columns))

    @cached_property
    def read_names(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.owner, *(column.name for column in self.fields), *self.also)

    @cached_property
    def fields(self) -> tuple[Column, ...]:
        """The columns that a record says something about."""
        return tuple(column for column in self.columns if column.field)

    @cached_property
    def states(self) -> tuple[tuple[str, Mapping[Any, str], str], ...]:
        """Fields that take only what MLflow knows, what that is, and what stands for anything else."""
        return tuple((c.field, c.known, c.otherwise) for c in self.fields if c.known is not None)

    @cached_property
    def values(self) -> Callable[[Sequence[Any]], Values]:
        """Makes the fields of a record of a row of `read_names`; `states` are still as they are in the row."""
        names = [*(column.shown_as for column in self.fields), *self.also]
        reads = [(column.shown_as, column.read) for column in self.fields if column.read is not None]
        start = len(self.owner)

        def values(row: Sequence[Any]) -> Values:
            found = dict(zip(names, row[start:] if start else row, strict=True))
            for name, read in reads:
                found[name] = read(found[name])
            return found

        return values

    @cached_property
    def row(self) -> Callable[..., Row]:
        """Makes a row of `names` of a record, and of what comes before its own columns: `owner`, then `looked_up`."""
        fields = attrgetter(*(column.field for column in self.fields))
        content = fields if len(self.fields) > 1 else lambda record: (fields(record),)
        start = len(self.owner) + len(self.looked_up)
        writes = [(start + i, column.write) for i, column in enumerate(self.columns) if column.write is not None]
        makes = [(start + i, column.made) for i, column in enumerate(self.columns) if column.made is not None]
        rest = [column.value for column in self.columns if not column.field]

        def row(record: Record, *owner: Any) -> Row:
            found = [*owner, *content(record), *rest]
            for place, write in writes:
                found[place] = write(found[place])
            for place, made in makes:
                found[place] = found[place] or made(record)
            return tuple(found)

        return row

    def all_columns(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The columns that are written, by table, in the order in which tables must be filled."""
        yield self.name, self.names


def _nothing_else(_: Any) -> Values:
    return {}


def _as_it_is(_values: Values, _oddities: Oddities, _name: str) -> None:
    pass


def _as_is(value: Any) -> Any:
    return value


def _through(write: Convert, read: Convert, value: Any) -> Any:
    return read(write(value))


@dataclass(frozen=True)
class Ending:
    """What tells which of two states of a record is the later one.

    Args:
        state: the field that says whether something still goes on.
        unfinished: what it says then.
        fields: those that come from the later one together, `state` among them.
        maps: maps whose keys, where both have one, come from the later one.
        time: the field with the time of the end; empty: there is none.
    """

    state: str
    unfinished: frozenset[str]
    fields: tuple[str, ...]
    maps: tuple[str, ...] = ()
    time: str = ""

    def rank(self, record: Record) -> tuple[bool, int, bool]:
        """What is higher for the later of two states.

        Without a time, one that has ended is later. What goes on and has a time was taken up again after that.
        """
        values = dict(record)
        goes_on, end = values[self.state] in self.unfinished, values[self.time] if self.time else None
        return end is not None, end or 0, goes_on is (end is not None)


@dataclass(frozen=True, eq=False, kw_only=True)
class KindTable(Table, Generic[R]):
    """The table of a kind of record, with the tables below it.

    Args:
        kind: of record.
        key: how many of the first columns identify a row.
        pairs: tables below it that a record has as maps.
        parts: tables below it that a record has as tuples of records, by field.
        links: rows of tables of links, which a record has as tuples of ids.
        at_once: how many records are looked up together.
        order: columns that the kind's order goes by, the key last; empty: just the key.
        hides: a column and its value in rows that MLflow keeps and shows to nobody.
        lasting: fields that MLflow never changes: where they differ, it is another record.
        identity: those of them that show another record even where two stores are merged.
        own: fields of which each of two stores may have its own of a record that both have by its name.
        ending: what tells which of two states of a record is the later one; None: nothing does.
        complete: puts values right that are told in another place, too, before they become a record.
        otherwise: what stands for values that are off where a record can't be without, beside the columns' own.
        settle: fields that get another value on the way into the table, beside what the columns say.
    """

    kind: Kind[R]
    key: int = 1
    pairs: tuple[Pairs, ...] = ()
    parts: Mapping[str, Table] = field(default_factory=dict)
    links: tuple[Links, ...] = ()
    at_once: int = 500
    order: tuple[str, ...] = ()
    hides: tuple[str, str] | None = None
    lasting: frozenset[str] = frozenset()
    identity: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    ending: Ending | None = None
    complete: Callable[[Values, Oddities, str], None] = _as_it_is
    otherwise: Callable[[Values], Values] = _nothing_else
    settle: Callable[[Any], Values] = _nothing_else

    @cached_property
    def defaults(self) -> Values:
        """What stands for values that are off where a record can't be without."""
        return {c.field: c.otherwise for c in self.fields if c.otherwise is not None}

    def rows(self, record: R, *owner: Any) -> Iterator[tuple[str, Iterator[Row]]]:
        """All rows of a record, by table, but for those that something has to be looked up for.

        Args:
            record: of this kind.
            owner: the key of the record that it is a part of.
        """
        row = self.row(record, *owner)
        yield self.name, iter((row,))
        yield from self._below(record, row)
        for links in self.links:
            yield links.name, links.rows(row, record)

    def rows_below(self, record: R) -> Iterator[tuple[str, Iterator[Row]]]:
        """The rows of a record but its own."""
        return self._below(record, self.row(record))

    def _below(self, record: R, row: Row) -> Iterator[tuple[str, Iterator[Row]]]:
        for pairs in self.pairs:
            if found := getattr(record, pairs.field):
                yield pairs.name, pairs.rows(row, found)
        for name, table in self.parts.items():
            if isinstance(table, KindTable):
                for part in getattr(record, name):
                    yield from table.rows(part, *row[: self.key])

    def row_key(self, record: R) -> Any:
        """The key of a record as the database has it."""
        column = self.fields[0]
        value = getattr(record, column.field)
        return value if column.write is None else column.write(value)

    @cached_property
    def _settling(self) -> tuple[tuple[str, Convert], ...]:
        """Fields that may get another value on the way into the table, and what makes it; JSON stays as it is."""
        written = (c for c in self.fields if c.limited and c.known is None and not c.is_json)
        both = ((c, c.read or _as_is, c.write) for c in written)
        return tuple((c.field, partial(_through, write, read)) for c, read, write in both if write is not None)

    def settled(self, record: R) -> Values:
        """The fields of a record that the table will hold with another value: MLflow's defaults, and what it lacks."""
        found: Values = {}
        for name, convert in self._settling:
            before = getattr(record, name)
            if (after := convert(before)) != before:
                found[name] = after
        for name in self.kind.untabled:
            if getattr(record, name) is not None:
                found[name] = None
        found.update(self.settle(record))
        return found

    def state_problem(self, record: R) -> str:
        """Why a record can't be held for a status or stage that MLflow does not know, in words that follow "it"."""
        for name, known, _ in self.states:
            if (value := getattr(record, name)) not in known.values():
                shown = ", ".join(sorted(known.values()))
                return f"has the {name.replace('_', ' ')} {value!r}; MLflow knows {shown}"
        return ""

    def all_columns(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The columns that are written, by table, in the order in which tables must be filled."""
        yield from super().all_columns()
        for pairs in self.pairs:
            yield pairs.name, pairs.names
        for table in self.parts.values():
            yield from table.all_columns()
        for links in self.links:
            yield links.name, links.names
