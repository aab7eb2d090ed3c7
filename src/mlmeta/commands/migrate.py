"""`mlmeta migrate`: a store into another one: backup, restore and proof."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.absent import meant, require_something
from mlmeta.commands.backup import BackupResult, backup
from mlmeta.commands.hashes import require_local
from mlmeta.commands.restore import RestoreResult, not_saved, restore
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import ExitCode, UsageError
from mlmeta.notebook import Row
from mlmeta.progress import Progress, Silent
from mlmeta.redaction import without_secrets
from mlmeta.schema import AUTH_GROUP, GROUPS, RUN_GROUP, Names, Selection, several
from mlmeta.schema.summary import Acceptance
from mlmeta.storage import Location, Locations, open_storage
from mlmeta.stores.opening import DATABASES, DEFAULT_JOBS, Store, open_target, registry_of, same_store
from mlmeta.stores.rewrite import Prefixes, pairs_of
from mlmeta.stores.target import Ids, OnConflict, Plan, RestoreOptions
from mlmeta.temporary import scratch_folder


class Move(BaseModel):
    """What a migration is about to do; nothing has been written into the target.

    Args:
        saved: what was read of the source, and what could not be.
        plan: what would be done in the target.
        storages: where the snapshot stays; none: it is thrown away.
        limits: what was asked for, by option, such as ``--experiment``; empty: all is moved.
        accepted: words for what may be missing in the target.
    """

    model_config = ConfigDict(frozen=True)

    saved: BackupResult
    plan: Plan
    storages: tuple[str, ...]
    limits: dict[str, tuple[str, ...]] = {}
    accepted: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[Issue, ...]:
        """What the source has and the target would not get."""
        refused = Acceptance(self.accepted).gaps(self.plan.refused)
        named = (Issue(code=one.code, message=f"{one.kind} {one.id}: {one.reason}", hint=one.hint) for one in refused)
        return (*self.saved.issues, *named)

    @property
    def adds(self) -> bool:
        """Whether anything would be written at all."""
        return any((*self.plan.create.values(), *self.plan.undelete.values(), *self.plan.merged.values()))


Confirm = Callable[[Move], None]
"""Shown what is about to be done, before anything is written into the target; raises to stop."""


class MigrateResult(Result):
    """What was moved, and the proof of it.

    Args:
        source: where from, without credentials.
        target: where to, likewise.
        storages: where the snapshot is now; none: it was thrown away.
        backup: of the source.
        restore: into the target, with its proof.
        limits: what was asked for, by option, such as ``--experiment``; empty: all was moved.
        seconds: how long all of it took.
        dry_run: whether nothing was to be written.
    """

    source: str
    target: str
    storages: tuple[str, ...] = ()
    backup: BackupResult
    restore: RestoreResult
    limits: dict[str, tuple[str, ...]] = {}
    seconds: float
    dry_run: bool = False

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What could not be read, what the target does not take, and what it gives back differently."""
        return (*self.backup.issues, *self.restore.issues)

    @property
    def headline(self) -> str:
        """From where, and what the restore did."""
        return f"{self.source}: {self.restore.headline}"

    def entries(self) -> Iterable[Row]:
        """As of the restore."""
        return self.restore.entries()

    @property
    def exit_code(self) -> ExitCode:
        """`FAILED` where something stands in the way, `DIFFERENT` where the proof failed, `INCOMPLETE` for losses."""
        codes = (self.backup.exit_code, self.restore.exit_code)
        return ExitCode.FAILED if ExitCode.FAILED in codes else max(codes)


