"""Prompts: registered models that MLflow itself loads again after a restore, with all that it knows of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

import mlmeta
from mlmeta.errors import ExitCode
from mlmeta.schema import Selection
from tests.builders import snapshots as made
from tests.builders.tracking import tracking
from tests.support.databases import Databases, load, save
from tests.support.restoring import restore_as_planned
from tests.support.server import Server

pytest.importorskip("mlflow.genai.datasets", reason="prompts of MLflow 3.5 or newer")

FORMAT = {"type": "object", "properties": {"answer": {"type": "string"}, "größe": {"type": "number"}}}
TRACE = "tr-0123456789abcdef0123456789abcdef"
IDS = "_mlflow_experiment_ids"
LINKED = '[{"name": "plain", "version": "1"}]'
CHAT = [{"role": "system", "content": "Sei {{wie}} 😀"}, {"role": "user", "content": '{{frage}}\n"\\'}]


def fill(uri: str) -> None:
    """Prompts in two experiments, used by a run and a trace."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    genai, client = mlflow.genai, MlflowClient(uri)
    ids = [client.create_experiment(name) for name in ("first", "second", "gone")]
    with tracking(uri):
        config = {"model_name": "gpt", "temperature": 0.5, "max_tokens": 10}
        more: dict[str, Any] = {"commit_message": "erste", "tags": {"team": "grün", "leer": ""}}
        genai.register_prompt("plain", 'Hallo {{name}} ü😀\n"x"', model_config=config, **more)
        genai.register_prompt("plain", "zweite {{name}}", response_format=FORMAT)
        genai.register_prompt("chat", CHAT, tags={"t": "1"}, model_config={"extra_params": {"n": [1, None]}})
        genai.register_prompt("long", "x" * 60_000)
        genai.set_prompt_alias("plain", "prod", 1)
        genai.set_prompt_alias("chat", "best", 1)
    with tracking(uri):  # as `MlflowClient` does in threads of its own, for the experiment that is set
        client.set_prompt_tag("plain", IDS, f",{ids[1]},{ids[2]},")
        client.set_prompt_tag("chat", IDS, f",{ids[0]},")
        run = client.create_run(ids[0], tags={"mlflow.linkedPrompts": LINKED})
        client.set_terminated(run.info.run_id)
        store = client._tracking_client.store  # with no span, which would want an artifact location that can be written
        store.start_trace(TraceInfo(TRACE, TraceLocation.from_experiment_id(ids[0]), 1, TraceState.OK))
        client.link_prompt_versions_to_trace([client.get_prompt_version("plain", "1")], TRACE)
        client.delete_experiment(ids[2])


def shown(uri: str) -> dict[str, Any]:
    """What MLflow gives of the prompts, and what it finds by them; experiments by name, but for the Default one."""
    client = MlflowClient(uri)
    found: dict[str, Any] = {}
    with tracking(uri):
        for name in ("plain/1", "plain@prod", "plain/2", "chat@best", "long/1"):
            prompt = mlflow.genai.load_prompt(f"prompts:/{name}", cache_ttl_seconds=0)
            tags = {key: value for key, value in prompt.tags.items() if not key.startswith("mlmeta.")}
            told = (
                prompt.template,
                prompt.response_format,
                prompt.model_config,
                prompt.commit_message or "",
                prompt.aliases,
            )
            found[name] = (prompt.name, prompt.version, prompt.is_text_prompt, sorted(prompt.variables), tags, *told)
            if name == "chat@best":
                found["formatted"] = prompt.format(wie="kurz", frage="Warum?")
    for experiment in client.search_experiments(ViewType.ALL):
        number = experiment.experiment_id
        if number != "0":  # loading a prompt links it there
            traces = client.search_traces(locations=[number], filter_string="prompt = 'plain/1'", include_spans=False)
            found[experiment.name] = (
                sorted(prompt.name for prompt in client.search_prompts(f"experiment_id = '{number}'")),
                [run.data.tags.get("mlflow.linkedPrompts") for run in client.search_runs([number])],
                [trace.info.tags["mlflow.linkedPrompts"] for trace in traces],
            )
    return found


