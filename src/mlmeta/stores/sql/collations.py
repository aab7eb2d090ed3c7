"""Which names a collation of MySQL calls equal: the database itself is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.stores.sql.queries import batches

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
