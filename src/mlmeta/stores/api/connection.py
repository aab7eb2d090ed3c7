"""A connection to whatever `MlflowClient` can talk to.

It fails fast: before anything else one small request tells whether an MLflow server answers there and lets
us in, where MLflow's own retries would take minutes to say so.
"""

from __future__ import annotations

import configparser
import copy
import functools
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mlmeta.errors import (
    AuthenticationError,
    ConnectionFailedError,
    MissingStoreError,
    ReplyError,
    UnknownCallError,
    UnreachableError,
)
from mlmeta.redaction import in_brief, scrubbed, without_secrets
from mlmeta.schema import DEFAULT_WORKSPACE, Skipped
from mlmeta.stores import address
from mlmeta.stores.api import bounded, diagnosis

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from requests import Response

SEARCH_EXPERIMENTS = "/api/2.0/mlflow/experiments/search"
LIST_EXPERIMENTS = "/api/2.0/mlflow/experiments/list"
"""What servers before MLflow 1.28 have in place of it."""
_UNKNOWN = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
"""What a server says to a call that it does not know."""
_OF_RECORDS = {"RESOURCE_DOES_NOT_EXIST"}
"""What it says with one of these statuses of a record that it does not know."""
_CHECK_TIMEOUT = 10
"""Seconds for one try of the check; with the second try and its pause it stays under half a minute."""
_SHORT_TIMEOUT = 5
"""Seconds for a look whether MLflow answers elsewhere."""
_STANDSTILL = 120.0
"""Seconds in which every call failed, until a server is given up that goes on answering `check`."""

_KEPT = 30.0
"""Seconds for which a prepared request is sent again: a token in it may be a short-lived one."""
_MOST_TEXT = 10_000
"""Characters of a foreign error that are looked at: MLflow's may have a whole reply in them."""

T = TypeVar("T")


