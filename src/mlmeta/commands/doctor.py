"""`mlmeta doctor`: can backups be made, and are there any that are young enough?"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from mlmeta import __version__
from mlmeta.commands.checks import Check, Expected, Newest, Search, State, ago
from mlmeta.commands.config import Setting
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import ExitCode, MlmetaError, StorageDeniedError, StorageMissingError
from mlmeta.metrics import LAST_DRILL, Sample, read_file
from mlmeta.notebook import Row
from mlmeta.progress import Progress, Silent
from mlmeta.redaction import without_secrets
from mlmeta.schema import Names, Selection, several
from mlmeta.storage import Location, Locations, open_storage
from mlmeta.storage.probe import Finding, Use, examine
from mlmeta.stores.checkup import Checkup, check_up, doubt_of_version, mlflow_version
from mlmeta.stores.opening import Store, registry_of

_WORKS = {
    Use.LIST: "can be listed",
    Use.WRITE: "can be written",
    Use.CREATE_ONLY: "refuses a second file of the same name",
    Use.READ: "can be read",
    Use.DELETE: "can be pruned: the file that was written is gone again",
}


class DoctorResult(Result):
    """What was found.

    Args:
        checks: in the order of the work.
        snapshots: the newest in each storage.
        file: the configuration file; empty: none.
        profile: that was chosen; empty: none.
        settings: what is set for a backup, and where.
    """

    checks: tuple[Check, ...]
    snapshots: tuple[Newest, ...] = ()
    file: str = ""
    profile: str = ""
    settings: tuple[Setting, ...] = ()

    tells_all: ClassVar[bool] = True

    @property
    def headline(self) -> str:
        """How the checks went."""
        counts = Counter(check.state.value for check in self.checks)
        return ", ".join(f"{count} {state}" for state, count in counts.items())

    def entries(self) -> Iterator[Row]:
        """Each check."""
        for check in self.checks:
            yield {"check": check.name, "state": check.state.value, "found": check.text}

    @property
    def issues(self) -> tuple[Issue, ...]:
        """The checks that failed."""
        failed = (check for check in self.checks if check.state is State.FAILED)
        return tuple(Issue(code=check.name.replace("-", "_"), message=check.text, hint=check.hint) for check in failed)

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where a snapshot is too old, `FAILED` where another check failed."""
        if any(newest.too_old for newest in self.snapshots):
            return ExitCode.DIFFERENT
        return ExitCode.FAILED if self.issues else ExitCode.DONE


def doctor(
    tracking_uri: Location = "",
    storages: Locations = ("backups",),
    *,
    registry_uri: Location | None = None,
    auth_uri: str = "",
    label: str = "",
    of_source: Location = "",
    experiments: Names = (),
    workspaces: Names = (),
    without: Names = (),
    if_changed: bool = False,
    prunes: bool = False,
    max_age: timedelta | None = None,
    metrics_file: Location = "",
    read_only: bool = False,
    progress: Progress | None = None,
) -> DoctorResult:
    """See whether backups of a store into storages can be made, and how old the newest are.

    Args:
        tracking_uri: the MLflow server or store; empty: only storages are looked at.
        storages: a folder or ``gs://bucket/prefix``, or several. A small file is written into each, and removed.
        registry_uri: of the model registry; None: as MLflow resolves it.
        auth_uri: of the database of basic-auth; empty: it is not meant.
        label: that the backups are given.
        of_source: label or tracking URI of the source whose snapshots count; empty: the store.
        experiments: that the backups are limited to, as for `backup`.
        workspaces: likewise.
        without: what they leave out.
        if_changed: whether none is made while nothing changes.
        prunes: whether they remove older ones.
        max_age: how old the newest may be; None: any age.
        metrics_file: that they write; empty: none. It is only read.
        read_only: whether no file is written.
        progress: told how far it is.
    """
    progress = progress or Silent()
    named, inside, left_out = (tuple(sorted(set(several(names)))) for names in (experiments, workspaces, without))
    expected = Expected(
        of_source=os.fspath(of_source),
        label=label,
        limit=Selection(named, without=left_out, workspaces=inside, auth=bool(auth_uri)),
        if_changed=if_changed,
        prunes=prunes,
        max_age=max_age,
    )
    tracking_uri = os.fspath(tracking_uri)
    checks = [_versions()]
    progress.phase("looking at the store")
    check, found = _store(Store(tracking_uri, registry_of(registry_uri), auth_uri=auth_uri))
    checks.append(check)
    metrics, unread = _metrics(os.fspath(metrics_file))
    checks += unread
    snapshots = []
    search = Search(tracking_uri, found, expected, metrics)
    for location in dict.fromkeys(several(storages)):
        progress.phase(f"looking at {without_secrets(location)}")
        found_there, newest = _storage(location, search, read_only=read_only)
        checks += found_there
        snapshots.append(newest)
    checks += _drill(metrics) if metrics_file else []
    warnings = tuple(check.text for check in checks if check.state is State.WARNING)
    return DoctorResult(checks=tuple(checks), snapshots=tuple(snapshots), warnings=warnings)


