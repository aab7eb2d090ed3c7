"""A version number is given once. None is used up for nothing, and what can't be had is said before."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import backup, restore
from mlmeta.errors import MlmetaError
from mlmeta.stores.api.registered_model_restore import MOST_FILLERS
from tests.builders import snapshots as made
from tests.support.databases import change, load
from tests.support.examples import some
from tests.support.plain import plain, rows
from tests.support.proxy import LOST, Request, proxy
from tests.support.restoring import restore_as_planned
from tests.support.server import Server

NAME = "made-model"


def _client(server: Server) -> MlflowClient:
    return MlflowClient(server.uri, server.uri)


def _next_number(server: Server, name: str = NAME) -> int:
    return int(_client(server).create_model_version(name, "gs://pipeline/m", await_creation_for=0).version)


def _model(server: Server, versions: int, *deleted: int) -> None:
    client = _client(server)
    client.create_registered_model(NAME)
    for number in range(1, versions + 1):
        client.create_model_version(NAME, f"{made.BUCKET}/v{number}", await_creation_for=0)
    for number in deleted:
        client.delete_model_version(NAME, str(number))


def _numbers(server: Server, name: str = NAME) -> list[int]:
    return list(plain(server.backend)["models"][name]["versions"])


@pytest.mark.parametrize("deleted", [(3,), (2,), (2, 3), (1, 2, 3)])
def test_a_version_that_was_deleted_in_the_very_server(
    server: Server, tmp_path: Path, deleted: tuple[int, ...]
) -> None:
    _model(server, 3)
    backup(server.uri, [str(tmp_path)])
    for number in deleted:
        _client(server).delete_model_version(NAME, str(number))
    result = restore_as_planned(server, tmp_path)
    assert result.exit_code == 3
    assert [r.id for r in result.refused] == [f"{NAME} version {number}" for number in deleted]
    assert all("database" in r.hint for r in result.refused)
    assert _numbers(server) == [number for number in (1, 2, 3) if number not in deleted]
    assert _next_number(server) == 4


@pytest.mark.parametrize("also", ["nothing", "a description", "a stage"])
def test_the_newest_was_deleted_in_a_server_that_a_restore_has_filled(
    server: Server, tmp_path: Path, also: str
) -> None:
    """It is not the snapshot's model; that it was changed since its newest version tells that some may be gone."""
    versions = (made.version(1, current_stage="Production"), made.version(2, current_stage="Staging"), made.version(3))
    assert restore_as_planned(server, tmp_path, made.model(*versions)).exit_code == 0
    client = _client(server)
    client.delete_model_version(NAME, "3")
    if also == "a description":
        client.update_registered_model(NAME, "changed")
    elif also == "a stage":
        client.transition_model_version_stage(NAME, "2", "Production")
    result = restore_as_planned(server, tmp_path)
    assert result.exit_code == 3
    assert [r.id for r in result.refused] == [f"{NAME} version 3"]
    assert _next_number(server) == 4


def test_versions_below_what_the_target_has(server: Server, tmp_path: Path) -> None:
    _model(server, 2, 1, 2)
    _client(server).create_model_version(NAME, f"{made.BUCKET}/v3", await_creation_for=0)
    result = restore_as_planned(server, tmp_path, made.model(*(made.version(number) for number in (1, 2, 3, 4))))
    assert result.exit_code == 3
    assert [r.id for r in result.refused] == [f"{NAME} version 1", f"{NAME} version 2"]
    assert _numbers(server) == [3, 4]
    assert _next_number(server) == 5


def test_a_newer_snapshot_adds_its_versions(server: Server, tmp_path: Path) -> None:
    """Though stages that were set last have moved the model's time of change."""
    first = [made.version(number, current_stage="Production") for number in (1, 2)]
    assert restore_as_planned(server, tmp_path / "first", made.model(*first)).exit_code == 0
    result = restore_as_planned(server, tmp_path / "second", made.model(*first, made.version(3), made.version(5)))
    assert (result.exit_code, result.created) == (0, {"model versions": 2})
    assert _numbers(server) == [1, 2, 3, 5]
    assert _next_number(server) == 6


def test_a_newer_snapshot_into_a_database_that_was_restored_from_an_older_one(server: Server, tmp_path: Path) -> None:
    """It is the very model, and has lost its newest version; but nothing was deleted in this store."""
    _model(server, 2)
    backup(server.uri, [str(tmp_path / "old")])
    _client(server).create_model_version(NAME, f"{made.BUCKET}/v3", await_creation_for=0)
    backup(server.uri, [str(tmp_path / "new")])
    restore(f"sqlite:///{tmp_path}/older.db", "latest", str(tmp_path / "old"))
    load(tmp_path / "older.db", server.database)
    assert restore_as_planned(server, tmp_path / "new").exit_code == 0
    assert _numbers(server) == [1, 2, 3]


