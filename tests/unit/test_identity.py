"""A source is a store, not the text that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta.schema import Summary
from mlmeta.schema.identity import canonical, is_vague
from mlmeta.tracking.database import parse
from mlmeta.tracking.identity import identify, this_machine


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
        ("azureml://x/y", "azureml://x/y"),
    ],
)
def test_the_loopback_is_this_machine(uri: str, expected: str) -> None:
    assert identify(uri, host="box") == expected


def test_paths_are_real_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for uri in ("sqlite:///a.db", f"sqlite:///{tmp_path}/link/a.db", "sqlite:///./link/link/a.db"):
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


def summary(**more: str) -> Summary:
    return Summary(
        **{"backup_timestamp": "", "backup_date": "", "mlflow_uri": "http://x/", "note": "", **more}, stats={}, files={}
    )


def test_the_label_counts_then_the_id_then_the_text() -> None:
    assert summary().identity == "http://x"
    assert summary(source_id="http://y").identity == "http://y"
    assert summary(source_id="http://y", label="prod").identity == "prod"
    assert summary(mlflow_uri="sqlite:///a.db").is_vague
    assert not summary(mlflow_uri="sqlite:///a.db", source_id="sqlite:////srv/a.db").is_vague
