"""Tracking URIs: what kind of store they name, and whether they can be used."""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlmeta.errors import UsageError
from mlmeta.redaction import secrets_in, without_secrets

_SERVERS = {"http", "https", "databricks", "databricks-uc", "uc"}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_PLUGINS = "mlflow.tracking_store"
"""The group of entry points under which MLflow finds stores that others have written."""
ESCAPES = "write special characters as %-escapes: @ is %40, / is %2F, : is %3A, # is %23, ? is %3F"
_NOT_INSTALLED = {"azureml": "azureml-mlflow", "arn": "sagemaker-mlflow"}
"""Plugins that people name most, by their schemes."""


def kind_of(uri: str) -> str:
    """``server``, ``sqlite``, ``postgresql``, ``mysql``, ``mssql``, ``files``, ``plugin`` or ``unknown``.

    Raises:
        UsageError: it is no URI at all.
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
        UsageError: nobody knows its scheme, or a part of its password would be taken for a host or a path.
    """
    require_text(uri, option)
    kind = kind_of(uri)
    if kind not in _DATABASES and _splits_its_password(uri):  # SQLAlchemy parses databases' in its own way
        raise UsageError(f"the password in {option} has special characters ({without_secrets(uri)})", hint=ESCAPES)
    if kind == "unknown" or (kind == "files" and secrets_in(uri)):
        raise UsageError(f"no store answers to {without_secrets(uri)} ({option})", hint=_meant(_scheme(uri)))


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
    """Whether a parser finds another host than the one behind the last ``@``, or a port that is no number."""
    parts = urlsplit(uri)
    if not parts.netloc or not secrets_in(uri):
        return False
    try:
        return parts.port is None and ":" in parts.netloc.rpartition("@")[2].rpartition("]")[2]
    except ValueError:  # the words behind the colon are no port
        return "," not in parts.netloc  # several hosts: PostgreSQL and MySQL take them


def _meant(scheme: str) -> str:
    if package := _NOT_INSTALLED.get(scheme):
        return f"`pip install {package}` brings the plugin that MLflow needs for it"
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
