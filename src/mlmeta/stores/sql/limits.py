"""What the columns of a target hold, and which names they call equal: known before anything is written.

The database itself is asked: for its columns, and MySQL for what its collations make of names.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.stores.sql.database import MYSQL, POSTGRESQL
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.schema import blank_columns

_ENDLESS = 1 << 62


@dataclass(frozen=True)
class ColumnLimit:
    """One column of a target. The default is one that holds everything.

    Args:
        name: ``table.column``.
        characters: that a text may have.
        octets: that a text may take.
        codec: Python's name for the encoding of texts.
        highest: character that the encoding knows.
        narrow: why the encoding does not know all characters, and what would; empty: it does.
        nul: whether a text may have the character NUL.
        smallest: number.
        largest: number.
        collation: what calls texts equal that are not; None: nothing does.
    """

    name: str = ""
    characters: int = _ENDLESS
    octets: int = _ENDLESS
    codec: str = "utf-8"
    highest: str = "\U0010ffff"
    narrow: str = ""
    nul: bool = True
    smallest: int = -(1 << 63)
    largest: int = (1 << 63) - 1
    collation: Collation | None = None

    def problem(self, value: object) -> str:
        """Why the column can't hold a value, in words that follow "it"; empty: it can."""
        if isinstance(value, str):
            if value.isascii() and "\0" not in value and len(value) <= self.characters and len(value) <= self.octets:
                return ""
            return self._text_problem(value)
        if isinstance(value, int) and not self.smallest <= value <= self.largest:
            return f"has the number {value}; {self.name} holds {self.smallest} to {self.largest}"
        return ""

    def _text_problem(self, value: str) -> str:
        if len(value) > self.characters:
            return f"has {len(value):,} characters; {self.name} holds {self.characters:,}"
        if "\0" in value and not self.nul:
            return f"has a NUL character, which {self.name} can't hold"
        try:
            octets = len(value.encode(self.codec))
        except UnicodeEncodeError as error:
            return f"has the character {value[error.start]!r}, which {self.name} can't hold{self.narrow}"
        if octets > self.octets:
            return f"takes {octets:,} bytes; {self.name} holds {self.octets:,}"
        if value and max(value) > self.highest:
            return f"has the character {max(value)!r}, which {self.name} can't hold{self.narrow}"
        return ""


ANY = ColumnLimit()


class Limits:
    """What the tables of a target hold.

    Args:
        columns: by table and name; those that are missing hold everything.
    """

    def __init__(self, columns: Mapping[tuple[str, str], ColumnLimit] | None = None) -> None:
        self._columns = dict(columns or {})

    @property
    def are_any(self) -> bool:
        """Whether there is any limit."""
        return bool(self._columns)

    def column(self, table: str, name: str) -> ColumnLimit:
        """One column."""
        return self._columns.get((table, name), ANY)


def limits_of(connection: Connection) -> Limits:
    """The limits of a database that holds a store."""
    if connection.dialect.name == MYSQL:
        return Limits(_MysqlColumns(connection).there())
    if connection.dialect.name == POSTGRESQL:
        found = sa.inspect(connection).get_multi_columns().items()
        types = {(table, column["name"]): column["type"] for (_, table), columns in found for column in columns}
        return Limits(_postgresql_columns(connection, types))
    return Limits()


def limits_of_new(connection: Connection) -> Limits:
    """The limits that an empty database will have when MLflow has made its tables there."""
    if connection.dialect.name == MYSQL:
        return Limits(_MysqlColumns(connection).new(blank_columns()))
    if connection.dialect.name == POSTGRESQL:
        return Limits(_postgresql_columns(connection, blank_columns()))
    return Limits()


def _postgresql_columns(
    connection: Connection, types: Mapping[tuple[str, str], Any]
) -> dict[tuple[str, str], ColumnLimit]:
    encoding = str(connection.exec_driver_sql("SHOW server_encoding").scalar_one())
    codec = _codec(encoding.replace("WIN", "cp"))
    narrow = _narrow(encoding, "UTF8", "ENCODING 'UTF8'")
    found = {}
    for (table, name), kind in types.items():
        shown = f"{table}.{name}"
        if isinstance(kind, sa.String):
            most = kind.length or _ENDLESS
            octets = most if encoding == "SQL_ASCII" else _ENDLESS  # there, a byte counts as a character
            found[table, name] = ColumnLimit(
                shown, characters=most, octets=octets, codec=codec, narrow=narrow, nul=False
            )
        elif isinstance(kind, sa.Integer):
            found[table, name] = _integer(shown, _bits(kind))
    return found


def _narrow(encoding: str, whole: str, declared: str) -> str:
    return "" if encoding == whole else f" (it is {encoding}: in a database made with {declared} it could)"


def _bits(kind: sa.Integer) -> int:
    return 16 if isinstance(kind, sa.SmallInteger) else 64 if isinstance(kind, sa.BigInteger) else 32


def _integer(name: str, bits: int, *, unsigned: bool = False) -> ColumnLimit:
    half = 1 << bits - 1
    return (
        ColumnLimit(name, smallest=0, largest=2 * half - 1)
        if unsigned
        else ColumnLimit(name, smallest=-half, largest=half - 1)
    )


def _codec(name: str) -> str:
    """Python's name for an encoding; one that it does not know is not checked."""
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8"


_MYSQL_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_MYSQL_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252"}
_BMP = ("utf8mb3", "utf8", "ucs2")
"""Encodings of MySQL that know 65,536 characters."""

