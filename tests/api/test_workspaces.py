"""Servers with workspaces (MLflow 3.10 on): all that the user may see is saved, and restored by their names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from mlmeta import Selection, backup, diff, migrate, open_snapshot, restore
from mlmeta.commands.browse import browse
from mlmeta.errors import UsageError
from mlmeta.schema import EXPERIMENTS, MODELS, RUNS, Experiment, RegisteredModel, Run
from tests.builders.workspaces import ENABLED, create_workspace
from tests.support.cli import Cli
from tests.support.databases import change
from tests.support.proxy import proxy
from tests.support.reading import data_files, records, summary
from tests.support.server import Server
from tests.support.server import server as running

pytestmark = pytest.mark.slow  # starts MLflow servers
HEADER = "X-MLFLOW-WORKSPACE"


@pytest.fixture(scope="module")
def source(with_workspaces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three workspaces. Not to be changed."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copy(with_workspaces, folder / "mlflow.db")
    with running(folder, arguments=ENABLED) as server:
        yield server


@pytest.fixture(scope="module")
def taken(source: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot of it, made through the server."""
    folder = tmp_path_factory.mktemp("taken")
    assert backup(source.uri, str(folder)).skipped == ()
    return folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty server with workspaces, of which it has only the default one."""
    with running(tmp_path_factory.mktemp("target"), arguments=ENABLED) as server:
        yield server


def shown_by_api(content: dict[str, bytes]) -> dict[str, Any]:
    """Data files without what MLflow's API does not show."""
    found = {kind: json.loads(text) for kind, text in content.items()}
    for run in found["runs"]:
        run["deleted_time"] = None
    for model in found["models"]:
        for version in model["versions"]:
            version["storage_location"] = None
    return found


def as_they_are(folder: Path) -> list[Any]:
    """What stays of records under new ids."""
    found = records(folder)
    names = {one.experiment_id: (one.workspace, one.name) for one in found if isinstance(one, Experiment)}
    said: list[Any] = [(EXPERIMENTS.name, name) for name in sorted(names.values(), key=str)]
    runs = [one for one in found if isinstance(one, Run)]
    said += sorted((RUNS.name, *map(str, names[run.experiment_id]), run.run_name, str(run.params)) for run in runs)
    for one in found:
        if isinstance(one, RegisteredModel):
            versions = [(version.version, version.tags["of"]) for version in one.versions if "of" in version.tags]
            said.append((MODELS.name, one.workspace, one.name, dict(one.aliases), one.description, versions))
    return said


def test_a_server_and_its_database_give_the_same(source: Server, taken: Path, tmp_path: Path) -> None:
    backup(source.backend, str(tmp_path))
    found, expected = data_files(taken), data_files(tmp_path)
    assert set(found) == set(expected)
    for kind in set(found) - {"runs", "models"}:
        assert found[kind] == expected[kind], kind
    assert shown_by_api(found) == shown_by_api(expected)
    assert found["models"].count(b'"workspace":"team-a"') == 2
    changed = diff(storage=str(taken), tracking_uri=source.backend)
    assert changed.exit_code == 0


def test_into_a_server_with_workspaces_and_once_more(target: Server, taken: Path, tmp_path: Path) -> None:
    create_workspace(target.uri, "team-b", "it was there before")
    planned = restore(target.uri, storage=str(taken), dry_run=True)
    first = restore(target.uri, storage=str(taken))
    assert first.exit_code == 0, first.issues
    assert planned.plan is not None
    expected = {"experiments": 6, "runs": 12, "logged models": 6, "evaluation datasets": 2, "dataset records": 2}
    expected |= {"models": 5, "model versions": 9}
    assert planned.plan.create == first.created == expected
    assert [warning for warning in first.warnings if "workspace" in warning] == ["workspace team-a is new there"]
    assert planned.warnings == first.warnings
    listed = requests.get(f"{target.uri}/api/3.0/mlflow/workspaces", timeout=30).json()["workspaces"]
    assert {one["name"]: one["description"] for one in listed if one["name"] != "default"} == {
        "team-a": "what team-a does",
        "team-b": "it was there before",
    }
    assert first.comparison is not None
    assert "experiments.artifact_location" in first.comparison.unkept
    backup(target.uri, str(tmp_path))
    assert as_they_are(tmp_path) == as_they_are(taken)
    tagged = [one for one in records(tmp_path) if isinstance(one, Experiment) and one.name == "churn"]
    assert [one.tags["mlmeta.source_artifact_uri"].rpartition("/workspaces/")[2] for one in tagged] == [
        f"{one.workspace or 'default'}/{one.tags['mlmeta.source_experiment_id']}" for one in tagged
    ]
    again = restore(target.uri, storage=str(taken))
    assert (again.exit_code, again.created) == (0, {})


