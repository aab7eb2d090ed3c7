"""A store together with the database of basic-auth: as a source, and as a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Protocol

from mlmeta.errors import ConflictError, MlmetaError, RestoreError, UsageError
from mlmeta.progress import Progress
from mlmeta.schema import AUTH, AUTH_GROUP, EXPERIMENTS, Selection, Skipped
from mlmeta.snapshot.compare import Pair
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.base import Base
from mlmeta.stores.source import AuthInfo, Source, SourceItem
from mlmeta.stores.target import Plan, Refusal, Report, Target


class AuthReader(Protocol):
    """A database of basic-auth to read from."""

    @property
    def info(self) -> AuthInfo:
        """What it says of itself."""

    def read(self, progress: Progress) -> Iterator[SourceItem]:
        """All its rows, as a stream."""

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the last `read`."""


class AuthWriter(Protocol):
    """A database of basic-auth to write into; see `Target`."""

    def plan(self, snapshot: Snapshot, without: Set[str] = frozenset()) -> Plan:
        """Look at it and say what a restore would do.

        Args:
            snapshot: what to restore.
            without: ids of experiments of the snapshot that are not restored: nobody is let into what has their ids.
        """

    def restore(self, snapshot: Snapshot, progress: Progress, without: Set[str] = frozenset()) -> Report:
        """Write what is missing; never overwrite, never delete what was there. `without`: see `plan`."""

    def read_back(self, snapshot: Snapshot) -> Iterator[Pair]:
        """Each row that was to be restored beside what is there of it now."""


class SourceWithAuth:
    """A store whose users and permissions are in a database of their own.

    Args:
        store: all the rest.
        auth: that database.
    """

    def __init__(self, store: Source, auth: AuthReader) -> None:
        self._store = store
        self._auth = auth
        self.info = replace(store.info, auth=auth.info, point_in_time=False)

    def experiment_names(self) -> set[tuple[str | None, str]]:
        """See `Source.experiment_names`."""
        return self._store.experiment_names()

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """See `Source.read`."""
        yield from self._store.read(selection, progress, base)
        if selection.means(AUTH):
            yield from self._auth.read(progress)

    def warnings(self) -> tuple[str, ...]:
        """See `Source.warnings`."""
        return (*self._store.warnings(), *self._auth.warnings())

    def close(self) -> None:
        """See `Source.close`."""
        self._store.close()


class TargetWithAuth:
    """A store to restore into, and the database of basic-auth.

    Args:
        store: takes all the rest; None: nothing else is meant.
        auth: takes users and permissions.
        stops: whether nothing at all is written where something is in conflict.
    """

    def __init__(self, store: Target | None, auth: AuthWriter, *, stops: bool) -> None:
        self._store = store
        self._auth = auth
        self._stops = stops

    @property
    def unkept(self) -> tuple[str, ...]:
        """See `Target.unkept`."""
        return self._store.unkept if self._store is not None else ()

    def has_content(self) -> bool:
        """See `Target.has_content`."""
        return self._store is not None and self._store.has_content()

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """See `Target.plan`.

        Raises:
            UsageError: experiments would get new ids, and permissions are given by id.
        """
        if self._store is None or not selection.means(AUTH):
            return self._auth.plan(snapshot) if self._store is None else self._store.plan(snapshot, selection, progress)
        first = self._store.plan(snapshot, selection, progress)
        if not first.keeps_ids:
            raise UsageError(
                "permissions are given by the ids of experiments, and this restore gives these new ids: permissions "
                "would go to the wrong experiments; nothing was written",
                hint="restore into the server's database, which keeps ids, or leave out --auth-uri; "
                f"`--only {AUTH_GROUP}` restores users and permissions beside experiments that have their old ids",
            )
        second = self._auth.plan(snapshot, _left_out(snapshot, (*first.conflicts, *first.refused)))
        return first.model_copy(
            update={
                "target": f"{first.target} and {second.target}",
                "create": _sum(first.create, second.create),
                "present": _sum(first.present, second.present),
                "conflicts": (*first.conflicts, *second.conflicts),
                "refused": (*first.refused, *second.refused),
                "notes": (*first.notes, *second.notes),
            }
        )

    def restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        """See `Target.restore`. Users and permissions come last, each of the two in one transaction.

        Raises:
            ConflictError: something stands in the way in one of the two: nothing was written into either.
            RestoreError: all but users and permissions was written.
        """
        if self._store is None:
            return self._auth.restore(snapshot, progress)
        if not selection.means(AUTH):
            return self._store.restore(snapshot, selection, progress)
        if self._stops and (conflicts := self._auth.plan(snapshot).conflicts):
            raise ConflictError(
                f"the database of basic-auth holds other data under the same id or name ({conflicts[0].id}: "
                f"{conflicts[0].reason}); nothing was written",
                hint="`--dry-run` names them all; restore into an empty database, or see `--on-conflict`",
            )
        first = self._store.restore(snapshot, selection, progress)
        try:
            second = self._auth.restore(snapshot, progress, _left_out(snapshot, first.refused))
        except MlmetaError as error:
            raise RestoreError(
                f"all but users and permissions was restored; these were not: {error}",
                hint=f"{error.hint}; the same command then goes on from there",
            ) from error
        return first.model_copy(
            update={
                "created": _sum(first.created, second.created),
                "present": _sum(first.present, second.present),
                "refused": (*first.refused, *second.refused),
                "notes": (*first.notes, *second.notes),
                "existing": first.existing | second.existing,
            }
        )

    def read_back(self, snapshot: Snapshot, selection: Selection) -> Iterator[Pair | Skipped]:
        """See `Target.read_back`."""
        if self._store is not None:
            yield from self._store.read_back(snapshot, selection)
        if selection.means(AUTH):
            yield from self._auth.read_back(snapshot)

    def close(self) -> None:
        """See `Target.close`."""
        if self._store is not None:
            self._store.close()


def _left_out(snapshot: Snapshot, refused: Iterable[Refusal]) -> set[str]:
    """Ids of experiments that are not restored at all, such as those whose id belongs to another one in the target."""
    keys = {key for one in refused if not one.field for key in one.concerned}
    found = snapshot.records(EXPERIMENTS) if any(kind == EXPERIMENTS.one for kind, _ in keys) else ()
    return {one.experiment_id for one in found if (EXPERIMENTS.one, EXPERIMENTS.found_as(one)) in keys}


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(first) + Counter(second))