_PACKET_SPARE = 1 << 16
"""Bytes of a statement beside a value: a server takes both in one packet."""

_MYSQL_COLUMNS = """
SELECT table_name, column_name, data_type, column_type, character_maximum_length, character_octet_length,
character_set_name, collation_name FROM information_schema.columns WHERE table_schema = database()
"""


class _MysqlColumns:
    """Makes the columns of a MySQL database, with one `Collation` for all that have it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        packet = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        self._packet = int(packet) - _PACKET_SPARE
        self._collations: dict[str, Collation] = {}

    def there(self) -> dict[tuple[str, str], ColumnLimit]:
        """Those that are there."""
        found = {}
        for table, name, kind, declared, *text in self._connection.exec_driver_sql(_MYSQL_COLUMNS):
            shown = f"{table}.{name}"
            if text[-1] is not None:
                found[table, name] = self._text(shown, *text)
            elif kind in _MYSQL_BITS:
                found[table, name] = _integer(shown, _MYSQL_BITS[kind], unsigned="unsigned" in declared)
        return found

    def new(self, types: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], ColumnLimit]:
        """Those that MLflow will make; how long a TEXT may be is seen when it is there."""
        query = "SELECT @@character_set_database, @@collation_database"
        charset, collation = self._connection.exec_driver_sql(query).one()
        found = {}
        for (table, name), kind in types.items():
            shown = f"{table}.{name}"
            if isinstance(kind, sa.String):
                found[table, name] = self._text(shown, kind.length or _ENDLESS, _ENDLESS, charset, collation)
            elif isinstance(kind, sa.Integer):
                found[table, name] = _integer(shown, _bits(kind))
        return found

    def _text(self, name: str, characters: int, octets: int, charset: str, collation: str) -> ColumnLimit:
        if collation not in self._collations:
            self._collations[collation] = Collation(self._connection, charset, collation)
        return ColumnLimit(
            name,
            characters=characters,
            octets=min(octets, self._packet),
            codec=_codec(_MYSQL_CODECS.get(charset, charset)),
            highest="\uffff" if charset in _BMP else "\U0010ffff",
            narrow=_narrow(charset, "utf8mb4", "CHARACTER SET utf8mb4"),
            collation=self._collations[collation],
        )


_LONGEST = 512
"""Characters: longer than any column that names are kept in."""

_REMEMBERED = 100_000

V = TypeVar("V")


class Collation:
    """A collation of MySQL. Two texts are equal to it where their weights are.

    Args:
        connection: to a database that has it.
        charset: of the texts.
        name: of the collation.
    """

    def __init__(self, connection: Connection, charset: str, name: str) -> None:
        self._connection = connection
        self._charset = charset
        self.name = name
        self._known: dict[str, str] = {}

    def weights(self, names: Sequence[str]) -> list[str]:
        """A text for each name, the same for those that are equal."""
        if new := [name for name in dict.fromkeys(names) if name not in self._known]:
            if len(self._known) + len(new) > _REMEMBERED:
                self._known.clear()
                new = list(dict.fromkeys(names))
            for batch in batches(new):
                self._known.update(zip(batch, self._asked(batch), strict=True))
        return [self._known[name] for name in names]

    def equal(self, names: Iterable[str]) -> dict[str, str]:
        """The names that are equal to an earlier one, each with that one."""
        first: dict[str, str] = {}
        found = {}
        names = list(names)
        for name, weight in zip(names, self.weights(names), strict=True):
            if (other := first.setdefault(weight, name)) != name:
                found[name] = other
        return found

    def _asked(self, names: Sequence[str]) -> Sequence[str]:
        padded = f" AS CHAR({_LONGEST})" if self._pads else ""
        columns = [
            sa.text(f"SHA2(WEIGHT_STRING({self._text(f':n{number}')}{padded}), 256)").bindparams(**{f"n{number}": name})
            for number, name in enumerate(names)
        ]
        return list(self._connection.execute(sa.select(*columns)).one())

    @cached_property
    def _pads(self) -> bool:
        """Whether blanks at the end don't count."""
        query = sa.text(f"SELECT {self._text(':one')} = {self._text(':other')}")
        return bool(self._connection.execute(query, {"one": "a", "other": "a "}).scalar())

    def _text(self, value: str) -> str:
        quote = self._connection.dialect.identifier_preparer.quote
        return f"CONVERT({value} USING {quote(self._charset)}) COLLATE {quote(self.name)}"


class Names(Generic[V]):
    """A map by name, in which names that a column calls equal are one.

    Args:
        collation: of the column; None: only what has the same characters is equal.
    """

    def __init__(self, collation: Collation | None) -> None:
        self._collation = collation
        self._values: dict[str, V] = {}

    def update(self, items: Iterable[tuple[str, V]]) -> None:
        """Put many in."""
        items = list(items)
        self._values.update(zip(self._keys([name for name, _ in items]), (value for _, value in items), strict=True))

    def get(self, name: str, default: V | None = None) -> V | None:
        """What is there under a name."""
        return self._values.get(self._keys([name])[0], default)

    def pop(self, name: str) -> None:
        """Take a name out, where it is there."""
        self._values.pop(self._keys([name])[0], None)

    def __contains__(self, name: str) -> bool:
        return self._keys([name])[0] in self._values

    def __getitem__(self, name: str) -> V:
        return self._values[self._keys([name])[0]]

    def __setitem__(self, name: str, value: V) -> None:
        self._values[self._keys([name])[0]] = value

    def _keys(self, names: Sequence[str]) -> Sequence[str]:
        return names if self._collation is None else self._collation.weights(names)
