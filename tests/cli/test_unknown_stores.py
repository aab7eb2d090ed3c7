"""Addresses that no store answers to: what is wrong, and what was probably meant."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.support.cli import Cli

UNKNOWN = {
    "azureml://eastus.api.azureml.ms/mlflow/v1.0/x": (2, "pip install azureml-mlflow"),
    "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/x": (2, "pip install sagemaker-mlflow"),
    "mariadb+pymysql://db/mlflow": (2, "mysql+pymysql://"),
    "jdbc:postgresql://db/mlflow": (2, "leave out jdbc:"),
    "postgress://db/mlflow": (2, "did you mean postgresql://"),
    "htpp://mlflow:5000": (2, "did you mean http://"),
    "redis://db": (2, "use http(s)://"),
    "mlflow.db": (1, "sqlite:///mlflow.db"),
    "mssql+pyodbc://db/mlflow": (1, "driver"),
    "mysql+nothing://db/mlflow": (2, "mysql"),
}


@pytest.mark.parametrize("option", ["--tracking-uri", "--registry-uri"])
@pytest.mark.parametrize("uri", UNKNOWN)
def test_what_was_meant(cli: Cli, uri: str, option: str) -> None:
    with closing(sqlite3.connect(cli.folder / "mlflow.db")) as db:
        db.execute("CREATE TABLE runs (a)")
    words = (option, uri) if option == "--tracking-uri" else ("--tracking-uri", "http://127.0.0.1:9", option, uri)
    code, hint = UNKNOWN[uri]
    done = cli("backup", *words, "--json")
    assert done.code == code, done
    (error,) = done.document["errors"]
    assert hint in error["hint"], error
    assert "bug" not in done.err
    assert not (cli.folder / "backups").exists()
