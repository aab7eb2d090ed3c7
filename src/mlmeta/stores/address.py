"""Tracking URIs: what kind of store they name, whether it can be used, and which one it is."""

from __future__ import annotations

import difflib
import re
import socket
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from mlmeta.errors import UsageError
from mlmeta.installing import how_to_install
from mlmeta.redaction import secrets_in, without_secrets
from mlmeta.schema.identity import canonical, host_and_port, is_loopback, is_vague, sqlite_path

_SERVERS = {"http", "https", "databricks", "databricks-uc", "uc"}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_PLUGINS = "mlflow.tracking_store"
"""The group of entry points under which MLflow finds stores that others have written."""
ESCAPES = "write special characters as %-escapes: @ is %40, / is %2F, : is %3A, # is %23, ? is %3F"
_NOT_INSTALLED = {"azureml": "azureml-mlflow", "arn": "sagemaker-mlflow"}
"""Plugins that people name most, by their schemes."""

LOCALHOST = "localhost"
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
"""The letters and digits that Kubernetes makes names of (k8s.io/apimachinery, `rand.SafeEncodeString`)."""
_POD = re.compile(rf"(?P<name>.+?)-(?:{_RANDOM}{{6,10}}|\d{{8,10}})-{_RANDOM}{{5}}", re.ASCII)
"""A pod of a Deployment (hash of its template), or of a CronJob (minutes since the epoch)."""
_CONTAINER = re.compile(r"[0-9a-f]{12}", re.ASCII)
"""Docker's and Podman's default: the beginning of the container's id."""


def kind_of(uri: str) -> str:
    """``server``, ``sqlite``, ``postgresql``, ``mysql``, ``mssql``, ``files``, ``plugin`` or ``unknown``.

    Raises:
        UsageError: it is not a URI at all.
    """
    scheme = _scheme(uri)
    dialect = scheme.partition("+")[0]
    if scheme in _SERVERS or uri == "databricks":
        return "server"
    if dialect in _DATABASES:
        return dialect
    if dialect == "postgres":
        return "postgresql"
    if scheme in {"", "file"}:
        return "files"
    return "plugin" if scheme in {plugin.name for plugin in entry_points(group=_PLUGINS)} else "unknown"


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme.lower()
    except ValueError as error:  # its words may be a part of a password
        raise UsageError(
            f"{without_secrets(uri)!r} is not a valid tracking URI",
            hint=f"such as http://mlflow:5000; in a password {ESCAPES}",
        ) from error


def require_usable(uri: str, option: str = "--tracking-uri") -> None:
    """See that a URI is one that MLflow understands as its writer meant it.

    Raises:
        UsageError: its scheme is unknown, or a part of its password would be taken for a host or a path.
    """
    require_text(uri, option)
    kind = kind_of(uri)
    if kind not in _DATABASES and _splits_its_password(uri):  # SQLAlchemy parses databases' in its own way
        raise UsageError(f"the password in {option} has special characters ({without_secrets(uri)})", hint=ESCAPES)
    if kind == "unknown" or (kind == "files" and secrets_in(uri)):
        raise UsageError(
            f"{without_secrets(uri)} ({option}) is not a store that mlmeta knows", hint=_meant(_scheme(uri))
        )


def require_text(words: str, option: str) -> None:
    """See that words can be written into a snapshot.

    Raises:
        UsageError: they are not UTF-8, as file names may be.
    """
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{option} is not UTF-8: {without_secrets(words)}",
            hint="give the file another name, or a link that has one",
        ) from error


def _splits_its_password(uri: str) -> bool:
    """Whether a parser finds another host than the one behind the last ``@``, or a port that is not a number."""
    parts = urlsplit(uri)
    if not parts.netloc or not secrets_in(uri):
        return False
    try:
        return parts.port is None and ":" in parts.netloc.rpartition("@")[2].rpartition("]")[2]
    except ValueError:  # the words behind the colon are not a port
        return "," not in parts.netloc  # several hosts: PostgreSQL and MySQL take them


def _meant(scheme: str) -> str:
    if package := _NOT_INSTALLED.get(scheme):
        return f"{how_to_install(package)} brings the plugin that MLflow needs for it"
    if scheme.startswith("mariadb"):
        return "write mysql+pymysql://… : MLflow speaks to MariaDB as to MySQL"
    if scheme == "jdbc":
        return "leave out jdbc: and write user and password as postgresql://user:password@host/database"
    known = [*sorted(_SERVERS), *sorted(_DATABASES), "file"]
    close = difflib.get_close_matches(scheme.partition("+")[0], known, n=1)
    if close:
        return f"did you mean {close[0]}://…?"
    return "use http(s)://…, sqlite:///…, postgresql://…, mysql://… or a folder, or install the MLflow plugin for it"


def folder_of(uri: str) -> Path:
    """The folder of a file store's URI (``./mlruns`` or ``file:///…``)."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)


def identify(
    uri: str, *, workspace: str = "", schema: str = "", socket: str = "", registry: str = "", host: str | None = None
) -> str:
    """One text for all the ways to name a store: what retention and `latest` count by.

    Args:
        uri: a tracking URI without credentials.
        workspace: of MLflow; empty: the default one.
        schema: of a database, where it is not the usual one.
        socket: that leads to a database, where it is not a usual one.
        registry: tracking URI of the model registry, which may be somewhere else.
        host: the name to put in for the loopback; None: this machine's.
    """
    name = this_machine() if host is None else host
    place = _located(uri, name)
    models = _located(registry, name) if registry else place
    more = {"schema": schema, "socket": socket, "workspace": workspace, "registry": models if models != place else ""}
    marks = "&".join(f"{key}={value}" for key, value in more.items() if value)
    return place + (f"#{marks}" if marks else "")


def _located(uri: str, host: str) -> str:
    kind, scheme = kind_of(uri), urlsplit(uri).scheme.lower()
    text = canonical(uri)
    try:
        if kind == "sqlite":
            return f"sqlite:////{str(Path(sqlite_path(uri)).resolve()).lstrip('/')}"  # POSIX keeps two slashes
        if kind == "files" and scheme in {"", "file"}:
            return f"file://{folder_of(uri).resolve()}"
    except (OSError, RuntimeError):  # no working directory any more, or a link that leads to itself
        return text
    if not is_vague(text) or "://" not in text:
        return text
    parts = urlsplit(text)
    try:
        port = host_and_port(parts, parts.scheme).rpartition("]")[2].partition(":")[2]
    except ValueError:  # a port that is not a number
        return text
    return urlunsplit(parts._replace(netloc=f"{host}:{port}" if port else host))


def this_machine(name: str | None = None) -> str:
    """A name for this machine that it keeps when it starts again.

    A container gets a new host name each time: of a Kubernetes pod's the steady part is left, and Docker's, which has
    none, is `localhost`, as on Cloud Run: else each start were a source of its own, and retention kept every one.

    Args:
        name: the host name; None: ask for it.
    """
    found = (socket.gethostname() if name is None else name).lower().rstrip(".").removesuffix(".local")
    if match := _POD.fullmatch(found):
        return match["name"]
    return LOCALHOST if not found or _CONTAINER.fullmatch(found) or is_loopback(found) else found
