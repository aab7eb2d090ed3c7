"""What drivers raise, as errors of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError

from mlmeta.errors import (
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    IncompatibleStoreError,
    MissingStoreError,
    MlmetaError,
    RestoreError,
    StorageFullError,
    UnreachableError,
    UsageError,
)
from mlmeta.redaction import scrubbed
from mlmeta.tracking.sqlite_files import BUSY_SECONDS


@dataclass(frozen=True)
class _Rule:
    """Words in a driver's message, and what they mean. Drivers have no codes that all of them share."""

    words: tuple[str, ...]
    error: type[MlmetaError]
    hint: str


_LOCKED = _Rule(
    ("database is locked", "lock timeout", "lock wait timeout"),
    UnreachableError,
    f"somebody has held a lock on it for {BUSY_SECONDS} seconds and more: end that one, or try again later",
)

_RULES = (
    _Rule(
        ("password authentication failed", "access denied for user", "no password supplied", "no pg_hba.conf entry"),
        AuthenticationError,
        "check user and password in the URI",
    ),
    _Rule(
        ("row-level security policy",),
        AuthenticationError,
        "rows are hidden from this user: read as one with BYPASSRLS, or as the owner of tables without FORCE",
    ),
    _Rule(("permission denied", "command denied"), AuthenticationError, "the user needs rights on MLflow's tables"),
    _Rule(
        ("unknown database", 'database "'), MissingStoreError, "check the database's name, or create an empty one first"
    ),
    _Rule(
        (
            "connection refused",
            "could not translate host name",
            "can't connect to",
            "timeout expired",
            "no such file or",
        ),
        UnreachableError,
        "check host and port, and that the database server runs",
    ),
    _Rule(
        ("could not connect", "connection failed", "connection to server", "server closed", "lost connection"),
        UnreachableError,
        "check host and port, and that the database server runs",
    ),
    _LOCKED,
    _Rule(("file is not a database",), IncompatibleStoreError, "name the SQLite file of an MLflow server"),
    _Rule(
        ("database disk image is malformed",),
        IncompatibleStoreError,
        "the SQLite file is damaged; restore an older copy or snapshot",
    ),
    _Rule(
        ("readonly database",),
        IncompatibleStoreError,
        "a writer of the SQLite file crashed: open it once with `sqlite3 FILE .tables`, or make it writable",
    ),
    _Rule(("unable to open database",), UnreachableError, "check that the file and its folder may be read"),
    _Rule(("disk is full", "no space left", "could not extend file"), StorageFullError, "make room, then run it again"),
    _Rule(("no such table", "does not exist", "doesn't exist", "no such column"), IncompatibleStoreError, ""),
)


def translate(error: Exception, shown: str, url: str = "") -> MlmetaError:
    """The error of ours for one of a driver or SQLAlchemy.

    Args:
        error: what was raised.
        shown: the database's address without credentials.
        url: the address itself; its secrets are taken out of the message, should a driver have put them there.
    """
    text = _text(error, url)
    if isinstance(error, NoSuchModuleError):
        return UsageError(f"{shown}: {text}", hint="check the scheme of the URI")
    if isinstance(error, IntegrityError):
        return _refused_row(f"{shown}: {text}")
    for rule in _RULES:
        if any(word in text.lower() for word in rule.words):
            return rule.error(f"{shown}: {text}{_where(error) if rule is _LOCKED else ''}", hint=rule.hint)
    refused = isinstance(error, DBAPIError) and not error.connection_invalidated and error.statement
    if refused or isinstance(error, OverflowError):
        return RestoreError(f"{shown}: {text}", hint=_STATEMENT_HINT)
    return ConnectionFailedError(f"{shown}: {text}", hint="check the URI and the database server")


def _refused_row(message: str) -> MlmetaError:
    """Another try helps only where somebody has written the same meanwhile: the next plan sees that."""
    if any(words in message.lower() for words in ("unique", "duplicate")):
        return ConflictError(message, hint="if a server wrote into it meanwhile, try again: the plan names what it has")
    return RestoreError(message, hint="a rule of the table forbids it; another kind of database may take it")


_STATEMENT_HINT = (
    "the database did not take it; where a value is too long or not text for it, another kind of target may"
)


_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|COPY)\s+[`\"]?(\w+)", re.IGNORECASE)


def _where(error: Exception) -> str:
    """The tables of the statement that failed: one of them is locked."""
    statement = error.statement if isinstance(error, DBAPIError) else None
    tables = dict.fromkeys(_TABLE.findall(statement or ""))
    return f" (table {' or '.join(tables)})" if tables else ""


def _text(error: Exception, url: str) -> str:
    """The driver's own words on one line; SQLAlchemy would add the statement with its values."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(original).split()) or type(original).__name__
    return scrubbed(text, url)


def missing_driver(kind: str, drivers: Sequence[str]) -> MlmetaError:
    """The error for a database whose driver is not installed."""
    return UsageError(
        f"no driver for {kind} is installed ({' or '.join(drivers)})", hint=f"pip install 'mlmeta[{kind}]'"
    )
