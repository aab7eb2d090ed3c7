"""Opens the store that a URI names, so that no command asks what kind it has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlmeta.errors import ConnectionFailedError, MlmetaError, UsageError
from mlmeta.redaction import cut_causes, without_secrets
from mlmeta.schema.identity import canonical, is_vague
from mlmeta.snapshot import reader
from mlmeta.snapshot.find import Which
from mlmeta.snapshot.reader import Snapshot
from mlmeta.storage import Location, open_storage
from mlmeta.stores.address import identify, kind_of, require_usable
from mlmeta.stores.tokens import Several, Unwatched, Watcher

if TYPE_CHECKING:
    from mlmeta.stores.rewrite import Locations
    from mlmeta.stores.source import Source, SourceInfo
    from mlmeta.stores.target import RestoreOptions, Target

DEFAULT_JOBS = 8
THREADS = "threads"
SAME = "same"
"""Instead of the address of basic-auth's database: the tracking database has its tables."""
_DASK = "dask:"
DATABASES = {"sqlite", "postgresql", "mysql"}


@dataclass(frozen=True)
class Store:
    """An MLflow store.

    Args:
        tracking_uri: as for `MlflowClient`.
        registry_uri: of the model registry; None: as MLflow resolves it.
        jobs: requests under way at once.
        executor: what runs the batches of a backup from a server: ``threads``, ``dask:tcp://HOST:PORT``, or any
            `concurrent.futures.Executor`, which is not closed.
        auth_uri: of the database of basic-auth; `SAME`: the tracking database has its tables; empty: it is not meant.

    Raises:
        UsageError: there are no jobs.
    """

    tracking_uri: str
    registry_uri: str | None = None
    jobs: int = DEFAULT_JOBS
    executor: str | Executor = THREADS
    auth_uri: str = ""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"{self.jobs} is not a number of jobs", hint="use 1 or more")

    def __repr__(self) -> str:
        return f"Store({without_secrets(self.tracking_uri)!r})"

    @property
    def kind(self) -> str:
        """See `stores.address.kind_of`."""
        return kind_of(self.tracking_uri)

    @property
    def is_split(self) -> bool:
        """Whether the model registry is somewhere else."""
        return self.registry_uri not in {None, "", self.tracking_uri}


def registry_of(location: Location | None) -> str | None:
    """The URI of a model registry, which may be a folder; None: it is as MLflow resolves it."""
    return None if location is None else os.fspath(location)


@contextmanager
def open_source(store: Store) -> Iterator[Source]:
    """A source, closed at the end of the block.

    Raises:
        UsageError: there is no tracking URI.
        ConnectionFailedError: it can't be used.
    """
    with _secrets_kept(store), _executor(store) as executor:
        _must_be_usable(store)
        if store.auth_uri:
            _is_same(store)  # what is wrong with it is told before a server is asked
        _check_registry(store)
        source = _with_auth(_source(store, executor), store)
        try:
            yield source
        finally:
            source.close()


@contextmanager
def _executor(store: Store) -> Iterator[Executor | None]:
    """What runs the batches; None: the source's own threads."""
    chosen = store.executor
    if chosen == THREADS:
        yield None
    elif store.kind != "server":
        raise UsageError(
            f"--executor is for servers, which {without_secrets(store.tracking_uri)} is not",
            hint="leave it out: a database is read in one transaction, which is faster anyway",
        )
    elif isinstance(chosen, Executor):
        yield chosen
    elif chosen.startswith(_DASK):
        from mlmeta.stores.api.connection import Connection
        from mlmeta.stores.api.dask import dask_executor

        with dask_executor(chosen.removeprefix(_DASK), Connection(store.tracking_uri, store.registry_uri)) as executor:
            yield executor
    else:
        raise UsageError(f"{chosen!r} is not an executor", hint="use threads, or dask:tcp://HOST:PORT")


def identity_of(store: Store, info: SourceInfo) -> str:
    """Which store was read, whatever text named it."""
    registry = shown_uri(store.registry_uri) if store.registry_uri else ""
    return identify(info.uri, workspace=info.workspace, schema=info.schema, socket=info.socket, registry=registry)


def whereabouts(store: Store) -> tuple[str, bool]:
    """Which store it is, whatever text named it; and whether every machine means the same one by that.

    Raises:
        MlmetaError: it can't be read.
    """
    with open_source(store) as source:
        uri = source.info.uri
        is_local = store.kind in {"sqlite", "files"} or is_vague(canonical(uri))
        return identity_of(store, source.info), not is_local


def same_store(one: str, other: str) -> bool:
    """Whether two tracking URIs name the same store, as far as they tell."""
    return _identity(one) == _identity(other)


def _identity(uri: str) -> str:
    if kind_of(uri) not in DATABASES:
        return identify(without_secrets(uri))
    from mlmeta.stores.sql.database import address

    database = address(uri)
    return identify(database.shown, schema=database.schema, socket=database.socket)


