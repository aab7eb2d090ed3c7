"""No part of a password is told, however its address is written: not in an error, nor in what lies behind it."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import mlmeta
from mlmeta.errors import MlmetaError
from mlmeta.redaction import scrubbed, without_any_secrets, without_secrets
from mlmeta.stores.opening import Store
from tests.support.cli import Cli, Finished

PASSWORDS = (
    "Zqa",
    "Zqa@Zqb",
    "Zqa/Zqb",
    "Zqa#Zqb",
    "Zqa?Zqb",
    "Zqa[Zqb",
    "Zqa]Zqb",
    "Zqa:Zqb",
    "Zqa%40Zqb",
    "12/Zqb@Zqc",
)
ADDRESSES = (
    *(f"{scheme}://me:PASSWORD@127.0.0.1:9/db" for scheme in ("http", "https", "postgresql", "postgresql+psycopg")),
    *(f"{scheme}://me:PASSWORD@127.0.0.1:9/db" for scheme in ("postgres", "mysql", "mysql+pymysql", "mysql+nothing")),
    *(f"{scheme}://me:PASSWORD@127.0.0.1:9/db" for scheme in ("mariadb+pymysql", "mssql+pyodbc", "oracle", "htpp")),
    *(f"{scheme}://me:PASSWORD@127.0.0.1:9/db" for scheme in ("postgress", "azureml", "s3", "redis")),
    "postgresql:/me:PASSWORD@127.0.0.1:9/db",
    "postgresql//me:PASSWORD@127.0.0.1:9/db",
    "postgresql:///me:PASSWORD@127.0.0.1:9/db",
    "http:me:PASSWORD@127.0.0.1:9/db",
    "me:PASSWORD@127.0.0.1:9/db",
    "jdbc:postgresql://127.0.0.1:9/db?user=me&password=PASSWORD",
    "jdbc:sqlserver://127.0.0.1:9;databaseName=db;user=me;password=PASSWORD",
    "jdbc:oracle:thin:me/PASSWORD@//127.0.0.1:9/db",
    "postgresql://me:PASSWORD",
    "http://me:PASSWORD",
    *(f"http://127.0.0.1:9/?{name}=PASSWORD" for name in ("sig", "auth", "jwt", "token", "X-Amz-Signature", "pw")),
    "http://127.0.0.1:9/#access_token=PASSWORD",
    "postgresql://127.0.0.1:9/db?user=me&password=PASSWORD",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_error_tells_a_part_of_a_password(address: str, tmp_path: Path) -> None:
    for password in PASSWORDS:
        if "@" not in address and "@" in password and "=" not in address:
            continue  # what follows the @ is the host
        uri = address.replace("PASSWORD", password)
        for call in (_backup, _registry, _restore, _storage):
            with pytest.raises(MlmetaError) as caught:
                call(uri, tmp_path)
            told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
            assert "Zq" not in told, (call, uri)
            assert "bug" not in told
        assert "Zq" not in without_secrets(uri)
        assert "Zq" not in repr(Store(uri, uri))


def _backup(uri: str, folder: Path) -> None:
    mlmeta.backup(uri, [str(folder / "backups")])


def _registry(uri: str, folder: Path) -> None:
    mlmeta.backup("http://127.0.0.1:9", [str(folder / "backups")], registry_uri=uri)


def _restore(uri: str, folder: Path) -> None:
    mlmeta.restore(uri, "latest", str(folder))


def _storage(uri: str, folder: Path) -> None:
    mlmeta.restore("http://127.0.0.1:9", "latest", uri)


@pytest.mark.parametrize(
    ("message", "uri", "shown"),
    [
        ("relation x does not exist", "postgresql://me:x@db/prod", "relation x does not exist"),
        ("it does not exist", "postgresql://me:x@db/prod", "it does not exist"),
        ("no password 'x'; x@db", "postgresql://me:x@db/prod", "no password '***'; x@db"),
        (
            'database "mlflow" does not exist',
            "postgresql://mlflow:mlflow@db/mlflow",
            'database "mlflow" does not exist',
        ),
        ("run mlflow db upgrade", "postgresql://me:mlflow@db/prod", "run mlflow db upgrade"),
        ("failed: http://me:s3@h/x/api", "http://me:s3@h/x", "failed: http://h/x/api"),
        ("got s%40t, s@t and s%2540t", "http://me:s%40t@h", "got ***, *** and ***"),
        ("Authorization: Basic bWU6czNjcmV0", "http://me:s3cret@h", "Authorization: ***"),
        ("sent bWU6czNjcmV0", "http://me:s3cret@h", "sent ***"),
        (
            "Port could not be cast to integer value as 'pa'",
            "http://me:pa/ss@h",
            "Port could not be cast to integer value as '***'",
        ),
    ],
)
def test_only_where_the_secret_is(message: str, uri: str, shown: str) -> None:
    assert scrubbed(message, uri) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a:b@c/d?sig=12&x=1", "https://c/d?sig=***&x=1"),
        ("password=abc, token: 'x y', passed: 3", "password=***, token: ***, passed: 3"),
        ('{"client_secret": "zz", "id": "1"}', '{"client_secret": ***, "id": "1"}'),
        ("Bearer abc.def-ghi", "Bearer ***"),
        ("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----.", "***."),
        ("password authentication failed for user", "password authentication failed for user"),
        ("check MLFLOW_TRACKING_TOKEN; the page token repeats", "check MLFLOW_TRACKING_TOKEN; the page token repeats"),
    ],
)
def test_what_looks_like_a_secret(text: str, shown: str) -> None:
    assert without_any_secrets(text) == shown


def _is_named_without_its_content(done: Finished, name: str) -> None:
    assert done.code == 1
    assert "Zqa" not in done.out + done.err
    assert name in done.err


@pytest.mark.parametrize("mode", [(), ("--json",), ("--verbose",)])
@pytest.mark.parametrize("token", ["Zqa\n", " Zqa", "Zqa\r\nX-Other: 1", "Zqa\x7f"])
def test_a_token_that_no_header_takes(cli: Cli, token: str, mode: tuple[str, ...]) -> None:
    done = cli("backup", "--tracking-uri", "http://127.0.0.1:9", *mode, env={"MLFLOW_TRACKING_TOKEN": token})
    _is_named_without_its_content(done, "MLFLOW_TRACKING_TOKEN")


@pytest.mark.parametrize(
    "content",
    [
        "mlflow_tracking_password = Zqa\n",
        "[mlflow]\nmlflow_tracking_password Zqa\n",
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = %Zqa\n",
        "[mlflow]\n[mlflow]\nmlflow_tracking_password = Zqa\n",
    ],
)
def test_a_malformed_credentials_file_of_mlflow(cli: Cli, content: str) -> None:
    (cli.folder / ".mlflow").mkdir()
    (cli.folder / ".mlflow" / "credentials").write_text(content)
    words = ("backup", "--tracking-uri", "http://127.0.0.1:9", "--verbose")
    _is_named_without_its_content(cli(*words, env={"HOME": str(cli.folder)}), "~/.mlflow/credentials")


@pytest.mark.parametrize(
    "content",
    [
        '{"private_key": "Zqa", ',
        '{"type": "service_account", "private_key": "Zqa", "client_email": "a@b", "token_uri": "http://127.0.0.1:9/"}',
        "Zqa",
        "[1]",
        "null",
        '{"type": 7, "private_key": "Zqa"}',
        '{"type": "service_account", "private_key": ["Zqa"]}',
    ],
)
def test_a_malformed_credentials_file_of_google(cli: Cli, content: str) -> None:
    path = cli.folder / "credentials.json"
    path.write_text(content)
    words = ("list", "--storage", "gs://bucket", "--verbose")
    done = cli(*words, env={"GOOGLE_APPLICATION_CREDENTIALS": str(path), "STORAGE_EMULATOR_HOST": None})
    _is_named_without_its_content(done, "no credentials")
    assert "bug" not in done.err
