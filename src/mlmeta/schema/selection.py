"""Which part of a store or snapshot is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from mlmeta.errors import UsageError
from mlmeta.schema.kind import DEFAULT_WORKSPACE, GROUPS, Kind

Names = str | Iterable[str]
"""A name, or several."""


@dataclass(frozen=True, init=False)
class Selection:
    """A part of a store or snapshot.

    Args:
        experiments: names, or the name of one; empty: all. A limited selection has the models with a version from one
            of their runs.
        only: groups of kinds, or one; empty: all. See `kind.GROUPS`.
        without: kinds or groups that are left out, or one, such as ``spans``.
        workspaces: names, or the name of one, ``default`` for what is in none; empty: all.
        tables: names of tables of a database, or the name of one, whose rows are meant though nothing tells that they
            are MLflow's.
        auth: whether users and permissions of basic-auth are meant as well: only on request.
        runs: ids of runs, or the beginnings of some, or one: nothing but these, and what they need. See
            `snapshot.picked`.
        models: registered models, or one, as ``NAME``, ``NAME@ALIAS`` or ``NAME/VERSION``: likewise.
        children: whether runs that are nested in `runs` are meant as well.

    Raises:
        UsageError: there is no such group.
    """

    experiments: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    auth: bool = False
    runs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    children: bool = False

    def __init__(  # noqa: PLR0913 - each is a way to say what is meant
        self,
        experiments: Names = (),
        only: Names = (),
        without: Names = (),
        workspaces: Names = (),
        tables: Names = (),
        *,
        auth: bool = False,
        runs: Names = (),
        models: Names = (),
        children: bool = False,
    ) -> None:
        values = (*map(several, (experiments, only, without, workspaces, tables)), auth)
        values = (*values, several(runs), several(models), children)
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)
        if unknown := set(self.only).difference(GROUPS):
            raise UsageError(
                f"there is no group {', '.join(map(repr, sorted(unknown)))}", hint=f"there are {', '.join(GROUPS)}"
            )

    @property
    def is_limited(self) -> bool:
        """Whether some experiments are meant, and not all."""
        return bool(self.experiments or self.workspaces or self.names_records)

    @property
    def names_records(self) -> bool:
        """Whether single records are meant, and what they need."""
        return bool(self.runs or self.models)

    @property
    def meant_workspaces(self) -> tuple[str | None, ...]:
        """The workspaces that are meant, as records have them; empty: all."""
        return tuple(None if name == DEFAULT_WORKSPACE else name for name in self.workspaces)

    def has_workspace(self, workspace: str | None) -> bool:
        """Whether a workspace is meant, which is as a record has it."""
        return not self.workspaces or (workspace or DEFAULT_WORKSPACE) in self.workspaces

    def has_experiment(self, name: str) -> bool:
        """Whether experiments of a name are meant, in whatever workspace that is meant."""
        return not self.experiments or name in self.experiments

    def means(self, kind: Kind[Any]) -> bool:
        """Whether records of a kind are meant at all: what follows others, only with these."""
        if kind.on_request and (not self.auth or self.names_records):
            return False
        if kind.name in self.without or (kind.follows is not None and not self.means(kind.follows)):
            return False
        wanted = set(kind.groups).intersection(self.only or kind.groups)
        return not wanted <= set(self.without)


def several(values: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Some texts, of which one may stand by itself: its letters are not meant."""
    if isinstance(values, str | os.PathLike):
        return (os.fspath(values),)
    return tuple(os.fspath(value) for value in values)
