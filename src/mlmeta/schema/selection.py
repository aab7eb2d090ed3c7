"""Which part of a store or snapshot is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlmeta.schema.kind import Kind


@dataclass(frozen=True)
class Selection:
    """A part of a store or snapshot.

    Args:
        experiments: names, or the name of one; empty: all. A limited selection has the models with a version from one
            of their runs.
        runs: whether experiments and runs are meant.
        models: whether the model registry is meant.
    """

    experiments: tuple[str, ...] = ()
    runs: bool = True
    models: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "experiments", several(self.experiments))

    def means(self, kind: Kind[Any]) -> bool:
        """Whether records of a kind are meant at all."""
        return self.models if kind.in_registry else self.runs


def several(values: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Some texts, of which one may stand by itself: its letters are not meant."""
    if isinstance(values, str | os.PathLike):
        return (os.fspath(values),)
    return tuple(os.fspath(value) for value in values)