def _versions() -> Check:
    installed = mlflow_version()
    doubt, hint = doubt_of_version(installed, "this MLflow")
    text = f"mlmeta {__version__}, MLflow {installed}, Python {platform.python_version()} ({sys.executable})"
    if doubt:
        return Check(name="versions", state=State.WARNING, message=f"{text}: {doubt}", hint=hint)
    return Check(name="versions", message=text)


def _store(store: Store) -> tuple[Check, Checkup | None]:
    if not store.tracking_uri:
        hint = "name it with --tracking-uri, or set MLFLOW_TRACKING_URI"
        return Check(name="store", state=State.WARNING, message="no MLflow server or store is given", hint=hint), None
    try:
        found = check_up(store)
    except MlmetaError as error:
        return _failed("store", error), None
    experiments = f"{found.experiments:,} experiment{'s' * (found.experiments != 1)}"
    text = "; ".join(filter(None, (f"is {found.route}", found.version, experiments, found.doubt)))
    state = State.WARNING if found.doubt else State.OK
    return Check(name="store", subject=found.info.uri, state=state, message=text, hint=found.hint), found


def _metrics(path: str) -> tuple[list[Sample], list[Check]]:
    """What a file of metrics says, and a check where it can't be read."""
    try:
        return (read_file(Path(path).expanduser()) if path else []), []
    except (MlmetaError, OSError, RuntimeError) as error:
        message = f"the metrics (--metrics-file) can't be read: {error}"
        return [], [Check(name="metrics-file", state=State.WARNING, message=message, hint=getattr(error, "hint", ""))]


def _storage(location: str, search: Search, *, read_only: bool) -> tuple[list[Check], Newest]:
    """The checks of a storage, and the newest snapshot there."""
    try:
        place = open_storage(location)
    except MlmetaError as error:
        return [_failed("storage", error)], Newest(storage=without_secrets(location))
    now = time.time()
    findings = examine(place, now, writing=not read_only)
    checks = [_use(place.location, finding, prunes=search.expected.prunes) for finding in findings]
    try:
        if findings[0].error is None:
            more, newest = search.of(place, now)
            more += search.guards(place)
        elif isinstance(findings[0].error, StorageMissingError):
            more, newest = search.nothing(place.location)
        else:
            more, newest = [], Newest(storage=place.location)
    except MlmetaError as error:
        return [*checks, _failed("snapshot", error)], Newest(storage=place.location)
    return [*checks, *more], newest


def _failed(name: str, error: MlmetaError) -> Check:
    return Check(name=name, state=State.FAILED, message=str(error), hint=error.hint)


def _use(location: str, finding: Finding, *, prunes: bool) -> Check:
    name, error = f"storage-{finding.use.value}", finding.error
    if error is None:
        again = f", as {finding.probe} shows, which could not be removed" if finding.probe else ""
        return Check(name=name, subject=location, message=_WORKS[finding.use] + again)
    if isinstance(error, StorageMissingError):
        hint = "the first backup makes it; if there has been one, check --storage"
        return Check(name=name, state=State.WARNING, message=str(error), hint=hint)
    if finding.use is Use.DELETE and isinstance(error, StorageDeniedError):
        message = f"lets nothing be removed, so {finding.probe} stays: backups need no more, retention does"
        hint = f"backup has --keep-… options, which will fail: {error.hint}" if prunes else ""
        state = State.WARNING if prunes else State.OK
        return Check(name=name, subject=location, state=state, message=message, hint=hint)
    return _failed(name, error)


def _drill(metrics: Iterable[Sample]) -> list[Check]:
    """When a snapshot was last proved to restore."""
    last = max((one.value for one in metrics if one.metric == LAST_DRILL), default=None)
    if last is None:
        hint = "such as a weekly `mlmeta verify --drill` with the same --metrics-file"
        return [Check(name="drill", state=State.WARNING, message="no trial restore has proved a snapshot", hint=hint)]
    return [Check(name="drill", message=f"a trial restore brought everything back, {ago(time.time() - last)}")]