def test_a_stage_that_was_taken_back_stays_so(server: Server, tmp_path: Path) -> None:
    """A restore sets the stage of what it makes, and of what a killed one has made, not of what people have changed."""
    versions = (made.version(1, current_stage="Production"), made.version(2))
    assert restore_as_planned(server, tmp_path, made.model(*versions)).exit_code == 0
    _client(server).transition_model_version_stage(NAME, "1", "None")
    before = rows(server.database)
    result = restore_as_planned(server, tmp_path)
    assert (result.exit_code, result.issues) == (0, ())
    assert rows(server.database) == before


def test_small_gaps_are_made_after_saying_so(server: Server, tmp_path: Path) -> None:
    versions = (made.version(2), made.version(MOST_FILLERS + 2))
    planned = restore(server.uri, made.write(tmp_path, [made.model(*versions)]), str(tmp_path), dry_run=True)
    (note,) = [warning for warning in planned.warnings if NAME in warning]
    assert f"{MOST_FILLERS} versions are created and deleted again" in note
    assert restore_as_planned(server, tmp_path).exit_code == 0
    assert _numbers(server) == [2, MOST_FILLERS + 2]
    assert _next_number(server) == MOST_FILLERS + 3


def test_big_gaps_are_not_made(server: Server, tmp_path: Path) -> None:
    versions = (made.version(1), made.version(MOST_FILLERS + 3), made.version(1_000_000))
    result = restore_as_planned(server, tmp_path, made.model(*versions, aliases={"first": 1, "last": 1_000_000}))
    assert result.exit_code == 3
    assert [r.id for r in result.refused] == [
        f"{NAME} version {MOST_FILLERS + 3}",
        f"{NAME} version 1000000",
        f"{NAME}@last",
    ]
    assert _numbers(server) == [1]
    assert _next_number(server) == 2


def test_a_copied_version_is_not_taken_for_a_filler(server: Server, tmp_path: Path) -> None:
    """MLflow copies the tags along, also the one that says which number a version was restored for."""
    made.write(tmp_path, [made.model(made.version(1), made.version(2)), made.model(made.version(1), name="other")])
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 0
    client = _client(server)
    for name in (NAME, "other"):
        original = client.get_model_version(NAME, "2")
        client.create_model_version(name, original.source, tags=original.tags, await_creation_for=0)
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 0
    assert (_numbers(server), _numbers(server, "other")) == ([1, 2, 3], [1, 2])


@pytest.mark.parametrize("write", some(range(1, 12), 4))
def test_stopped_while_it_fills_gaps(server: Server, tmp_path: Path, write: int) -> None:
    """What it left in a gap goes; the numbers come out as in one go."""
    _model(server, 1)
    versions = (made.version(1), made.version(3, current_stage="Production"), made.version(6))
    made.write(tmp_path, [made.model(*versions)])
    seen: list[Request] = []

    def gone(request: Request) -> int | None:
        seen.extend([request] if request.writes else [])
        if len(seen) < write:
            return None
        return LOST if request is seen[write - 1] else 503

    with proxy(server.uri, gone) as dying, pytest.raises(MlmetaError):
        restore(dying.uri, "latest", str(tmp_path))
    result = restore(server.uri, "latest", str(tmp_path))
    assert (result.exit_code, result.issues) == (0, ())
    assert _numbers(server) == [1, 3, 6]
    assert _next_number(server) == 7


def test_a_pipeline_that_registers_meanwhile(server: Server, tmp_path: Path) -> None:
    """The number that was to be is taken by then: named, and what came out wrong is deleted."""
    made.write(tmp_path, [made.model(made.version(1), made.version(2))])
    registered: list[int] = []

    def register(request: Request) -> None:
        if request.path.endswith("model-versions/create") and not registered:
            registered.append(_next_number(server))

    with proxy(server.uri, register) as through:
        result = restore(through.uri, "latest", str(tmp_path))
    assert result.exit_code == 3
    assert [r.id for r in result.refused] == [f"{NAME} version 1", f"{NAME} version 2"]
    assert _numbers(server) == registered == [1]


def test_a_model_changed_since_its_newest_version(server: Server, tmp_path: Path) -> None:
    """Whether a later one was deleted can't be seen: nothing is tried that would use up a number."""
    _model(server, 2, 2)
    change(server.database, "UPDATE registered_models SET creation_time = creation_time - 1000")
    result = restore_as_planned(server, tmp_path, made.model(made.version(1), made.version(2)))
    assert [r.id for r in result.refused] == [f"{NAME} version 2"]
    assert _next_number(server) == 3