class Connection:
    """An `MlflowClient`, and requests beside it with the same credentials.

    Args:
        uri: a tracking URI that `MlflowClient` takes.
        registry_uri: of the model registry; None: as MLflow resolves it.
    """

    def __init__(self, uri: str, registry_uri: str | None = None) -> None:
        self.scope = ""
        """The workspace that its calls are about; empty: the one that MLflow's client means."""
        self.uri = uri
        self.kind = address.kind_of(uri)
        self.name = without_secrets(uri)
        self._registry_uri = registry_uri
        self._failing_since: float | None = None
        self.is_bounded = True
        self.only_lists = False
        self._told: dict[str, Any] = {}
        """What the server said of itself, which stays so while a command runs: shared by the copies of a connection."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the client, so that a connection can travel to another process."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_own_client", "_prepared"}}

    def within(self, workspace: str | None) -> Connection:
        """The same connection, whose calls are about a workspace.

        Args:
            workspace: as a record has it; None: the one that MLflow's client means, which most often is the default.
        """
        found = copy.copy(self)
        found.scope = "" if workspace in {None, self.workspace} else str(workspace)
        return found

    @property
    def place(self) -> str | None:
        """The workspace that its calls are about, as a record has it."""
        return self.scope or self.workspace or None

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client. Made on first use: it may create what is missing, so `check` first."""
        client: MlflowClient = self._about_its_workspace(self._own_client)
        return client

    def _about_its_workspace(self, target: Any) -> Any:
        return _InWorkspace(target, self.scope) if self.scope else target

    @functools.cached_property
    def _own_client(self) -> MlflowClient:
        from mlflow import MlflowClient

        for uri in {self.uri, self._registry_uri or self.uri}:
            if urlsplit(uri).scheme in {"http", "https"}:
                self.is_bounded = bounded.bound(uri) and self.is_bounded
        return MlflowClient(tracking_uri=self.uri, registry_uri=self._registry_uri)

    @property
    def registry(self) -> Any:
        """The registry's store: as `MlflowClient` uses it, but prompts can be reached as well."""
        return self._about_its_workspace(self._own_client._get_registry_client().store)

    @property
    def registry_elsewhere(self) -> Connection | None:
        """A connection to the registry's server, where that is another one."""
        uri = self._registry_uri
        return Connection(uri) if uri and uri != self.uri else None

    @property
    def tracking(self) -> Any:
        """The tracking store, as `MlflowClient` uses it."""
        return self._about_its_workspace(self._own_client._tracking_client.store)

    @property
    def workspace(self) -> str:
        """The workspace that a server is asked for (MLflow 3.10 on); empty: the default one."""
        try:
            from mlflow.utils.workspace_context import get_request_workspace
        except ImportError:
            return ""
        named = get_request_workspace() if self.kind == "server" else None
        return "" if named in {None, DEFAULT_WORKSPACE} else str(named)

    def check(self) -> None:
        """See whether there is an MLflow store that lets us in. Creates nothing.

        Raises:
            UnreachableError: nothing answers.
            AuthenticationError: 401 or 403.
            NotMlflowError: something else answers.
            MissingStoreError: there is no such database or folder.
        """
        if self.kind == "server":
            self._check_server()
        elif self.kind == "sqlite":
            _must_exist(Path(urlsplit(self.uri).path[1:] or "."), self.name, "database file")
        elif self.kind == "files":
            _must_be_a_folder(address.folder_of(self.uri), self.name)
            _allow_file_store()
        else:
            self._check_plugin()

    def _check_credentials(self) -> None:
        """See that what MLflow takes from the environment or its own file can be sent at all."""
        from mlflow.exceptions import MlflowException

        try:
            token = self.tracking.get_host_creds().token
        except configparser.Error as error:  # its text has lines of the file
            raise AuthenticationError(
                f"MLflow's credentials file (~/.mlflow/credentials) is malformed: {type(error).__name__}",
                hint="it takes a line [mlflow], then mlflow_tracking_username = … and mlflow_tracking_password = …",
            ) from None
        except (
            MlflowException,
            ValueError,
        ) as error:  # variables of MLflow's that contradict each other, or mean nothing
            raise ConnectionFailedError(
                f"MLflow's settings for {self.name} can't be used: {self.reason(error)}",
                hint="check the variables MLFLOW_TRACKING_…, MLFLOW_ENABLE_… and ~/.mlflow/credentials",
            ) from error
        if token and (token != token.strip() or not token.isprintable()):
            raise AuthenticationError(
                f"the token for {self.name} has a line break or a blank, which a header can't contain",
                hint="set MLFLOW_TRACKING_TOKEN without it, such as \"$(tr -d '\\n' < FILE)\"",
            )

    def _check_plugin(self) -> None:
        """A store of somebody else's, or one whose driver may be missing: there is no knowing what it raises."""
        try:
            self.client.search_experiments(max_results=1)
        except Exception as error:
            raise ConnectionFailedError(
                f"{self.name}: {self.reason(error)}",
                hint="check the URI, and that the MLflow plugin or driver for it is installed and set up",
            ) from error

    def _check_server(self) -> None:
        from mlflow.exceptions import MlflowException

        self._check_credentials()
        try:
            response = self._first_experiment()
        except MlflowException as error:
            reason = self.reason(error)
            if isinstance(_origin(error), ReplyError):
                raise diagnosis.not_mlflow(self.name, self.uri, reason, self._ask_at) from error
            raise diagnosis.unreachable(self.name, self.uri, error, reason) from error
        diagnosis.judge(response, self.name, self.uri, self._ask_at)

    def _ask_at(self, method: str, address: str) -> Response | None:
        """Ask another address of the same server what `check` asks, or for its page."""
        from mlflow.exceptions import MlflowException

        other = Connection(address, self._registry_uri)
        more = {"json": {"max_results": 1}} if method == "POST" else {}
        try:
            with bounded.impatient():
                endpoint = SEARCH_EXPERIMENTS if method == "POST" else "/"
                return other.request(method, endpoint, timeout=_SHORT_TIMEOUT, **more)
        except MlflowException:
            return None

    def _first_experiment(self) -> Response:
        """The reply of a server's search; of an old one's list."""
        response = self.request("POST", SEARCH_EXPERIMENTS, json={"max_results": 1})
        if response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            listed = self.request("GET", LIST_EXPERIMENTS, params={"max_results": 1})
            self.only_lists = listed.status_code == HTTPStatus.OK and diagnosis.is_experiment_list(listed)
            return listed if self.only_lists else response
        return response

    def succeeded(self) -> None:
        """A call has brought what was asked for."""
        self._failing_since = None

    def failed(self, error: Exception) -> str:
        """What to say of a call that failed, where it costs no more than what was asked for.

        Raises:
            ConnectionFailedError: the store is gone, or nothing but calls that fail has come of it for minutes.
        """
        self.check()
        reason = self.reason(error)
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > _STANDSTILL:
            raise UnreachableError(
                f"{self.name} has answered no call for {_STANDSTILL:.0f} seconds; the last one failed with: {reason}",
                hint=diagnosis.advice(error),
            ) from error
        return reason

    def read_or_skip(self, kind: str, identifier: str, read: Callable[[], T], *, asks: bool = False) -> T | Skipped:
        """What a call gives, or the name of what it can't read and why, so that reading goes on.

        Args:
            kind: of what is read, in words.
            identifier: of it.
            read: the call.
            asks: whether it asks the store, and does not only make records of what came: see `failed`.

        Raises:
            ConnectionFailedError: the store is gone.
        """
        try:
            return read()
        except unreadable() as error:
            return Skipped(kind=kind, id=identifier, reason=self.failed(error) if asks else self.reason(error))

    def failure(self, error: Exception) -> ConnectionFailedError:
        """The error for a store that failed while it was read.

        Raises:
            ConnectionFailedError: it is gone.
        """
        self.check()
        return ConnectionFailedError(
            f"{self.name} failed while it was read: {self.reason(error)}", hint=diagnosis.advice(error)
        )

    def request(self, method: str, endpoint: str, *, timeout: int = _CHECK_TIMEOUT, **kwargs: Any) -> Response:
        """A request beside `MlflowClient`, with its credentials, headers and plugins, tried twice.

        Raises:
            MlflowException: nothing answered.
        """
        from mlflow.utils.rest_utils import http_request

        with bounded.in_workspace(self.scope):
            response: Response = http_request(
                self.tracking.get_host_creds(),
                endpoint,
                method,
                max_retries=1,
                backoff_factor=1,
                timeout=timeout,
                raise_on_status=False,
                **kwargs,
            )
        return response

    def many(self, endpoint: str, params: dict[str, str], **kwargs: Any) -> Response:
        """Like `request`, for one of thousands of GETs that differ in their parameters alone.

        What MLflow makes of credentials, headers and plugins takes longer than to send it: it is kept for a while.
        """
        scope, kept = self.__dict__.get("_prepared", ("", None))
        if kept is None or (endpoint, self.scope) != scope or time.monotonic() - kept.since > _KEPT:
            kept = bounded.prepared(lambda: self.request("GET", endpoint, params=params, **kwargs))
            self._prepared = (endpoint, self.scope), kept
        return kept.call(params=params) if kept is not None else self.request("GET", endpoint, params=params, **kwargs)

    def call(self, method: str, endpoint: str, **kwargs: Any) -> dict[str, Any]:
        """What a call of MLflow's API gives that `MlflowClient` does not have, tried again as its own are.

        Args:
            method: of HTTP.
            endpoint: the path.
            kwargs: for `requests`; `extra_headers` beside those of the client.

        Raises:
            MlflowException: nothing answered, or the answer is an error.
            UnknownCallError: the server does not know the call.
            ReplyError: the answer is no JSON object.
        """
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        if self.kind != "server":
            raise UnknownCallError("it is no server")
        with bounded.in_workspace(self.scope):
            response = http_request(self.tracking.get_host_creds(), endpoint, method, **kwargs)
        reply = bounded.json_object(response) if response.content else {}
        if response.status_code in _UNKNOWN and (reply or {}).get("error_code") not in _OF_RECORDS:
            raise UnknownCallError(f"it answers {response.status_code}")
        verify_rest_response(response, endpoint)
        if reply is None:
            raise ReplyError("the reply is not a JSON object")
        return reply

    def server_version(self) -> str | None:
        """The server's MLflow version; None where it doesn't tell."""
        from mlflow.exceptions import MlflowException

        if self.kind != "server":
            return None
        try:
            return self.once("version", self._version)
        except MlflowException:
            return None

    def _version(self) -> str | None:
        response = self.request("GET", "/version")
        text = response.text.strip()
        return text if response.status_code == 200 and text[:1].isdigit() and len(text) < 40 else None

    def once(self, what: str, ask: Callable[[], T]) -> T:
        """What a server says of itself: asked once for the connection and its copies, unless asking fails.

        Args:
            what: a name for it.
            ask: asks the server; what it raises is raised, and it is asked again the next time.
        """
        if what not in self._told:
            self._told[what] = ask()
        told: T = self._told[what]
        return told

    def reason(self, error: BaseException) -> str:
        """A foreign error in one line, without secrets."""
        origin = _origin(error)
        return _first_line(origin if isinstance(origin, ReplyError) else error, self.uri)


