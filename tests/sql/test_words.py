"""What a database refuses: an error of the right kind, and a hint that fits it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql.err
import pytest
import sqlalchemy as sa

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
)
from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.errors import translate
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import ensure_schema
from tests.builders.snapshots import experiment, run, snapshot_of
from tests.sql.helpers import ALL, QUIET, backup, records_of

SAID: dict[str, tuple[type[MlmetaError], str]] = {
    'FATAL: password authentication failed for user "x"': (AuthenticationError, "user and password"),
    'FATAL: role "x" does not exist': (AuthenticationError, "user and password"),
    "(1045, \"Access denied for user 'x'@'%' (using password: YES)\")": (AuthenticationError, "user and password"),
    "(1044, \"Access denied for user 'x'@'%' to database 'm'\")": (AuthenticationError, "may not use this database"),
    'permission denied for database "m"': (AuthenticationError, "may not use this database"),
    "(1142, \"SELECT command denied to user 'x'@'%' for table 'runs'\")": (AuthenticationError, "SELECT on all"),
    "must be owner of table runs": (AuthenticationError, "SELECT on all"),
    "fe_sendauth: no password supplied": (AuthenticationError, "user:password@"),
    'no pg_hba.conf entry for host "h", database "d", no encryption': (
        AuthenticationError,
        "sslmode=require",
    ),
    'FATAL: database "m" does not exist': (MissingStoreError, "database's name"),
    "FATAL: sorry, too many clients already": (UnreachableError, "max_connections"),
    "connection to server at h failed: FATAL: remaining connection slots are reserved": (
        UnreachableError,
        "max_connections",
    ),
    "FATAL: the database system is starting up": (UnreachableError, "until the database server is up"),
    "cannot execute INSERT in a read-only transaction": (RestoreError, "the primary"),
    "The MySQL server is running with the --read-only option": (RestoreError, "the primary"),
    "deadlock detected": (UnreachableError, "try again"),
    "canceling statement due to statement timeout": (UnreachableError, "statement_timeout"),
    "(1366, \"Incorrect string value: '\\xF0' for column 'value'\")": (RestoreError, "--dry-run"),
    "Got a packet bigger than 'max_allowed_packet' bytes": (RestoreError, "max_allowed_packet"),
    "server does not support SSL, but SSL was required": (UnreachableError, "sslmode"),
    "SSL error: certificate verify failed": (UnreachableError, "sslrootcert"),
    'could not translate host name "h" to address: Name or service not known': (UnreachableError, "no such host"),
    'connection to server at "127.0.0.1", port 1 failed: Connection refused': (UnreachableError, "within a container"),
    "(2003, \"Can't connect to MySQL server on 'h' (timed out)\")": (UnreachableError, "host and port"),
    "database is locked": (UnreachableError, "a lock"),
    "database disk image is malformed": (IncompatibleStoreError, "damaged"),
    "attempt to write a readonly database": (IncompatibleStoreError, "writable"),
    "database or disk is full": (StorageFullError, "make room"),
    "no such column: runs.x": (IncompatibleStoreError, "mlflow db upgrade"),
}


@pytest.mark.parametrize("text", SAID)
def test_each_refusal_has_its_hint(text: str) -> None:
    kind, hint = SAID[text]
    for error in (
        sa.exc.OperationalError("SELECT 1", {}, pymysql.err.OperationalError(text)),
        sa.exc.OperationalError(None, None, pymysql.err.OperationalError(text)),
    ):
        found = translate(error, "db")
        assert type(found) is kind, found
        assert hint in found.hint


@pytest.mark.parametrize(
    ("statement", "kind", "hint"),
    [
        ("SELECT odd", ConnectionFailedError, "log"),
        ("INSERT odd", RestoreError, "did not accept it"),
        (None, ConnectionFailedError, "check the URI"),
    ],
)
def test_what_nobody_foresaw(statement: Any, kind: type[MlmetaError], hint: str) -> None:
    found = translate(sa.exc.DBAPIError(statement, {}, Exception("something odd")), "db")
    assert type(found) is kind
    assert hint in found.hint


def execute(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def limited(postgres: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """An empty PostgreSQL database: as its owner, and as somebody without rights."""
    uri = postgres()
    execute(uri, "CREATE ROLE nobody LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        yield uri, sa.make_url(uri).set(username="nobody").render_as_string(hide_password=False)
    finally:
        execute(uri, "DROP OWNED BY nobody; DROP ROLE nobody")


def test_rights_that_are_missing_in_postgresql(limited: tuple[str, str], filled: Path, tmp_path: Path) -> None:
    owner, nobody = limited
    snapshot = backup(f"sqlite:///{filled}", tmp_path)
    with pytest.raises(AuthenticationError, match="permission denied for schema") as error:
        SqlTarget(nobody).restore(snapshot, ALL, QUIET)
    assert "CREATE" in error.value.hint
    ensure_schema(parse(owner))
    with pytest.raises(AuthenticationError, match="permission denied for table") as error:
        records_of(nobody)
    assert "SELECT" in error.value.hint
    execute(owner, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody")
    assert records_of(nobody) == records_of(owner)
    with pytest.raises(AuthenticationError, match="permission denied for table") as error:
        SqlTarget(nobody).restore(snapshot, ALL, QUIET)
    assert "INSERT" in error.value.hint


@pytest.mark.parametrize("made", [True, False], ids=["with tables", "without tables"])
@pytest.mark.parametrize("collation", ["utf8mb3_bin", "latin1_bin"])
def test_mariadb_without_utf8mb4(mysql: Callable[..., str], tmp_path: Path, collation: str, made: bool) -> None:
    uri = mysql(collation)
    if made:
        ensure_schema(parse(uri))
    snapshot = snapshot_of([experiment(1, "e"), run("a" * 32, params={"p": "\U0001f600", "q": "é"})], tmp_path)
    (refused,) = SqlTarget(uri).plan(snapshot, ALL, QUIET).conflicts
    assert refused.field == "params[p]"
    remedy = f"it is {collation.partition('_')[0]}: in a database made with CHARACTER SET utf8mb4 it could"
    assert remedy in refused.reason
    with pytest.raises(RestoreError, match=remedy) as error:
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert "--on-conflict skip" in error.value.hint


def test_rows_that_came_meanwhile() -> None:
    error = sa.exc.IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed: runs.run_uuid"))
    found = translate(error, "db")
    assert isinstance(found, ConflictError)
    assert found.hint.startswith("`--dry-run` names")