def shown_uri(uri: str) -> str:
    """The address of a store as a snapshot of it says it, without credentials.

    Raises:
        UsageError: it is not a URI.
    """
    if kind_of(uri) not in DATABASES:
        return without_secrets(uri)
    from mlmeta.stores.sql.database import address

    return address(uri).shown


def _with_auth(source: Source, store: Store) -> Source:
    if not store.auth_uri or _is_same(store):
        return source
    from mlmeta.stores.sql.auth import AuthSource
    from mlmeta.stores.with_auth import SourceWithAuth

    return SourceWithAuth(source, AuthSource(store.auth_uri))


def _is_same(store: Store) -> bool:
    """Whether basic-auth's tables are in the tracking database.

    Raises:
        UsageError: that is said, and there is no such database; or what is named is not one.
    """
    if store.auth_uri in {SAME, store.tracking_uri} and store.kind in DATABASES:
        return True
    shown = without_secrets(store.auth_uri)
    if store.auth_uri == SAME:
        raise UsageError(
            f"--auth-uri {SAME} means the tracking database, and {without_secrets(store.tracking_uri)} is not one",
            hint="name the database of basic-auth, such as sqlite:////path/to/basic_auth.db: no server shows its users",
        )
    require_usable(store.auth_uri, "--auth-uri")
    if kind_of(store.auth_uri) not in DATABASES:
        raise UsageError(
            f"{shown} (--auth-uri) is not a database",
            hint="name the one of `database_uri` in the server's basic_auth.ini: no server shows its users",
        )
    return False


def _source(store: Store, executor: Executor | None) -> Source:
    if store.kind not in DATABASES:
        from mlmeta.stores.api.connection import Connection
        from mlmeta.stores.api.exporter import ApiSource

        return ApiSource(Connection(store.tracking_uri, store.registry_uri), store.jobs, executor)
    from mlmeta.stores.sql.exporter import SqlSource

    runs = SqlSource(store.tracking_uri, with_auth=bool(store.auth_uri) and _is_same(store))
    if not store.is_split or store.registry_uri is None:
        return runs
    from mlmeta.stores.source import SplitSource

    return SplitSource(runs, _source(Store(store.registry_uri, jobs=store.jobs), None))


def watch(store: Store) -> Watcher:
    """What tells whether a store has changed. Nothing is opened yet.

    Raises:
        UsageError: its address can't be used, or a driver is not installed.
    """
    _must_be_usable(store)
    uris = [store.tracking_uri, *([store.registry_uri] if store.is_split and store.registry_uri else [])]
    return Several([_watcher(uri) for uri in uris]) if len(uris) > 1 else _watcher(store.tracking_uri)


def has_content(store: Store) -> bool:
    """Whether a store has anything that people made: more than runs count, and any version of its schema does.

    Raises:
        UsageError: there is no tracking URI.
        ConnectionFailedError: it can't be read.
    """
    if store.kind in DATABASES:
        from mlmeta.stores.sql.schema import has_content as database_has_content

        return database_has_content(store.tracking_uri)
    from mlmeta.stores.target import RestoreOptions

    with open_target(store, RestoreOptions()) as target:
        return target.has_content()


def _watcher(uri: str) -> Watcher:
    if kind_of(uri) not in DATABASES:
        return Unwatched()
    from mlmeta.stores.sql.tokens import watch as watch_database

    return watch_database(uri)


@contextmanager
def open_target(store: Store, options: RestoreOptions, *, only_auth: bool = False) -> Iterator[Target]:
    """A target, closed at the end of the block.

    Args:
        store: to restore into.
        options: how.
        only_auth: whether only users and permissions of basic-auth are meant: then the store itself is not needed.

    Raises:
        UsageError: there is no tracking URI, or the target can't do what the options ask for.
        ConnectionFailedError: it can't be used.
    """
    with _secrets_kept(store):
        if not only_auth:
            _must_be_usable(store)
            _check_registry(store)
        target = _target_with_auth(store, options, only_auth=only_auth) if store.auth_uri else _target(store, options)
        try:
            yield target
        finally:
            target.close()


def _target_with_auth(store: Store, options: RestoreOptions, *, only_auth: bool) -> Target:
    from mlmeta.stores.sql.auth_target import AuthTarget
    from mlmeta.stores.target import FAIL, MERGE
    from mlmeta.stores.with_auth import TargetWithAuth

    uri = store.tracking_uri if _is_same(store) else store.auth_uri
    if options.on_conflict == MERGE:
        raise UsageError(
            "--on-conflict merge takes no users and permissions: these go by numbers of experiments and users, which "
            "two stores gave to different ones",
            hint="leave out --auth-uri",
        )
    auth = AuthTarget(uri, options.on_conflict)
    return TargetWithAuth(None if only_auth else _target(store, options), auth, stops=options.on_conflict == FAIL)