def migrate(
    source: Location,
    target: Location,
    storages: Locations = (),
    *,
    selection: Selection | None = None,
    registry_uri: Location | None = None,
    to_registry_uri: Location | None = None,
    auth_uri: str = "",
    to_auth_uri: str = "",
    include_password_hashes: bool = False,
    jobs: int = DEFAULT_JOBS,
    compress: bool = False,
    label: str = "",
    ids: Ids = "",
    on_conflict: OnConflict = "fail",
    undelete: bool = False,
    rewrite: Prefixes = (),
    accept: Names = (),
    dry_run: bool = False,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
) -> MigrateResult:
    """Move a store into another one: back it up, restore the snapshot, read the target back and compare.

    The source is only read. The target is added to, as by a restore: nothing there is overwritten or deleted. Run
    again, it adds what is missing.

    Args:
        source: the MLflow server or store to read; a file store as well.
        target: the server or database to write into.
        storages: where the snapshot stays; none: in a temporary folder, which goes however this ends. Where the
            newest one there has the same content, that one is used.
        selection: which part of the source; None: all. `auth` in it follows from `auth_uri`.
        registry_uri: of the source's model registry; None: as MLflow resolves it.
        to_registry_uri: of the target's; None: the target itself.
        auth_uri: of the source's database of basic-auth; see `backup`.
        to_auth_uri: of the target's; either both or none.
        include_password_hashes: whether these may go into a bucket.
        jobs: requests under way at once.
        compress: gzip the snapshot's files.
        label: a name for the source; see `backup`.
        ids: see `restore`; so `on_conflict`, `undelete` and `rewrite`.
        on_conflict: what to do about other data under the same id or name.
        undelete: make active again what the source has active and the target has deleted.
        rewrite: prefixes of artifact locations, and what to put in their place.
        accept: kinds of things that need not arrive; see `backup` and `restore`.
        dry_run: read everything and look at the target; write nothing, not even a snapshot.
        confirm: shown the plan before anything is written into the target; raises to stop.
        progress: told how far it is.

    Raises:
        UsageError: source and target are the same store, or an option does not fit them.
        ConnectionFailedError: one of the two can't be used.
        RestoreError: the target can't take it.
    """
    began = time.monotonic()
    progress = progress or Silent()
    chosen = meant(selection)
    source, target, pairs = os.fspath(source), os.fspath(target), pairs_of(rewrite)
    _must_differ(source, target)
    only_auth = chosen.only == (AUTH_GROUP,)
    _must_have_both(auth_uri, to_auth_uri, only_auth=only_auth)
    places = tuple(open_storage(place).location for place in several(storages))
    if auth_uri and not include_password_hashes:
        require_local(places, "--auth-uri")
    left_out, limits = _left_out(chosen), _limits(chosen)
    require_something(Selection(chosen.experiments, chosen.only, chosen.without))
    there = Store(target, registry_of(to_registry_uri) or target, jobs, auth_uri=to_auth_uri)
    _must_be_usable(there, RestoreOptions(ids, on_conflict, pairs, undelete), only_auth=only_auth)
    with _kept_or_not(() if dry_run else places) as kept:
        saved = backup(
            source,
            kept,
            experiments=chosen.experiments,
            workspaces=chosen.workspaces,
            without=left_out,
            tables=chosen.tables,
            registry_uri=registry_uri,
            auth_uri=auth_uri,
            include_password_hashes=include_password_hashes,
            jobs=jobs,
            compress=compress,
            if_changed=bool(places) and not dry_run,
            label=label,
            accept=accept,
            progress=progress,
        )
        timestamp = saved.timestamp or saved.unchanged_since
        where = (saved.storages or kept)[0]
        saved = saved if places and not dry_run else saved.model_copy(update={"storages": (), "dry_run": dry_run})
        in_places = (saved.storages or places) if not dry_run else ()
        restored = restore(
            target,
            timestamp,
            where,
            selection=Selection(only=chosen.only, without=chosen.without, tables=chosen.tables),
            registry_uri=there.registry_uri,
            auth_uri=to_auth_uri,
            jobs=jobs,
            ids=ids,
            on_conflict=on_conflict,
            undelete=undelete,
            rewrite=pairs,
            accept=accept,
            dry_run=dry_run,
            confirm=None
            if confirm is None
            else lambda plan: confirm(
                Move(saved=saved, plan=plan, storages=in_places, limits=limits, accepted=several(accept))
            ),
            progress=progress,
        )
    return MigrateResult(
        source=saved.source,
        target=restored.target,
        storages=in_places,
        backup=saved,
        restore=restored.model_copy(update={"storage": where if in_places else ""}),
        limits=limits,
        seconds=time.monotonic() - began,
        dry_run=dry_run,
        warnings=_warnings(saved, restored),
    )


def _must_differ(source: str, target: str) -> None:
    for uri, name in ((source, "FROM"), (target, "TO")):
        if not uri:
            raise UsageError(f"{name} is empty", hint="name the MLflow store to move from, and the one to move to")
    if same_store(source, target):
        raise UsageError(
            f"{without_secrets(source)} and {without_secrets(target)} are the same store",
            hint="name another one to move into; `mlmeta rewrite` changes artifact locations in place",
        )


def _must_have_both(auth_uri: str, to_auth_uri: str, *, only_auth: bool) -> None:
    if bool(auth_uri) != bool(to_auth_uri):
        given, missing = ("--auth-uri", "--to-auth-uri") if auth_uri else ("--to-auth-uri", "--auth-uri")
        raise UsageError(
            f"{given} is given without {missing}",
            hint="users and permissions move from the first database of basic-auth into the second",
        )
    if only_auth and not auth_uri:
        raise UsageError(
            f"--only {AUTH_GROUP} needs --auth-uri and --to-auth-uri",
            hint="name the databases of `database_uri` in basic_auth.ini",
        )


def _must_be_usable(target: Store, options: RestoreOptions, *, only_auth: bool) -> None:
    """See that the target can be used, before the source is read for hours. Nothing is made there."""
    gives_ids = target.kind not in DATABASES or options.ids == "new"
    if target.auth_uri and gives_ids and not only_auth:
        raise UsageError(
            "permissions are given by the ids of experiments, which would be new ones in "
            f"{without_secrets(target.tracking_uri)}",
            hint="move into the server's database, which keeps ids, or leave out --auth-uri and --to-auth-uri",
        )
    with open_target(target, options, only_auth=only_auth) as opened:
        opened.has_content()


def _left_out(selection: Selection) -> tuple[str, ...]:
    """The parts of the source that need not be read. What others hang on, they are read with."""
    only = set(selection.only)
    unwanted = {group for group in GROUPS if only and group not in only and group not in {RUN_GROUP, AUTH_GROUP}}
    return tuple({*selection.without, *unwanted})


def _limits(selection: Selection) -> dict[str, tuple[str, ...]]:
    """What limits a selection, by option."""
    found = {
        "--experiment": selection.experiments,
        "--workspace": selection.workspaces,
        "--only": selection.only,
        "--without": selection.without,
    }
    return {option: values for option, values in found.items() if values}


@contextlib.contextmanager
def _kept_or_not(places: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Where the snapshot goes: into storages, or into a folder of our own that goes with us."""
    if places:
        yield tuple(places)
        return
    with scratch_folder() as folder:
        yield (str(folder / "snapshot"),)


def _warnings(saved: BackupResult, restored: RestoreResult) -> tuple[str, ...]:
    """Those of both, each once; what could not be saved is an issue of its own."""
    said = (one for one in restored.warnings if one != not_saved(len(saved.skipped)))
    return tuple(dict.fromkeys((*saved.warnings, *said)))
