"""A look at a store: can it be read, by which route, and is it of a version that is known?"""

from __future__ import annotations

from dataclasses import dataclass

from mlmeta.stores.opening import DATABASES, Store, identity_of, open_source
from mlmeta.stores.source import SourceInfo

TESTED = ((2, 22), (3, 18))
"""The oldest and the newest MLflow that the tests run with (tests/compat)."""
_ROUTES = {
    "server": "a server, through MLflow's API",
    "sqlite": "a SQLite database, read directly",
    "postgresql": "a PostgreSQL database, read directly",
    "mysql": "a MySQL database, read directly",
    "files": "a folder of MLflow's, through its client",
}


@dataclass(frozen=True)
class Checkup:
    """What a store is like.

    Args:
        info: what it says of itself.
        identity: which one it is: see `identity_of`.
        route: how it is read, in words.
        version: of MLflow or of its schema, in words; empty: it does not tell.
        experiments: how many it has, and shows to this user.
        doubt: what a person should know of its version; empty: it is one that is known.
        hint: what to do about that.
    """

    info: SourceInfo
    identity: str
    route: str
    version: str
    experiments: int
    doubt: str = ""
    hint: str = ""


def check_up(store: Store) -> Checkup:
    """Look at a store; nothing is changed.

    Raises:
        UsageError: its URI can't be used.
        ConnectionFailedError: it can't be read.
    """
    with open_source(store) as source:
        info = source.info
        experiments = len(source.experiment_names())
    doubt, hint = _doubt_of_schema(info) if info.kind in DATABASES else doubt_of_version(info.server_version, "it")
    return Checkup(
        info=info,
        identity=identity_of(store, info),
        route=_ROUTES.get(info.kind, "through MLflow's client"),
        version=_version(info, known=not doubt),
        experiments=experiments,
        doubt=doubt,
        hint=hint,
    )


def _version(info: SourceInfo, *, known: bool) -> str:
    if not info.server_version:
        return ""
    if info.kind not in DATABASES:
        return f"MLflow {info.server_version}{', which mlmeta is tested with' if known else ''}"
    return f"{info.server_version}{', which the installed MLflow knows' if known else ''}"


def _doubt_of_schema(info: SourceInfo) -> tuple[str, str]:
    from mlmeta.stores.sql.schema import is_known, newest_revision

    revision = (info.server_version or "").removeprefix("schema ")
    if not revision or revision == newest_revision() or is_known(revision):
        return "", ""
    return (
        f"the installed MLflow {mlflow_version()} does not know its schema: it is newer",
        "a backup takes what it does not know as rows; for a restore, install the server's MLflow beside mlmeta",
    )


def mlflow_version() -> str:
    """The version of the installed MLflow."""
    from mlmeta.stores.api.connection import client_version

    return client_version()


def doubt_of_version(version: str | None, what: str) -> tuple[str, str]:
    """What there is to say of a version of MLflow that is not one of those that mlmeta is tested with, and what to do.

    Args:
        version: None: unknown.
        what: has it, in words.
    """
    from mlmeta.stores.api.connection import release

    found = release(version)
    oldest, newest = (".".join(map(str, one)) for one in TESTED)
    if found is None:
        return "", ""
    if found < TESTED[0]:
        return f"{what} is older than what mlmeta is tested with ({oldest} to {newest})", "prove it: backup --drill"
    if found > TESTED[1]:
        return (
            f"{what} is newer than what mlmeta is tested with ({oldest} to {newest})",
            "look for a newer mlmeta, and prove it: backup --drill",
        )
    return "", ""