class _InWorkspace:
    """A client or store of MLflow's, whose calls are about a workspace, in whatever thread they are made.

    Args:
        target: has the calls.
        workspace: its name.
    """

    def __init__(self, target: Any, workspace: str) -> None:
        self._target = target
        self._workspace = workspace

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return functools.partial(self._call, found) if callable(found) else found

    def _call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with bounded.in_workspace(self._workspace):
            return method(*args, **kwargs)


def unreadable() -> tuple[type[Exception], ...]:
    """What MLflow's client, and records made of what it gives, raise over a reply or a file that is odd.

    MLflow names few of them: a wrong type in a reply is an error of protobuf's, or of Python's.
    """
    from google.protobuf.json_format import Error as ProtobufError
    from mlflow.exceptions import MlflowException
    from yaml import YAMLError  # type: ignore[import-untyped]

    others = (
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    )
    return MlflowException, ProtobufError, YAMLError, ReplyError, *others


def release(version: str | None) -> tuple[int, int] | None:
    """The first two numbers of an MLflow version; None where it is unknown."""
    numbers = (version or "").split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(str.isdigit, numbers)) else None


def client_version() -> str:
    """The version of the installed MLflow."""
    from importlib.metadata import version

    return version("mlflow")


def _must_exist(path: Path, name: str, what: str) -> None:
    if not path.exists():
        raise MissingStoreError(
            f"there is no {what} {path} (tracking URI {name})",
            hint="check the path; mlmeta does not create a store to read from",
        )


def _must_be_a_folder(path: Path, name: str) -> None:
    _must_exist(path, name, "folder")
    if path.is_file():
        raise MissingStoreError(
            f"{path} is a file, and a tracking URI without a scheme names a folder",
            hint=f"for a SQLite database write sqlite:///{path}",
        )


def _allow_file_store() -> None:
    """MLflow 3.7 and later refuse file stores unless told otherwise; reading one is harmless."""
    try:
        from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE
    except ImportError:  # an older MLflow, which asks no such question
        return
    MLFLOW_ALLOW_FILE_STORE.set(True)


def _origin(error: BaseException) -> BaseException | None:
    """What MLflow wrapped: it does so for all that comes up while it sends a request."""
    return error.__cause__ or error.__context__


def _first_line(error: BaseException, uri: str) -> str:
    text = diagnosis.without_page(scrubbed(str(error).strip()[:_MOST_TEXT], uri).strip())
    return in_brief(text.splitlines()[0], 300) if text else type(error).__name__
