"""Credentials: as MLflow's own client takes them, on every request, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta.stores.api.histories import BULK
from tests.support.cli import Cli
from tests.support.proxy import Proxy, basic, demanding, proxy
from tests.support.reading import data_files
from tests.support.server import Server

USER, PASSWORD, TOKEN = "ada", "s3cret/pass@word", "t0ken-value"
IN_URI = "ada:s3cret%2Fpass%40word"

WAYS = {
    "in the URI": (basic(USER, PASSWORD), IN_URI, {}),
    "variables": (
        basic(USER, PASSWORD),
        "",
        {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD},
    ),
    "token": (f"Bearer {TOKEN}", "", {"MLFLOW_TRACKING_TOKEN": TOKEN}),
}
SECRETS = ("s3cret", "pass@word", "pass%40word", TOKEN, basic(USER, PASSWORD).split()[1])


def _uri(guarded: Proxy, user: str) -> str:
    return guarded.uri.replace("://", f"://{user}@") if user else guarded.uri


def _assert_no_secret(*texts: str) -> None:
    for text in texts:
        assert not [secret for secret in SECRETS if secret in text], text


def _all_files(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("way", WAYS)
def test_backup_and_restore_with_credentials(filled: Server, cli: Cli, way: str) -> None:
    header, user, env = WAYS[way]
    with proxy(filled.uri, demanding(header)) as guarded:
        uri = _uri(guarded, user)
        saved = cli("backup", "--tracking-uri", uri, "--json", "--verbose", env=env).ok()
        again = cli("restore", "--timestamp", "latest", "--tracking-uri", uri, "--yes", "--verbose", env=env).ok()
        assert any(request.path.startswith(BULK) for request in guarded.requests)
        assert all(request.headers.get("Authorization") == header for request in guarded.requests)
    assert saved.data["source"] == guarded.uri
    assert len(data_files(cli.folder / "backups")) == 4
    _assert_no_secret(saved.out, saved.err, again.out, again.err, *_all_files(cli.folder))


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize(
    ("user", "env"),
    [("", {}), ("ada:s3cret", {}), ("", {"MLFLOW_TRACKING_TOKEN": "s3cret"})],
)
def test_wrong_credentials_are_told_and_not_shown(
    filled: Server, cli: Cli, user: str, env: dict[str, str], json: tuple[str, ...]
) -> None:
    with proxy(filled.uri, demanding(basic(USER, PASSWORD))) as guarded:
        done = cli("backup", "--tracking-uri", _uri(guarded, user), *json, env=env).ended(1)
        assert len(guarded.requests) <= 2
    assert "401" in done.err
    assert "MLFLOW_TRACKING_USERNAME" in done.err
    if json:
        assert done.document["errors"][0]["code"] == "authentication"
    _assert_no_secret(done.out, done.err)
    assert not (cli.folder / "backups").exists()


def test_forbidden_is_told(filled: Server, cli: Cli) -> None:
    with proxy(filled.uri, lambda _: 403) as guarded:
        done = cli("backup", "--tracking-uri", guarded.uri).ended(1)
    assert "403" in done.err


@pytest.mark.parametrize("how", [(), ("--json",), ("--verbose",)])
def test_a_lost_server_does_not_give_the_password_away(cli: Cli, how: tuple[str, ...]) -> None:
    done = cli("backup", "--tracking-uri", f"http://{IN_URI}@127.0.0.1:9/?token={TOKEN}", *how)
    assert done.code == 1
    _assert_no_secret(done.out, done.err)


def test_a_failing_server_does_not_give_the_password_away(filled: Server, cli: Cli) -> None:
    """Errors in the middle of the work, whose text is MLflow's and carries the URI."""
    with proxy(filled.uri, lambda request: 500 if request.number > 6 else None) as dying:
        done = cli("backup", "--tracking-uri", _uri(dying, IN_URI), "--verbose")
    assert done.code in {1, 3}
    _assert_no_secret(done.out, done.err, *_all_files(cli.folder))