def test_artifact_roots_of_workspaces_move_along(target: Server, with_workspaces: Path, tmp_path: Path) -> None:
    """With new prefixes; the server's own root goes for one that has what the server does not take."""
    source = Path(shutil.copy(with_workspaces, tmp_path / "mlflow.db"))
    for workspace, name, retention in (("rooted", "only a", "30d"), ("odd", "only default", "for ever")):
        root = f"gs://old/{workspace}"
        columns = "name, default_artifact_root, trace_archival_location, trace_archival_retention"
        change(source, f"INSERT INTO workspaces ({columns}) VALUES (?, ?, ?, ?)", workspace, root, root, retention)
        change(source, "UPDATE experiments SET workspace = ? WHERE name = ?", workspace, name)
    words: dict[str, Any] = {"selection": Selection(workspaces=("rooted", "odd")), "rewrite": {"gs://old": "gs://new"}}
    planned = migrate(f"sqlite:///{source}", target.uri, **words, dry_run=True)
    moved = migrate(f"sqlite:///{source}", target.uri, **words)
    assert planned.restore.plan is not None
    assert (planned.exit_code, planned.restore.plan.create) == (moved.exit_code, moved.restore.created)
    assert (moved.exit_code, moved.restore.created["experiments"]) == (0, 2), moved.issues
    (told,) = (warning for warning in moved.warnings if "goes by the server's artifact root" in warning)
    assert told.startswith("workspace odd goes by")
    listed = requests.get(f"{target.uri}/api/3.0/mlflow/workspaces", timeout=30).json()["workspaces"]
    found = {one["name"]: (one.get("default_artifact_root"), one.get("trace_archival_config")) for one in listed}
    archive = {"location": "gs://new/rooted", "retention": "30d"}
    assert (found["rooted"], found["odd"]) == (("gs://new/rooted", archive), (None, None))
    backup(target.uri, tmp_path / "b", workspaces=("rooted", "odd"))
    locations = {one.workspace: one.artifact_location or "" for one in open_snapshot(tmp_path / "b").experiments()}
    assert locations["rooted"].startswith("gs://new/rooted/")
    assert locations["odd"].startswith("gs://bucket/artifacts/")
    again = migrate(f"sqlite:///{source}", target.uri, **words)
    assert (again.exit_code, again.restore.created) == (0, {})


def test_into_a_server_without_workspaces(server: Server, taken: Path) -> None:
    """The default one comes back; the others are named, with what to do about it."""
    planned = restore(server.uri, storage=str(taken), dry_run=True)
    done = restore(server.uri, storage=str(taken))
    assert planned.exit_code == done.exit_code == 3
    assert [issue.message for issue in planned.issues] == [issue.message for issue in done.issues]
    assert [issue.message.partition(":")[0] for issue in done.issues] == ["workspace team-a", "workspace team-b"]
    lost = "3 experiments, 6 runs, 3 logged models, 1 evaluation dataset, 1 dataset record, 2 registered models"
    assert lost in done.issues[0].message
    assert "--enable-workspaces" in done.issues[0].hint
    assert done.created["experiments"] == 2
    assert done.comparison is not None
    assert done.comparison.is_equal


def test_a_part_of_it(source: Server, taken: Path, target: Server, tmp_path: Path) -> None:
    backup(source.uri, str(tmp_path / "a"), workspaces="team-a")
    assert summary(tmp_path / "a")["workspaces"] == ["team-a"]
    found = records(tmp_path / "a")
    assert {one.workspace for one in found if isinstance(one, (Experiment, RegisteredModel))} == {"team-a"}
    assert len([one for one in found if isinstance(one, Run)]) == 6
    backup(source.uri, str(tmp_path / "b"), experiments="churn", workspaces=("team-b", "default"))
    named = [
        (one.workspace, one.name) for one in records(tmp_path / "b") if isinstance(one, (Experiment, RegisteredModel))
    ]
    assert named == [(None, "churn"), ("team-b", "churn"), (None, "churn"), ("team-b", "another"), ("team-b", "churn")]
    with pytest.raises(UsageError, match="shows no workspace 'team-c'"):
        backup(source.uri, str(tmp_path / "c"), workspaces="team-c")
    with pytest.raises(UsageError, match="no experiment 'only a'"):
        backup(source.uri, str(tmp_path / "c"), experiments="only a", workspaces="team-b")


def test_a_client_of_one_workspace(source: Server, server: Server, cli: Cli) -> None:
    """MLFLOW_WORKSPACE limits a backup, which is one of a source of its own."""
    env: dict[str, str | None] = {"MLFLOW_WORKSPACE": "team-a"}
    saved = cli("backup", "--tracking-uri", source.uri, "--json", env=env).ok()
    assert saved.data["source_id"].endswith("#workspace=team-a")
    assert saved.data["stats"]["experiments"] == 3
    found = records(cli.folder / "backups")
    assert {one.workspace for one in found if isinstance(one, (Experiment, RegisteredModel))} == {"team-a"}
    again = cli("restore", "--timestamp", "latest", "--tracking-uri", source.uri, "--yes", "--json", env=env).ok()
    assert again.data["created"] == {}


