"""What a server has and a snapshot does not: named, by the API as from the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from mlmeta import backup
from tests.support.cli import Cli
from tests.support.hostile_server import hostile_server
from tests.support.server import Server

SCORER = {"name": "sc", "builtin_scorer_class": "Correctness", "builtin_scorer_pydantic_data": {"name": "c"}}
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "scorers": ("scorers/register", {"experiment_id": "0", "name": "sc", "serialized_scorer": json.dumps(SCORER)}),
    "gateway secrets": (
        "gateway/secrets/create",
        {"secret_name": "k", "secret_value": {"api_key": "x"}, "provider": "openai"},
    ),
    "issues": ("issues", {"experiment_id": "0", "name": "i", "description": "d"}),
    "review queues": ("review-queues/create", {"experiment_id": "0", "name": "q", "queue_type": "CUSTOM"}),
}


def kinds(uri: str, folder: Path, **more: Any) -> set[str]:
    saved = backup(uri, str(folder), **more)
    assert saved.exit_code == (3 if saved.skipped else 0)
    return {skipped.kind for skipped in saved.skipped}


def test_each_kind_is_named_through_a_server_and_saved_from_its_database(filled: Server, tmp_path: Path) -> None:
    assert kinds(filled.uri, tmp_path) == kinds(filled.backend, tmp_path) == set()
    for path, body in MADE.values():
        requests.post(f"{filled.uri}/api/3.0/mlflow/{path}", json=body, timeout=30).raise_for_status()
    assert kinds(filled.uri, tmp_path) == set(MADE)
    assert kinds(filled.backend, tmp_path) == set()
    assert kinds(filled.backend, tmp_path, experiments="Default") == set()
    assert kinds(filled.uri, tmp_path, experiments="Default") == {"scorers", "review queues"}
    assert kinds(filled.uri, tmp_path, experiments="churn") == set()


@pytest.mark.parametrize(
    ("status", "code", "named"),
    [
        (500, "INTERNAL_ERROR", ["of experiment 1", "of experiment 2"]),
        (503, "TEMPORARILY_UNAVAILABLE", ["of experiment 1", "of experiment 2"]),
        (404, "ENDPOINT_NOT_FOUND", []),
        (501, "NOT_IMPLEMENTED", []),
    ],
)
def test_a_server_that_does_not_say_whether_it_has_traces(
    tmp_path: Path, status: int, code: str, named: list[str]
) -> None:
    """One that fails may have some; one that knows no such call has none."""
    content = {"error_code": code, "message": "it failed"}
    with hostile_server({"/traces/search": lambda asked: asked.reply(content, status)}) as plan:
        saved = backup(plan.uri, str(tmp_path))
    assert [skipped.id for skipped in saved.skipped if skipped.kind == "traces"] == named
    assert saved.exit_code == (3 if named else 0)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with basic-auth, an administrator, and the user alice."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    folder = tmp_path_factory.mktemp("guarded")
    ini = folder / "auth.ini"
    ini.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = root\nadmin_password = a-long-password\n"
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(ini), "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}
    server = Server(folder, arguments=("--app-name", "basic-auth"), environment=environment)
    try:
        server.start()
        body = {"username": "alice", "password": "another-password"}
        made = requests.post(
            f"{server.uri}/api/2.0/mlflow/users/create", json=body, auth=("root", "a-long-password"), timeout=30
        )
        made.raise_for_status()
        for body in ({"name": "seen", "experiment_ids": ["0"]}, {"name": "of nothing"}):
            place = f"{server.uri}/api/3.0/mlflow/datasets/create"
            requests.post(place, json=body, auth=("root", "a-long-password"), timeout=30).raise_for_status()
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("user", "password", "told"), [("root", "a-long-password", 0), ("alice", "another-password", 1)]
)
def test_what_a_user_may_not_see_is_said_once(guarded: Server, cli: Cli, user: str, password: str, told: int) -> None:
    env: dict[str, str | None] = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    done = cli("backup", "--tracking-uri", guarded.uri, "--json", env=env).ok()
    assert len([text for text in done.document["warnings"] if "not an administrator" in text]) == told
    assert done.data["stats"]["evaluation_datasets"] == 2 - told  # one is of no experiment
    summary = json.loads((cli.folder / "backups" / f"backup_summary_{done.data['timestamp']}.json").read_text())
    assert len([text for text in summary["warnings"] if f"the user {user} is not" in text]) == told
