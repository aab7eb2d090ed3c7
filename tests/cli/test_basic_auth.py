"""A server with basic-auth that loses everything, and what of its users' secrets is seen on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.builders.auth import PASSWORDS, fill_auth
from tests.support.cli import Cli, Finished
from tests.support.databases import Databases
from tests.support.gcs import running_emulator
from tests.support.server import Server

pytest.importorskip("flask_wtf", reason="basic-auth needs Flask-WTF")

ADMIN: dict[str, str | None] = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORDS["admin"]}
Answers = dict[str, tuple[int, int]]


class Guarded(Server):
    """A server with basic-auth, whose users are in `auth.db` of its folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.auth = folder / "auth.db"
        ini = folder / "basic_auth.ini"
        ini.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{self.auth}\n"
            f"admin_username = admin\nadmin_password = {PASSWORDS['admin']}\n"
        )
        environment = {"MLFLOW_AUTH_CONFIG_PATH": str(ini), "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}
        super().__init__(folder, arguments=("--app-name", "basic-auth"), environment=environment)

    @property
    def auth_uri(self) -> str:
        return f"sqlite:///{self.auth}"

    def answers(self, experiment: str) -> Answers:
        """What each user may do with an experiment: the status of reading it, and of setting a tag."""
        api = f"{self.uri}/api/2.0/mlflow/experiments"
        tag = {"experiment_id": experiment, "key": "seen", "value": "yes"}
        found: Answers = {}
        for user in PASSWORDS.items():
            read = requests.get(f"{api}/get", {"experiment_id": experiment}, auth=user, timeout=30)
            write = requests.post(f"{api}/set-experiment-tag", json=tag, auth=user, timeout=30)
            found[user[0]] = read.status_code, write.status_code
        return found


@pytest.fixture
def guarded(tmp_path: Path, databases: Databases) -> Iterator[Guarded]:
    """One where alice may edit an experiment, and bob may not see it. It does not run yet."""
    server = Guarded(tmp_path / "server")
    databases.copy("filled", server.database)
    fill_auth(server.auth_uri, ["1"])
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of basic-auth. Not to be changed."""
    path = tmp_path_factory.mktemp("auth") / "auth.db"
    fill_auth(f"sqlite:///{path}", ["1"])
    return path


def secrets(folder: Path) -> list[str]:
    """The hashes in the newest snapshot of a folder, each as a whole and the part that is the hash itself."""
    path = max(folder.glob("auth_*.json"))
    rows = json.loads(path.read_text())
    hashes = [row["row"]["password_hash"] for row in rows if row["table"] == "users"]
    assert len(hashes) == len(PASSWORDS)
    return [part for text in hashes for part in text.split("$")[1:]]


def assert_hidden(hidden: list[str], *texts: str) -> None:
    for text in texts:
        assert not [one for one in hidden if one in text]


def test_everybody_may_do_again_what_they_could(guarded: Guarded, cli: Cli) -> None:
    guarded.start()
    before = guarded.answers("1")
    assert before == {"admin": (200, 200), "alice": (200, 200), "bob": (403, 403)}
    done = cli("backup", "--tracking-uri", guarded.uri, "--auth-uri", guarded.auth_uri, "--drill", env=ADMIN).ok()
    assert f"Users and permissions came from {guarded.auth_uri}" in done.out
    guarded.stop()
    for file in (guarded.database, guarded.auth):
        file.unlink()
    target = ("--tracking-uri", guarded.backend, "--auth-uri", guarded.auth_uri)
    cli("restore", "--timestamp", "latest", *target).ok()
    guarded.start()
    assert guarded.answers("1") == before
    target = ("--tracking-uri", guarded.uri, "--auth-uri", guarded.auth_uri)
    refused = cli("restore", "--timestamp", "latest", *target, "--yes", env=ADMIN).ended(2)
    assert "permissions would go to the wrong experiments" in refused.err
    warned = cli("restore", "--timestamp", "latest", "--tracking-uri", guarded.uri, "--dry-run", "--json", env=ADMIN)
    assert [text for text in warned.document["warnings"] if "give them anew" in text]


def test_no_hash_is_ever_shown(auth: Path, databases: Databases, cli: Cli) -> None:
    changed = cli.folder / "changed.db"
    shutil.copy(auth, changed)
    backup = ("backup", "--tracking-uri", databases.uri("filled"), "--verbose", "--auth-uri")
    outputs: list[Finished] = [cli(*backup, f"sqlite:///{auth}", "--json")]
    hidden = secrets(cli.folder / "backups")
    fill_other(changed)
    outputs.append(cli(*backup, f"sqlite:///{changed}"))
    hidden += secrets(cli.folder / "backups")
    into = ("restore", "--timestamp", "latest", "--only", "auth", "--auth-uri")
    for extra in ((), ("--json",)):
        outputs.append(cli("list", "--verbose", *extra).ok())
        assert "USERS" in outputs[-1].out or outputs[-1].data["snapshots"][0]["auth"]
        outputs.append(cli("show", "--verbose", *extra).ok())
        outputs.append(cli("verify", "--verbose", "latest", *extra).ok())
        outputs.append(cli("diff", "latest~1", "latest", "--verbose", *extra).ended(4))
        outputs.append(cli(*into, f"sqlite:///{auth}", "--verbose", *extra))
        assert outputs[-1].code == 1
        outputs.append(cli(*into, f"sqlite:///{auth}", "--verbose", "--on-conflict", "skip", *extra).ended(3))
    damage(max((cli.folder / "backups").glob("auth_*.json")))
    outputs.append(cli("verify", "latest", "--verbose").ended(4))
    outputs.append(cli(*into, "sqlite:///new.db", "--verbose"))
    assert outputs[-1].code == 4
    assert_hidden(hidden, *(text for one in outputs for text in (one.out, one.err)))
    assert_hidden(hidden, *(path.read_text() for path in (cli.folder / "backups").glob("backup_summary_*")))


def fill_other(path: Path) -> None:
    """Give bob another password, by MLflow itself."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{path}")
    store.update_user("bob", password="another-password")
    store.engine.dispose()


def damage(path: Path) -> None:
    """Make a record's hash one that no record can have, of the same length."""
    path.write_text(path.read_text().replace('"row":{"username":"bob"', '"row":["username","bob"'))


def test_a_bucket_gets_hashes_only_where_that_is_meant(
    auth: Path, databases: Databases, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_emulator() as emulator:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.uri)
        bucket = emulator.new_bucket()
        there = f"gs://{bucket}/x"
        backup = ("backup", "--tracking-uri", databases.uri("filled"), "--auth-uri", f"sqlite:///{auth}")
        refused = cli(*backup, "--storage", "backups", "--storage", there).ended(2)
        assert "--include-password-hashes" in refused.err
        assert not (cli.folder / "backups").exists()
        cli(*backup).ok()
        hidden = secrets(cli.folder / "backups")
        assert "--include-password-hashes" in cli("copy", "latest", "--to", there).ended(2).err
        assert "--include-password-hashes" in cli("copy", "--missing", "--to", there).ended(3).err
        assert emulator.names(bucket) == set()
        cli("copy", "latest", "--to", there, "--include-password-hashes").ok()
        content = {name: emulator.content(bucket, name).decode() for name in emulator.names(bucket)}
        (name,) = (name for name in content if name.startswith("x/auth_"))
        assert all(one in content.pop(name) for one in hidden[:1])
        assert_hidden(hidden, *content.values())
        cli(*backup, "--storage", there, "--include-password-hashes").ok()
