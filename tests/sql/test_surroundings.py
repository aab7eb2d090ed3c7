"""Sound databases in unusual surroundings: poolers, encodings, sequences, schemas, collations."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.parallel_reads import export_moment
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import ensure_schema, make_schema
from mlmeta.stores.sql.writing import writing
from tests.sql.helpers import ALL, QUIET, backup, digests
from tests.support.server import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def execute(uri: str, *statements: str) -> None:
    engine = sa.create_engine(uri, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def pooled(postgres: Callable[[], str]) -> Iterator[str]:
    """The URI of an empty database behind pgbouncer in transaction mode, with a single server connection."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer on this machine")
    url = sa.make_url(postgres())
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-pgbouncer-"))
    folder.chmod(0o777)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={url.query['host']} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 1\n"
    )
    owner = ["-u", Path(str(url.query["host"])).owner()] if os.getuid() == 0 else []
    process = subprocess.Popen([PGBOUNCER, "-q", *owner, str(settings)])
    uri = f"postgresql+psycopg://postgres@127.0.0.1:{port}/{url.database}"
    try:
        _await(uri, process)
        yield uri
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def _await(uri: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with psycopg.connect(uri.replace("+psycopg", "")):
                return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise RuntimeError("pgbouncer did not start")


def test_a_pooler_in_transaction_mode(filled: Path, tmp_path: Path, pooled: str) -> None:
    first = backup(f"sqlite:///{filled}", tmp_path / "a")
    for created in (4, 0):  # each on the server connection that the others had
        assert SqlTarget(pooled).restore(first, ALL, QUIET).created.get("experiments", 0) == created
        assert digests(backup(pooled, tmp_path / f"b{created}")) == digests(first)
    with parse(pooled).reading() as connection:
        assert export_moment(connection) == ""  # a lane would wait for the only server connection
    with psycopg.connect(pooled.replace("+psycopg", ""), prepare_threshold=None) as client:
        assert client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "UTF8", "LATIN1"])
def test_every_encoding_of_a_database(
    encoding: str, store: Path, tmp_path: Path, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = postgres()
    name = f"encoded_{encoding.lower()}"
    execute(uri, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    encoded = sa.make_url(uri).set(database=name).render_as_string(hide_password=False)
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    if encoding == "LATIN1":
        _in_latin(store)
    first = backup(f"sqlite:///{store}", tmp_path / "a")
    SqlTarget(encoded).restore(first, ALL, QUIET)
    assert digests(backup(encoded, tmp_path / "b")) == digests(first)


def _in_latin(store: Path) -> None:
    """Replace what is not in Latin-1 in a store."""
    execute(
        f"sqlite:///{store}",
        "UPDATE experiments SET name = 'Träume' WHERE name LIKE 'Tr%'",
        "UPDATE params SET key = 'clé', value = 'é' WHERE key = 'ключ'",
    )


SEQUENCE = "experiments_experiment_id_seq"


@pytest.mark.parametrize(
    ("changes", "following", "notes"),
    [
        ([], 4, 0),
        ([f"ALTER SEQUENCE {SEQUENCE} OWNED BY NONE"], 4, 0),
        ([f"ALTER SEQUENCE {SEQUENCE} OWNED BY NONE", f'ALTER SEQUENCE {SEQUENCE} RENAME TO "Odd name"'], 4, 0),
        (
            [f"ALTER SEQUENCE {SEQUENCE} OWNED BY NONE", "CREATE SCHEMA z", f"ALTER SEQUENCE {SEQUENCE} SET SCHEMA z"],
            4,
            0,
        ),
        (["ALTER TABLE experiments ALTER experiment_id DROP DEFAULT", f"DROP SEQUENCE {SEQUENCE}"], None, 1),
        (
            [
                "ALTER TABLE experiments ALTER experiment_id DROP DEFAULT",
                f"DROP SEQUENCE {SEQUENCE}",
                "ALTER TABLE experiments ALTER experiment_id ADD GENERATED BY DEFAULT AS IDENTITY",
            ],
            4,
            0,
        ),
    ],
    ids=["owned", "not owned", "odd name", "another schema", "none", "identity"],
)
def test_every_kind_of_sequence(
    changes: list[str], following: int | None, notes: int, filled: Path, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    uri = postgres()
    with writing(parse(uri)) as connection:
        make_schema(connection)
    execute(uri, *changes)
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert len(report.notes) == notes
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    insert = "INSERT INTO experiments (name, lifecycle_stage) VALUES ('next', 'active') RETURNING experiment_id"
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        if following is None:
            with pytest.raises(sa.exc.IntegrityError):
                connection.exec_driver_sql(insert)
        else:
            assert connection.exec_driver_sql(insert).scalar() == following


@pytest.mark.parametrize("made", [True, False], ids=["with tables", "without tables"])
def test_tables_in_the_second_schema_of_the_search_path(
    made: bool, filled: Path, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    uri = postgres()
    execute(uri, "CREATE SCHEMA one", "CREATE SCHEMA two")
    if made:
        with writing(parse(f"{uri}&options=-csearch_path%3Dtwo")) as connection:
            make_schema(connection)
    both = f"{uri}&options=-csearch_path%3Done,two"
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    target = SqlTarget(both)
    assert target.restore(snapshot, ALL, QUIET).created == target.plan(snapshot, ALL, QUIET).present
    assert digests(backup(both, tmp_path / "b")) == digests(snapshot)
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    assert [bool(sa.inspect(engine).get_table_names(schema)) for schema in ("one", "two")] == [not made, made]


@pytest.mark.parametrize("other", ["utf8mb4_unicode_ci", "utf8mb4_general_nopad_ci"])
def test_two_collations_in_one_schema(other: str, filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql("utf8mb4_bin")
    ensure_schema(parse(uri))
    tables = ("experiments", "experiment_tags", "datasets", "inputs", "input_tags")  # no foreign key holds their texts
    convert = f"CONVERT TO CHARACTER SET utf8mb4 COLLATE {other}"
    engine = sa.create_engine(uri, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for table in tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} {convert}")
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    target = SqlTarget(uri)
    assert not target.plan(snapshot, ALL, QUIET).conflicts
    target.restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    assert not any(target.restore(snapshot, ALL, QUIET).created.values())