def _target(store: Store, options: RestoreOptions) -> Target:
    if store.kind == "files":
        raise UsageError(
            f"{store.tracking_uri} is a file store, which mlmeta does not restore into: MLflow is phasing them out",
            hint="restore into a database, such as sqlite:///mlflow.db, or a server",
        )
    if store.kind in DATABASES and options.ids != "new":
        from mlmeta.stores.sql.restorer import SqlTarget

        if store.is_split:
            raise UsageError(
                "a database target contains its model registry, but --registry-uri names another place",
                hint="restore twice, with --only runs and --only models, each with its own --tracking-uri",
            )
        return SqlTarget(store.tracking_uri, options)
    return _api_target(store, options)


def _api_target(store: Store, options: RestoreOptions) -> Target:
    from mlmeta.stores.api.connection import Connection
    from mlmeta.stores.api.restorer import ApiTarget
    from mlmeta.stores.target import MERGE

    if options.on_conflict == MERGE:
        raise UsageError(
            f"--on-conflict merge needs ids that stay, and {without_secrets(store.tracking_uri)} gives new ones",
            hint="merge into the server's database, such as postgresql://…, also while the server runs; or leave it "
            "out: through a server, experiments are joined by name anyway",
        )
    if options.ids == "keep":
        raise UsageError(
            f"{without_secrets(store.tracking_uri)} can't keep ids: MLflow's API gives new ones",
            hint="restore into the server's database to keep them, or leave out --ids keep",
        )
    return ApiTarget(
        Connection(store.tracking_uri, store.registry_uri), store.jobs, options, reading=lambda: open_source(store)
    )


@contextmanager
def open_locations(store: Store) -> Iterator[Locations]:
    """The artifact locations of a store, to rewrite them where they are.

    Raises:
        UsageError: there is no tracking URI, or it does not name a database.
    """
    with _secrets_kept(store):
        _must_be_usable(store)
        if store.kind not in DATABASES:
            shown = without_secrets(store.tracking_uri)
            if store.kind == "files":
                raise UsageError(
                    f"{shown} is a file store, whose locations mlmeta does not rewrite",
                    hint=f"move it into a database: `mlmeta migrate {shown} sqlite:///mlflow.db "
                    "--rewrite-artifact-prefix OLD=NEW`",
                )
            raise UsageError(
                f"{shown} is not a database that mlmeta writes into, and MLflow's API can't change locations",
                hint="name the server's SQLite, PostgreSQL or MySQL database (its --backend-store-uri)",
            )
        from mlmeta.stores.sql.locations import SqlLocations

        yield SqlLocations(store.tracking_uri)


def open_snapshot(
    storage: Location = "backups",
    selector: str = "latest",
    *,
    of_source: Location = "",
    likely: Location = "",
    last_guard: bool = False,
) -> Snapshot:
    """A snapshot, to read its records.

    Args:
        storage: a folder or ``gs://bucket/prefix``.
        selector: a timestamp, a unique prefix of one, ``latest``, ``latest~N``, or an ISO 8601 instant.
        of_source: label or tracking URI of the source that is meant, where the storage has several.
        likely: tracking URI of what may be meant, where it has several.
        last_guard: whether ``latest`` is the last guard's, where several of them saved side by side; else the newest.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        AmbiguousSelectorError: there are several sources, and nothing says which.
        SnapshotError: it can't be trusted, or a newer mlmeta wrote it.
        StorageError: the storage can't be read.
    """
    meant = replace(which(of_source, likely), last_guard=last_guard)
    return reader.open_snapshot(open_storage(storage), selector, meant)


def which(of_source: Location = "", likely: Location = "") -> Which:
    """Which source a label or tracking URI names, in all the ways that a snapshot may spell it."""
    return Which(_spellings(os.fspath(of_source)), _spellings(os.fspath(likely)))


def _spellings(name: str) -> tuple[str, ...]:
    if not name:
        return ()
    shown = shown_uri(name)
    if kind_of(name) not in DATABASES:
        return (name, identify(shown), canonical(shown))
    from mlmeta.stores.sql.database import address

    database = address(name)
    return (name, identify(shown, schema=database.schema, socket=database.socket), canonical(shown))


def _must_be_usable(store: Store) -> None:
    if not store.tracking_uri:
        raise UsageError(
            "no MLflow server or store is given", hint="name it with --tracking-uri, or set MLFLOW_TRACKING_URI"
        )
    require_usable(store.tracking_uri)
    if store.registry_uri:
        require_usable(store.registry_uri, "--registry-uri")


def _check_registry(store: Store) -> None:
    """See that the model registry answers, where it is somewhere else: before hours of work, not after.

    Raises:
        ConnectionFailedError: it does not.
    """
    uri = store.registry_uri
    if not store.is_split or uri is None or uri.startswith(("databricks", "uc:")):  # registries that are not stores
        return
    try:
        _source(Store(uri), None).close()
    except ConnectionFailedError as error:
        raise type(error)(f"the model registry (--registry-uri) can't be used: {error}", hint=error.hint) from error


@contextmanager
def _secrets_kept(store: Store) -> Iterator[None]:
    """An error that leaves the block has no exception behind it that tells a password."""
    try:
        yield
    except MlmetaError as error:
        cut_causes(error, store.tracking_uri, store.registry_uri or "", store.auth_uri)
        raise
