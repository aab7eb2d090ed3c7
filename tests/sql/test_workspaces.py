"""Stores with workspaces: all of them are saved and restored, and equal names in two of them are two things."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mlmeta import backup, diff, restore
from mlmeta.errors import UsageError
from mlmeta.schema import EXPERIMENTS, MODELS, RUNS, Experiment, RegisteredModel, Run, Selection, Skipped
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, assert_proven, assert_round_trip, digests, records_of
from tests.sql.helpers import backup as snapshot_of_store

pytestmark = pytest.mark.slow  # starts an MLflow server
PLACES = [(None, "churn"), ("team-a", "churn"), ("team-a", "greeting"), ("team-b", "another"), ("team-b", "churn")]


@pytest.fixture(scope="module")
def taken(with_workspaces: Path, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot of it."""
    return snapshot_of_store(f"sqlite:///{with_workspaces}", tmp_path_factory.mktemp("taken"))


@pytest.fixture
def target(taken: Snapshot, tmp_path: Path) -> str:
    """A SQLite store that the snapshot was restored into."""
    uri = f"sqlite:///{tmp_path / 'target.db'}"
    SqlTarget(uri).restore(taken, ALL, QUIET)
    return uri


def change(uri: str, *statements: str) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount == 1


def test_all_workspaces_are_read_in_order(taken: Snapshot) -> None:
    experiments = list(taken.records(EXPERIMENTS))
    named = [(one.workspace, one.name) for one in experiments]
    assert named == [
        (None, "Default"),
        (None, "churn"),
        ("team-b", "churn"),
        ("team-a", "churn"),
        ("team-a", "only a"),
        (None, "only default"),
        ("team-a", "gone"),
    ]
    assert [(model.workspace, model.name) for model in taken.records(MODELS)] == PLACES
    runs = list(taken.records(RUNS))
    assert len(runs) == 12
    workspaces = {one.experiment_id: one.workspace or "default" for one in experiments}
    assert all(run.params["workspace"] == workspaces[run.experiment_id] for run in runs)
    churn = {model.workspace: model for model in taken.records(MODELS) if model.name == "churn"}
    for workspace, model in churn.items():
        of = workspace or "default"
        assert (model.tags, model.description) == ({"team": of}, f"of {of}")
        assert [version.tags["of"] for version in model.versions] == [of, of]
    assert {place: dict(model.aliases)["champion"] for place, model in churn.items()} == {
        None: 2,
        "team-a": 1,
        "team-b": 2,
    }


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_round_trip(kind: str, with_workspaces: Path, emptied: Callable[[str], str], tmp_path: Path) -> None:
    assert_round_trip(with_workspaces, emptied(kind), tmp_path)


def test_again_into_the_same_store_adds_nothing(taken: Snapshot, target: str, tmp_path: Path) -> None:
    again = SqlTarget(target).restore(taken, ALL, QUIET)
    assert not any(again.created.values())
    assert again.refused == ()
    assert_proven(target, taken)
    assert digests(snapshot_of_store(target, tmp_path / "again")) == digests(taken)


def test_the_need_for_workspaces_is_told(taken: Snapshot, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new.db'}"
    plan = SqlTarget(uri).plan(taken, ALL, QUIET)
    report = SqlTarget(uri).restore(taken, ALL, QUIET)
    (note,) = [note for note in report.notes if "--enable-workspaces" in note]
    assert "team-a, team-b" in note
    assert note in plan.notes
    alone = SqlTarget(f"sqlite:///{tmp_path / 'default.db'}").restore(taken, Selection(workspaces="default"), QUIET)
    assert not any("--enable-workspaces" in note for note in alone.notes)
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM workspaces ORDER BY name")] == [
            "default",
            "team-a",
            "team-b",
        ]


@pytest.mark.parametrize(
    ("selection", "experiments", "models"),
    [
        (Selection("churn"), ["1", "2", "3"], PLACES),
        (Selection(workspaces="team-a"), ["3", "4", "6"], PLACES[1:3]),
        (Selection("churn", workspaces=("team-a", "default")), ["1", "3"], PLACES[:2]),
        (Selection(workspaces="default"), ["0", "1", "5"], PLACES[:1]),
        (Selection("only a"), ["4"], []),
    ],
)
def test_a_part_is_selected_by_experiments_and_workspaces(
    selection: Selection,
    experiments: list[str],
    models: list[tuple[str | None, str]],
    with_workspaces: Path,
    taken: Snapshot,
    tmp_path: Path,
) -> None:
    models = [place for place in models if place[1] != "greeting" or not selection.experiments]
    found = records_of(f"sqlite:///{with_workspaces}", selection)
    assert [one.experiment_id for one in found if isinstance(one, Experiment)] == experiments
    assert {one.experiment_id for one in found if isinstance(one, Run)} <= set(experiments)
    assert [(one.workspace, one.name) for one in found if isinstance(one, RegisteredModel)] == models
    assert not any(isinstance(one, Skipped) for one in found)
    uri = f"sqlite:///{tmp_path / 'part.db'}"
    SqlTarget(uri).restore(taken, selection, QUIET)
    default, *there = (one for one in records_of(uri) if not isinstance(one, Skipped))  # each store has that one
    assert there == [one for one in found if one != default]


