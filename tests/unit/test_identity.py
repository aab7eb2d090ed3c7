"""A source is a store, not the text that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta.schema.identity import canonical, is_vague
from mlmeta.stores.address import identify, this_machine
from mlmeta.stores.opening import Store, identity_of, which
from mlmeta.stores.source import SourceInfo
from mlmeta.stores.sql.database import address, parse
from tests.builders.snapshots import summary

DECODED = pytest.mark.skipif(sa.__version__.startswith("2.0."), reason="SQLAlchemy 2.0 takes the name as it is written")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://x/", "http://x"),
        ("HTTP://Mlflow.Example:80/mlflow//", "http://mlflow.example/mlflow"),
        ("https://h:443", "https://h"),
        ("https://h:80", "https://h:80"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
        ("postgres://DB:5432/mlflow", "postgresql://db/mlflow"),
        ("postgresql+psycopg2://db/mlflow/", "postgresql://db/mlflow"),
        ("mysql+pymysql://db:3307/m", "mysql://db:3307/m"),
        ("sqlite:////srv/../srv//a.db", "sqlite:////srv/a.db"),
        ("sqlite:///./a.db", "sqlite:///a.db"),
        ("/srv/mlruns/", "file:///srv/mlruns"),
        ("file:///srv/mlruns", "file:///srv/mlruns"),
        ("./mlruns", "mlruns"),
        ("databricks://profile", "databricks://profile"),
        ("arn:aws:sagemaker:1:2", "arn:aws:sagemaker:1:2"),
        ("http://x:port", "http://x:port"),
        ("sqlite:////srv/a#1.db", "sqlite:////srv/a#1.db"),
        ("sqlite:////srv/what?.db", "sqlite:////srv/what?.db"),
        ("", ""),
    ],
)
def test_spellings_of_one_store_are_one(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("text", "vague"),
    [
        ("http://localhost:5000", True),
        ("http://127.0.0.2", True),
        ("postgresql:///mlflow", True),
        ("sqlite:///mlflow.db", True),
        ("mlruns", True),
        ("sqlite:////srv/mlflow.db", False),
        ("file:///srv/mlruns", False),
        ("http://mlflow:5000", False),
    ],
)
def test_what_only_means_something_in_its_place_is_vague(text: str, vague: bool) -> None:
    assert is_vague(text) == vague


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://localhost:5000/", "http://box:5000"),
        ("http://127.0.0.1", "http://box"),
        ("http://[::1]:5000/mlflow", "http://box:5000/mlflow"),
        ("http://0.0.0.0:5000", "http://box:5000"),
        ("http://Box:5000", "http://box:5000"),
        ("postgresql://localhost:5432/m", "postgresql://box/m"),
        ("postgresql:///m", "postgresql://box/m"),
        ("mysql+pymysql://127.0.0.1:3307/m", "mysql://box:3307/m"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("databricks", "databricks"),
        ("http://localhost:port", "http://localhost:port"),
        ("azureml://x/y", "azureml://x/y"),
    ],
)
def test_the_loopback_is_this_machine(uri: str, expected: str) -> None:
    assert identify(uri, host="box") == expected


def test_paths_are_real_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert identify("sqlite:///a#1.db") == f"sqlite:///{tmp_path.resolve()}/a#1.db"
    spellings = ("sqlite:///a.db", f"sqlite:///{tmp_path}/link/a.db", "sqlite:///./link/link/a.db")
    for uri in (*spellings, f"sqlite:////{tmp_path}//a.db"):
        assert identify(uri) == f"sqlite:///{tmp_path.resolve()}/a.db"
    for uri in ("mlruns", "./mlruns/", f"file://{tmp_path}/link/mlruns", f"{tmp_path}/mlruns"):
        assert identify(uri) == f"file://{tmp_path.resolve()}/mlruns"


def test_workspaces_schemas_and_registries_are_told_apart() -> None:
    whole = identify("http://x")
    apart = {
        identify("http://x", workspace="a"),
        identify("http://x", workspace="b"),
        identify("http://x", schema="a"),
        identify("http://x", registry="http://r/"),
    }
    assert len({whole, *apart}) == 5
    assert identify("http://x", registry="http://r/") == identify("http://x/", registry="http://r:80")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Box", "box"),
        ("box.local", "box"),
        ("mlflow-0", "mlflow-0"),
        ("web-01.example.org", "web-01.example.org"),
        ("mlflow-7d9c6b8f4-x2x9q", "mlflow"),
        ("backup-28901234-bcdfg", "backup"),
        ("3f2a9c0b1d4e", "localhost"),
        ("localhost", "localhost"),
        ("", "localhost"),
    ],
)
def test_a_host_name_that_changes_at_each_start_is_not_part_of_it(host: str, expected: str) -> None:
    assert this_machine(host) == expected


@pytest.mark.parametrize(
    ("query", "shown", "schema"),
    [
        ("", "postgresql://h/db", ""),
        ("?options=-csearch_path%3Dteam_a,public", "postgresql://h/db", "team_a"),
        ("?options=-c%20search_path%3Dpublic", "postgresql://h/db", ""),
        ('?options=-csearch_path%3D"$user",team_b', "postgresql://h/db", "team_b"),
    ],
)
def test_a_schema_in_the_address_counts(query: str, shown: str, schema: str) -> None:
    database = parse(f"postgresql://user:secret@h/db{query}")
    assert (database.shown, database.schema) == (shown, schema)


def test_a_host_in_the_query_is_the_host() -> None:
    assert parse("postgresql://u:p@/db?host=db1").shown == "postgresql://db1/db"
    assert parse("postgresql://u:p@/db?host=/run/postgresql").shown == "postgresql:///db"


@pytest.mark.parametrize(
    ("uri", "socket"),
    [
        ("postgresql://u:p@/db?host=/cloudsql/project:region:one", "/cloudsql/project:region:one"),
        ("postgresql://u:p@/db?host=/srv/two/", "/srv/two"),
        ("postgresql://u:p@/db?host=@abstract", "@abstract"),
        ("postgresql://u:p@/db?host=/var/run/postgresql", ""),
        ("postgresql:///db", ""),
        ("postgresql://h/db", ""),
        ("mysql+pymysql://u@localhost/db?unix_socket=/cloudsql/project:region:one", "/cloudsql/project:region:one"),
        ("mysql+pymysql://u@localhost/db?unix_socket=/run/mysqld/mysqld.sock", ""),
    ],
)
def test_behind_two_sockets_are_two_servers(uri: str, socket: str) -> None:
    database = address(uri)
    assert database.socket == socket
    usual = identify(database.shown, host="box")
    assert identify(database.shown, socket=socket, host="box") == usual + (f"#socket={socket}" if socket else "")
    assert which(uri).source[1].endswith(f"/db#socket={socket}" if socket else "/db")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://u:p@[::1]/db", "postgresql://[::1]/db"),
        ("postgresql://u:p@[fe80::1]:5433/db", "postgresql://[fe80::1]:5433/db"),
        ("postgresql://u:p@/db?host=/tmp&port=5433", "postgresql://:5433/db"),
        ("postgresql://u:p@/db?host=a:1&host=b:2", "postgresql://a:1/db"),
        pytest.param("postgresql://u:p@h/my%20db", "postgresql://h/my db", marks=DECODED),
        pytest.param("sqlite:////srv/what%3F.db", "sqlite:////srv/what?.db", marks=DECODED),
        pytest.param("sqlite:////srv/50%25.db", "sqlite:////srv/50%.db", marks=DECODED),
    ],
)
def test_addresses_in_unusual_forms(uri: str, shown: str) -> None:
    assert address(uri).shown == shown
    assert identify(shown)  # which a host in its brackets is fit for


@pytest.mark.parametrize(("registry", "mark"), [("http://X:80/", ""), ("http://u:p@x", ""), ("http://y/", "http://y")])
def test_a_registry_at_the_same_place_is_no_other_one(registry: str, mark: str) -> None:
    found = identity_of(Store("http://x", registry), SourceInfo(uri="http://x", kind="server"))
    assert found == "http://x" + (f"#registry={mark}" if mark else "")


def test_the_label_counts_then_the_id_then_the_text() -> None:
    assert summary(mlflow_uri="http://x/").identity == "http://x"
    assert summary(source_id="http://y").identity == "http://y"
    assert summary(source_id="http://y", label="prod").identity == "prod"
    assert summary(mlflow_uri="sqlite:///a.db").is_vague
    assert not summary(mlflow_uri="sqlite:///a.db", source_id="sqlite:////srv/a.db").is_vague
