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
from mlmeta.installing import how_to_install
from mlmeta.redaction import scrubbed
from mlmeta.stores.address import ESCAPES
from mlmeta.stores.sql.sqlite import BUSY_SECONDS


@dataclass(frozen=True)
class _Rule:
    """Words in a driver's message (regular expressions), and what they mean. Drivers share no codes."""

    words: tuple[str, ...]
    error: type[MlmetaError]
    hint: str


_LOCKED = _Rule(
    ("database is locked", "lock timeout", "lock wait timeout"),
    UnreachableError,
    f"somebody has held a lock on it for more than {BUSY_SECONDS} seconds: end that process, or try again later",
)

_PACKAGES = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
    "mysqldb": "mysqlclient",
}
"""Which package brings a driver, by the name that SQLAlchemy has for it."""

_DOWN = "check host and port, and that the database server runs; within a container, localhost is the container itself"

_RULES = (
    _Rule(
        ("permission denied for schema",),
        AuthenticationError,
        "the user needs USAGE on the schema, and CREATE to make MLflow's tables there: GRANT it as the schema's owner",
    ),
    _Rule(
        ("permission denied for database", r"access denied for user .* to database"),
        AuthenticationError,
        "the user and password are right, but that user may not use this database: GRANT it, or check the name",
    ),
    _Rule(
        ("permission denied for", "command denied", "must be owner of"),
        AuthenticationError,
        "a backup needs SELECT on all of MLflow's tables, a restore INSERT, UPDATE and DELETE as well: GRANT them",
    ),
    _Rule(
        ("no pg_hba.conf entry",),
        AuthenticationError,
        "the server's pg_hba.conf keeps this user out here; where it says `no encryption`, ?sslmode=require may help",
    ),
    _Rule(("no password supplied",), AuthenticationError, f"write user:password@ before the host; in both {ESCAPES}"),
    _Rule(
        ("password authentication failed", "access denied for user", 'role ".*" does not exist'),
        AuthenticationError,
        "check user and password in the URI",
    ),
    _Rule(
        ("row-level security policy",),
        AuthenticationError,
        "rows are hidden from this user: read as one with BYPASSRLS, or as the owner of tables without FORCE",
    ),
    _Rule(
        ("unknown database", 'database ".*" does not exist'),
        MissingStoreError,
        "check the database's name, or create it",
    ),
    _Rule(
        ("too many connections", "too many clients", "remaining connection slots"),
        UnreachableError,
        "the database server gives no further connection: raise its max_connections, or try again later",
    ),
    _Rule(
        ("is starting up", "is shutting down", "recovery mode", "not currently accepting connections"),
        UnreachableError,
        "wait until the database server is up, and try again",
    ),
    _Rule(
        ("read-only transaction", "--read-only", "super-read-only"),
        RestoreError,
        "this server is read-only: restore into the primary",
    ),
    _Rule(("deadlock",), UnreachableError, "somebody else writes there too: try again"),
    _Rule(
        ("statement timeout", "max_statement_time", "maximum statement execution time"),
        UnreachableError,
        "the server ends long statements: raise that limit (statement_timeout, max_statement_time) for this user",
    ),
    _Rule(
        ("incorrect string value", "has no equivalent in encoding"),
        RestoreError,
        "a text has a character that the column can't hold: `--dry-run` names it, and what would hold it",
    ),
    _Rule(("max_allowed_packet", "got a packet bigger"), RestoreError, "raise max_allowed_packet on the server"),
    _Rule(
        ("certificate verify failed", "root certificate file"),
        UnreachableError,
        "name its authority's certificate in the URI: sslrootcert=FILE (PostgreSQL), ssl_ca=FILE (MySQL)",
    ),
    _Rule(
        ("does not support ssl", "ssl connection is required", "require_secure_transport"),
        UnreachableError,
        "check the parameters for TLS in the URI: sslmode=… (PostgreSQL), ssl_ca=… (MySQL)",
    ),
    _Rule(
        ("could not translate host name", "name or service not known", "failed to resolve host", "name resolution"),
        UnreachableError,
        "check the host in the URI: no such host is known here (spelling, VPN, the container's network)",
    ),
    _Rule(
        ("connection refused", "can't connect to", "no such file or", "timeout expired", "could not connect"),
        UnreachableError,
        _DOWN,
    ),
    _LOCKED,
    _Rule(
        ("connection failed", "connection to server", "server closed", "lost connection", "gone away"),
        UnreachableError,
        _DOWN,
    ),
    _Rule(("file is not a database",), IncompatibleStoreError, "name the SQLite file of an MLflow server"),
    _Rule(
        ("database disk image is malformed",),
        IncompatibleStoreError,
        "the SQLite file is damaged: restore an older copy or snapshot, into a new file",
    ),
    _Rule(
        ("readonly database",),
        IncompatibleStoreError,
        "make file and folder writable; to read what a crashed writer left, open it once with `sqlite3 FILE .tables`",
    ),
    _Rule(("unable to open database",), UnreachableError, "check that the file and its folder may be read"),
    _Rule(("disk is full", "no space left", "could not extend file"), StorageFullError, "make room, then run it again"),
    _Rule(
        ("no such table", "does not exist", "doesn't exist", "no such column", "unknown column"),
        IncompatibleStoreError,
        "MLflow's tables are not complete: if a migration was cut short, `mlflow db upgrade <database URI>` ends it",
    ),
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
        if any(re.search(words, text.lower()) for words in rule.words):
            return rule.error(f"{shown}: {text}{_where(error) if rule is _LOCKED else ''}", hint=rule.hint)
    if (query := _statement(error)) and _READS.match(query):
        return ConnectionFailedError(f"{shown}: {text}", hint="look at the database server's log")
    if query or isinstance(error, OverflowError):
        return RestoreError(f"{shown}: {text}", hint=_STATEMENT_HINT)
    return ConnectionFailedError(f"{shown}: {text}", hint="check the URI, and look at the database server's log")


_READS = re.compile(r"\s*(?:SELECT|WITH|SHOW|PRAGMA)\b", re.IGNORECASE)


def _statement(error: Exception) -> str:
    """What the server refused; empty where the connection itself failed."""
    if isinstance(error, DBAPIError) and not error.connection_invalidated:
        return error.statement or ""
    return ""


def _refused_row(message: str) -> MlmetaError:
    """Another try helps only where somebody has written the same meanwhile: the next plan sees that."""
    if any(words in message.lower() for words in ("unique", "duplicate")):
        return ConflictError(message, hint="`--dry-run` names what is there; if a server wrote it meanwhile, try again")
    return RestoreError(message, hint="a constraint of the table forbids it; another kind of database may accept it")


_STATEMENT_HINT = "the database did not accept it: another kind of target may, and its log may say more"


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
    package = next((_PACKAGES[driver] for driver in reversed(drivers) if driver in _PACKAGES), "")
    hint = how_to_install(package) if package else f"write {kind}://…, without +{drivers[0]}"
    return UsageError(f"no driver for {kind} is installed ({' or '.join(drivers)})", hint=hint)
