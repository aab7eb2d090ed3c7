"""Which part of a store or snapshot is meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """A part of a store or snapshot.

    Args:
        experiments: names; empty: all. A limited selection has the models with a version from one of their runs.
        runs: whether experiments and runs are meant.
        models: whether the model registry is meant.
    """

    experiments: tuple[str, ...] = ()
    runs: bool = True
    models: bool = True
