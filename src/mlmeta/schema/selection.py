"""Which part of a store or snapshot is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlmeta.schema.kind import GROUPS, Kind


@dataclass(frozen=True)
class Selection:
    """A part of a store or snapshot.

    Args:
        experiments: names, or the name of one; empty: all. A limited selection has the models with a version from one
            of their runs.
        only: groups of kinds, or one; empty: all. See `kind.GROUPS`.
        without: kinds or groups that are left out, or one, such as ``spans``.

    Raises:
        ValueError: there is no such group.
    """

    experiments: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("experiments", "only", "without"):
            object.__setattr__(self, name, several(getattr(self, name)))
        if unknown := set(self.only).difference(GROUPS):
            raise ValueError(f"there is no group {', '.join(map(repr, sorted(unknown)))}, only {', '.join(GROUPS)}")

    def means(self, kind: Kind[Any]) -> bool:
        """Whether records of a kind are meant at all: what follows others, only with these."""
        if kind.name in self.without or (kind.follows is not None and not self.means(kind.follows)):
            return False
        wanted = set(kind.groups).intersection(self.only or kind.groups)
        return not wanted <= set(self.without)


def several(values: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Some texts, of which one may stand by itself: its letters are not meant."""
    if isinstance(values, str | os.PathLike):
        return (os.fspath(values),)
    return tuple(os.fspath(value) for value in values)