def test_each_request_is_about_its_workspace(source: Server, tmp_path: Path) -> None:
    with proxy(source.uri) as between:
        backup(between.uri, str(tmp_path))
        listed = [one for one in between.requests if one.path.startswith("/api/3.0/mlflow/workspaces")]
        assert len(listed) == 1
        assert {one.headers.get(HEADER) for one in between.requests} == {None, "team-a", "team-b"}


def test_one_more_request_of_a_server_without_workspaces(filled: Server, tmp_path: Path) -> None:
    with proxy(filled.uri) as between:
        backup(between.uri, str(tmp_path))
        listed = [one for one in between.requests if "workspaces" in one.path]
        assert len(listed) == 1
        assert not any(HEADER in one.headers for one in between.requests)


@pytest.fixture(scope="module")
def guarded(with_workspaces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same store behind basic-auth: alice may use team-a, and nothing else."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(with_workspaces, folder / "mlflow.db")
    ini = folder / "auth.ini"
    ini.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = root\nadmin_password = a-long-password\n"
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(ini), "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}
    with running(folder, arguments=(*ENABLED, "--app-name", "basic-auth"), environment=environment) as server:
        _ask(server, "2.0/mlflow/users/create", username="alice", password="another-password")
        role = _ask(server, "3.0/mlflow/roles/create", workspace="team-a", name="users")["role"]["id"]
        permission = {"resource_type": "workspace", "resource_pattern": "*", "permission": "MANAGE"}
        _ask(server, "3.0/mlflow/roles/permissions/add", role_id=role, **permission)
        _ask(server, "3.0/mlflow/roles/assign", username="alice", role_id=role)
        _ask(server, "3.0/mlflow/traces", workspace_of_it="team-a", trace={"trace_info": TRACE})
        yield server


TRACE = {
    "trace_id": f"tr-{1:032x}",
    "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "3"}},
    "request_time": "2026-01-01T00:00:00Z",
    "execution_duration": "1s",
    "state": "OK",
    "trace_metadata": {"mlflow.trace_schema.version": "3"},
}


def _ask(server: Server, path: str, workspace_of_it: str = "default", **body: Any) -> Any:
    reply = requests.post(
        f"{server.uri}/api/{path}",
        json=body,
        auth=("root", "a-long-password"),
        headers={HEADER: workspace_of_it},
        timeout=30,
    )
    reply.raise_for_status()
    return reply.json()


def test_what_a_user_may_not_see_is_not_asked_for(guarded: Server, cli: Cli) -> None:
    env: dict[str, str | None] = {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": "another-password"}
    done = cli("backup", "--tracking-uri", guarded.uri, "--json", env=env).ok()
    assert done.data["stats"]["experiments"] == 3
    assert done.data["stats"]["runs"] == 6
    assert done.data["stats"]["traces"] == 1
    assert done.data["stats"]["evaluation_datasets"] == 1
    assert [text for text in done.document["warnings"] if "not an administrator" in text]
    found = records(cli.folder / "backups")
    assert {one.workspace for one in found if isinstance(one, (Experiment, RegisteredModel))} == {"team-a"}


def test_a_workspace_that_a_user_may_not_make_is_named(guarded: Server, taken: Path, cli: Cli) -> None:
    env: dict[str, str | None] = {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": "another-password"}
    arguments = ("restore", "--timestamp", "latest", "--storage", str(taken), "--tracking-uri", guarded.uri)
    limits = ("--workspace", "team-b", "--workspace", "default", "--no-verify")
    done = cli(*arguments, *limits, "--yes", "--json", env=env).ended(3)
    named = {error["message"].partition(":")[0] for error in done.document["errors"]}
    assert named == {"workspace default", "workspace team-b"}
    assert done.data["created"] == {}


def test_browse_shows_all_workspaces(taken: Path, tmp_path: Path) -> None:
    def look(_: str, uri: str) -> None:
        backup(uri, str(tmp_path))

    browse("latest", str(taken), look)
    assert as_they_are(tmp_path) == as_they_are(taken)


def test_a_restored_database_needs_workspaces_enabled(taken: Path, tmp_path: Path) -> None:
    """As the restore says: MLflow refuses to start without; with it, all is seen."""
    (tmp_path / "without").mkdir()
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = restore(database, storage=str(taken))
    assert [note for note in done.warnings if "--enable-workspaces" in note]
    with pytest.raises(RuntimeError, match="did not start"), running(tmp_path / "without", backend=database):
        pass
    with running(tmp_path / "with", backend=database, arguments=ENABLED) as server:
        backup(server.uri, str(tmp_path / "again"))
    assert data_files(tmp_path / "again") == data_files(taken)
