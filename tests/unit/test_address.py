"""Secrets in tracking URIs."""

from __future__ import annotations

import pytest

from mlmeta.redaction import scrubbed, without_secrets
from mlmeta.stores.address import kind_of
from mlmeta.stores.opening import Store

URIS = [
    ("http://ada:s3cret@mlflow:5000", "http://mlflow:5000"),
    ("https://ada:s3%40cret@mlflow/path", "https://mlflow/path"),
    ("postgresql://ada:s3cret@db:5432/mlflow", "postgresql://db:5432/mlflow"),
    ("postgresql+psycopg2://ada:s3cret@db/mlflow?sslmode=require", "postgresql+psycopg2://db/mlflow?sslmode=require"),
    ("mysql://db/mlflow?user=ada&password=s3cret", "mysql://db/mlflow?user=ada"),
    ("http://mlflow:5000?token=s3cret&mode=ro", "http://mlflow:5000?mode=ro"),
    ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
    ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
    ("./mlruns", "./mlruns"),
    ("databricks", "databricks"),
]


@pytest.mark.parametrize(("uri", "shown"), URIS)
def test_a_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize("uri", [uri for uri, _ in URIS if "cret" in uri])
def test_a_foreign_message_loses_them_too(uri: str) -> None:
    for secret in ("s3@cret", "s3%40cret") if "%40" in uri else ("s3cret",):
        found = scrubbed(f"failed: {uri}/api/2.0, password {secret}; see http://someone:else@proxy/x", uri)
        assert "cret" not in found.replace("***", "")
        assert "someone" not in found
        assert found.startswith("failed: ")


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("http://a", "server"),
        ("HTTPS://a", "server"),
        ("sqlite:///a.db", "sqlite"),
        ("postgresql+psycopg2://a/b", "postgresql"),
        ("postgres://a/b", "postgresql"),
        ("mysql+pymysql://a/b", "mysql"),
        ("./mlruns", "files"),
        ("file:///srv/mlruns", "files"),
    ],
)
def test_kinds(uri: str, kind: str) -> None:
    assert kind_of(uri) == kind


@pytest.mark.parametrize("path", ["/db", "/a@b", ""])
def test_a_password_of_special_characters_by_itself(path: str) -> None:
    """As a driver repeats it, which knows where it ends: not at the last ``@``, which is the path's."""
    found = scrubbed("wrong: 'pw]x[', AccountKey=abc==;x", f"postgresql://ada:pw]x[@db{path}")
    assert found == "wrong: '***', AccountKey=***;x"


def test_a_store_does_not_show_its_password() -> None:
    """Where somebody logs it, or a traceback shows it."""
    assert "s3cret" not in repr(Store("http://ada:s3cret@mlflow", "postgresql://ada:s3cret@db/mlflow"))