@pytest.fixture(scope="module")
def source(_running: Server, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with prompts, made through the server."""
    load(databases.path("empty"), _running.database)
    fill(_running.uri)
    path = tmp_path_factory.mktemp("prompts") / "prompts.db"
    save(_running.database, path)
    return path


@pytest.fixture(scope="module")
def saved(_running: Server, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot through the server."""
    load(source, _running.database)
    folder = tmp_path_factory.mktemp("saved")
    result = mlmeta.backup(_running.uri, str(folder))
    assert result.exit_code == ExitCode.DONE, result.issues
    return folder


def test_what_was_made(source: Path, tmp_path: Path) -> None:
    found = shown(f"sqlite:///{shutil.copy(source, tmp_path / 'copy.db')}")
    assert found["second"] == (["plain"], [], [])
    assert found["first"][0] == ["chat"]
    assert [len(part) for part in found["first"]] == [1, 1, 1]
    assert found["plain/2"][6] == FORMAT


def test_from_database_to_database(source: Path, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/t.db"
    mlmeta.backup(f"sqlite:///{source}", str(tmp_path / "backups"))
    assert mlmeta.restore(target, "latest", str(tmp_path / "backups")).exit_code == ExitCode.DONE
    assert shown(target) == shown(f"sqlite:///{shutil.copy(source, tmp_path / 'copy.db')}")


def test_through_a_server_with_other_ids(server: Server, source: Path, saved: Path, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    for name in ("takes", "some", "ids"):
        client.create_experiment(name)
    result = restore_as_planned(server, saved)
    assert (result.exit_code, result.issues) == (ExitCode.DONE, ())
    before = shown(f"sqlite:///{shutil.copy(source, tmp_path / 'copy.db')}")
    after = shown(server.uri)
    assert {name: after[name] for name in before} == before
    assert client.get_experiment_by_name("second").experiment_id == "5"
    assert mlmeta.restore(server.uri, "latest", str(saved)).exit_code == ExitCode.DONE
    assert shown(server.uri) == after


def test_versions_that_are_none_of_a_prompt_s(
    server: Server, databases: Databases, source: Path, tmp_path: Path
) -> None:
    """No search of MLflow's gives them, beside those of a prompt."""
    load(source, server.database)
    store = MlflowClient(server.uri)._get_registry_client().store  # whose callers MLflow's client stops
    for _ in range(3):
        store.create_model_version("plain", "gs://bucket/model")
    store.delete_model_version("plain", "4")
    uris = (server.uri, server.backend)
    told = [mlmeta.backup(uri, str(tmp_path / uri[:4])).stats["model_versions"] for uri in uris]
    assert told[0] == told[1]
    plain = next(one for one in mlmeta.open_snapshot(str(tmp_path / "http")).models() if one.name == "plain")
    assert [version.version for version in plain.versions] == [1, 2, 3, 5]
    load(databases.path("empty"), server.database)
    for is_first in (True, False):
        done = mlmeta.restore(server.uri, "latest", str(tmp_path / "http"), selection=Selection(only=("models",)))
        assert bool(done.created) is is_first
        assert done.comparison is not None
        assert done.comparison.is_equal, done.comparison.differences


def test_only_models(server: Server, saved: Path) -> None:
    """Experiments that are not there are named, and their ids, which may be others' in the target, left out."""
    MlflowClient(server.uri).create_experiment("first")
    result = mlmeta.restore(server.uri, "latest", str(saved), selection=Selection(only=("models",)))
    assert [(one.kind, one.id, one.field) for one in result.refused] == [
        ("registered model", "plain", "tags[_mlflow_experiment_ids]")
    ]
    client = MlflowClient(server.uri)
    assert client.get_prompt("chat").tags[IDS] == ",1,"
    assert IDS not in client.get_prompt("plain").tags
    assert result.exit_code == ExitCode.INCOMPLETE
    assert result.comparison is not None
    assert result.comparison.is_equal


def test_a_tag_that_mlflow_did_not_write(server: Server, tmp_path: Path) -> None:
    tags = {"mlflow.prompt.is_prompt": "true", "_mlflow_experiment_ids": "odd"}
    made.write(tmp_path, [made.model(tags=tags)])
    result = restore_as_planned(server, tmp_path)
    assert [one.field for one in result.refused] == ["tags[_mlflow_experiment_ids]"]