def test_a_workspace_that_is_not_there_is_refused(with_workspaces: Path, taken: Snapshot, target: str) -> None:
    with pytest.raises(UsageError, match="no workspace 'team-c'"):
        records_of(f"sqlite:///{with_workspaces}", Selection(workspaces="team-c"))
    with pytest.raises(UsageError, match="no experiment 'only a'"):
        records_of(f"sqlite:///{with_workspaces}", Selection("only a", workspaces="team-b"))
    with pytest.raises(UsageError, match="nothing in workspace 'team-c'"):
        SqlTarget(target).plan(taken, Selection(workspaces="team-c"), QUIET)
    with pytest.raises(UsageError, match="no experiment 'only a' in workspace team-b"):
        SqlTarget(target).plan(taken, Selection("only a", workspaces="team-b"), QUIET)


def test_what_a_model_lacks_is_added_in_its_workspace(taken: Snapshot, target: str, tmp_path: Path) -> None:
    of = "workspace = 'team-a' AND name = 'churn'"
    change(
        target,
        f"DELETE FROM registered_model_aliases WHERE {of}",
        f"DELETE FROM model_version_tags WHERE {of} AND version = 2",
        f"DELETE FROM model_versions WHERE {of} AND version = 2",
        f"DELETE FROM model_version_tags WHERE {of} AND version = 1",
        f"DELETE FROM registered_model_tags WHERE {of}",
    )
    report = SqlTarget(target).restore(taken, ALL, QUIET)
    assert {kind: count for kind, count in report.created.items() if count} == {
        "model versions": 1,
        "model aliases": 1,
        "model tags": 2,
    }
    assert_proven(target, taken)
    assert digests(snapshot_of_store(target, tmp_path / "again")) == digests(taken)


def test_what_stands_in_the_way_is_named_with_its_workspace(taken: Snapshot, target: str) -> None:
    change(
        target,
        "UPDATE model_versions SET source = 'gs://other' WHERE workspace = 'team-b' AND name = 'churn' AND version = 1",
        "UPDATE experiments SET creation_time = 1, name = 'another' WHERE experiment_id = 3",
        "UPDATE experiments SET name = 'churn', creation_time = 1 WHERE experiment_id = 4",
    )
    found = SqlTarget(target).plan(taken, ALL, QUIET)
    named = {(one.kind, one.id) for one in found.conflicts}
    assert ("model version", "team-b/churn version 1") in named
    assert ("experiment", "3") in named
    assert not any("default" in one.id or one.id == "churn version 1" for one in found.conflicts)


def test_a_name_that_is_taken_in_its_workspace_is_a_conflict(taken: Snapshot, target: str) -> None:
    """In another workspace, it is free."""
    change(target, "UPDATE experiments SET experiment_id = 90 WHERE experiment_id = 2")
    change(
        target, "UPDATE experiments SET experiment_id = 91, workspace = 'default', name = 'a' WHERE experiment_id = 4"
    )
    found = SqlTarget(target).plan(taken, ALL, QUIET)
    assert [(one.kind, one.id) for one in found.conflicts if one.kind == "experiment"] == [("experiment", "2")]
    assert "belongs to experiment 90" in found.conflicts[0].reason


def test_rows_of_a_workspace_without_their_model_are_named(target: str) -> None:
    change(target, "UPDATE registered_models SET name = 'other' WHERE workspace = 'team-b' AND name = 'another'")
    found = [one for one in records_of(target) if isinstance(one, Skipped) and one.kind == "model version"]
    assert [one.id for one in found] == ["another version 1", "another version 2"]


def test_a_difference_is_named_with_its_workspace(target: str, tmp_path: Path) -> None:
    storage = str(tmp_path / "backups")
    backup(target, storage)
    change(
        target,
        "UPDATE registered_models SET description = 'new' WHERE workspace = 'team-a' AND name = 'churn'",
        "UPDATE experiment_tags SET value = 'new' WHERE experiment_id = 2",
    )
    changes = diff(storage=storage, tracking_uri=target).comparison.changes
    assert [(one.kind, one.id, one.name, one.field) for one in changes] == [
        ("experiment", "2", "churn (workspace team-b)", "tags[team]"),
        ("registered model", "team-a/churn", "", "description"),
    ]


def test_a_restore_says_what_came_back(with_workspaces: Path, tmp_path: Path) -> None:
    storage = str(tmp_path / "backups")
    backup(f"sqlite:///{with_workspaces}", storage)
    found = restore(f"sqlite:///{tmp_path / 'new.db'}", storage=storage)
    assert found.comparison is not None
    assert found.comparison.is_equal
    assert found.comparison.compared["registered model"] == 5
