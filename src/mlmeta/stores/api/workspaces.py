"""The workspaces of a server (MLflow 3.10 on): each request is about one of them, which a header names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from mlmeta.errors import UsageError
from mlmeta.redaction import in_brief
from mlmeta.schema import DEFAULT_WORKSPACE, Experiment, Row, Selection, Skipped
from mlmeta.schema.rows import SEED_WORKSPACE
from mlmeta.stores.api.bounded import json_object
from mlmeta.stores.api.connection import Connection, release, unreadable

if TYPE_CHECKING:
    from requests import Response

PATH = "/api/3.0/mlflow/workspaces"
TABLE = "workspaces"
_RETRIED = (408, 429, 500, 502, 504)
"""Statuses that the client tries again by itself: 503 is what a server says that has no workspaces enabled."""
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "description": ("description",),
    "default_artifact_root": ("default_artifact_root",),
    "trace_archival_location": ("trace_archival_config", "location"),
    "trace_archival_retention": ("trace_archival_config", "retention"),
}
"""The columns of MLflow's table beside the name, each with its place in a reply."""
_FIRST = 2
"""So many of them were there from the beginning."""


@dataclass(frozen=True)
class Workspaces:
    """What a server says of its workspaces.

    Args:
        connection: to the server, or to any other store: that has a single one.
        found: each with its name and attributes, all that the user may see; None: the server has none, or none are
            enabled.
        problem: why that is unknown; empty: it is not.
    """

    connection: Connection
    found: list[dict[str, Any]] | None
    problem: str = ""

    @classmethod
    def of(cls, connection: Connection) -> Workspaces:
        """Ask for them.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        return cls(connection, *(_asked(connection) if connection.kind == "server" else (None,)))

    @property
    def are_any(self) -> bool:
        """Whether the server has workspaces: it says itself then where an experiment's artifacts go."""
        return self.found is not None

    @property
    def names(self) -> list[str | None]:
        """Those that are read, as records have them, in a snapshot's order.

        Where MLFLOW_WORKSPACE names one, MLflow's client means just that.
        """
        connection = self.connection
        if connection.workspace or not self.found or not _has_header(connection):
            return [connection.place]
        names = {None if one["name"] == DEFAULT_WORKSPACE else one["name"] for one in self.found}
        return sorted(names, key=lambda name: name or "")

    def connections(self, selection: Selection, connection: Connection | None = None) -> list[Connection]:
        """A connection for each workspace that is meant.

        Args:
            selection: says which.
            connection: to the store; None: to the one that was asked.

        Raises:
            UsageError: one is not there, or the user may not see it.
        """
        if missing := set(selection.workspaces).difference(name or DEFAULT_WORKSPACE for name in self.names):
            hint = "the user may not see it, or MLFLOW_WORKSPACE names another one"
            if not self.are_any:
                hint = "it is a server without workspaces (`mlflow server --enable-workspaces`): all is in `default`"
            names = ", ".join(map(repr, sorted(missing)))
            raise UsageError(f"{self.connection.name} shows no workspace {names}", hint=hint)
        whole = connection or self.connection
        return [whole.within(name) for name in self.names if selection.has_workspace(name)]

    @property
    def _is_first(self) -> bool:
        """Whether the server is of the version that brought workspaces: its table has fewer columns."""
        version = release(self.connection.server_version())
        return version is not None and version <= (3, 10)

    def unread(self) -> Iterator[Skipped]:
        """What may have been passed over."""
        if self.problem:
            reason = f"it is unknown whether there are others than `{DEFAULT_WORKSPACE}`: {self.problem}"
            yield Skipped(kind=TABLE, id="*", reason=reason)

    def rows(self, names: Iterable[str | None]) -> Iterator[Row]:
        """The rows of MLflow's table of them, as the database has them; not the one that is in every store.

        Args:
            names: of those that are meant, as records have them.
        """
        meant = {name or DEFAULT_WORKSPACE for name in names}
        columns = _ATTRIBUTES if self.found and not self._is_first else dict(islice(_ATTRIBUTES.items(), _FIRST))
        for one in sorted(self.found or (), key=itemgetter("name")):
            values = {column: _attribute(one, path) for column, path in columns.items()}
            is_seed = {"name": one["name"], **{k: v for k, v in values.items() if v is not None}} == SEED_WORKSPACE
            if one["name"] in meant and not is_seed:
                yield Row(table=TABLE, key={"name": one["name"]}, row=values)


def _asked(connection: Connection) -> tuple[list[dict[str, Any]] | None, str]:
    """What there is; None: nothing. And why the server did not say, where that is unknown."""
    try:
        reply = connection.request("GET", PATH, retry_codes=_RETRIED)
        if reply.status_code == HTTPStatus.SERVICE_UNAVAILABLE and not _is_disabled(reply):
            reply = connection.request("GET", PATH)
    except unreadable() as error:
        return None, connection.failed(error)
    if reply.status_code >= 500 and reply.status_code != HTTPStatus.NOT_IMPLEMENTED and not _is_disabled(reply):
        return None, f"it answers {reply.status_code}"
    content = json_object(reply) if reply.status_code == HTTPStatus.OK else None
    if content is None or (content and TABLE not in content):  # without any, the reply is empty
        return None, ""
    found = (one for one in content.get(TABLE) or () if isinstance(one, dict))
    return [one for one in found if one.get("name") and isinstance(one["name"], str)], ""


def _is_disabled(reply: Response) -> bool:
    """Whether a server says that it runs without workspaces, and not that it is busy."""
    said = reply.text[:1000].lower() if reply.status_code == HTTPStatus.SERVICE_UNAVAILABLE else ""
    return "workspace" in said and "disabled" in said


def _has_header(connection: Connection) -> bool:
    """Whether requests of this MLflow can be told which workspace they are about."""
    return connection.client is not None and connection.is_bounded


def _attribute(found: dict[str, Any], path: tuple[str, ...]) -> str | None:
    value: Any = found
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def create(connection: Connection, name: str, attributes: dict[str, Any]) -> str:
    """Make a workspace; why that can't be done, or empty.

    Args:
        connection: to the server.
        name: of the workspace.
        attributes: by column of MLflow's table.

    Raises:
        ConnectionFailedError: the server is gone.
    """
    body: dict[str, Any] = {"name": name}
    for column, (*outer, last) in _ATTRIBUTES.items():
        if attributes.get(column) is not None:
            place = body
            for key in outer:
                place = place.setdefault(key, {})
            place[last] = attributes[column]
    try:
        reply = connection.request("POST", PATH, json=body)
    except unreadable() as error:
        return connection.failed(error)
    if reply.status_code == HTTPStatus.CREATED:
        return ""
    message = str((json_object(reply) or {}).get("message") or f"it answers {reply.status_code}")
    return in_brief(message.splitlines()[0], 300)


def by_workspace(experiments: Iterable[Experiment]) -> Iterator[tuple[str | None, list[str]]]:
    """Ids of experiments that follow each other and are in one workspace, with that."""
    for workspace, some in groupby(experiments, lambda experiment: experiment.workspace):
        yield workspace, [experiment.experiment_id for experiment in some]


def named(skipped: Skipped, workspace: str | None) -> Skipped:
    """What can't be read of a workspace, with its name; of the default one as it is."""
    return skipped.model_copy(update={"id": f"{workspace}/{skipped.id}"}) if workspace else skipped
