"""`mlmeta diff`: what changed since a snapshot."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlmeta import backup, diff, restore
from tests.builders import legacy
from tests.builders.stores import add_logged_models
from tests.support import damage
from tests.support.cli import Cli
from tests.support.databases import Databases, change
from tests.support.server import Server


@pytest.fixture
def store(snapshots: Path, databases: Databases, tmp_path: Path) -> str:
    """A copy of the store that `snapshots` tells of; back it up to compare two snapshots."""
    return databases.copy("filled", tmp_path / "store.db")


def _change(uri: str, databases: Databases) -> None:
    client, runs = MlflowClient(uri, uri), databases.content.runs
    client.log_metric(runs["child-1"], "loss", 0.001, step=50)
    client.set_tag(runs["child-1"], "fold", "7")
    client.set_tag(runs["child-2"], "seen", "yes")
    client.create_run(client.get_experiment_by_name("churn").experiment_id, run_name="a new one")
    client.create_experiment("brand-new")
    client.set_registered_model_alias("churn-model", "champion", "1")
    client.create_model_version("churn-model", "gs://bucket/new", await_creation_for=0)
    client.delete_registered_model("it's empty")


def _two(folder: Path) -> list[str]:
    """The timestamps of two snapshots, of two sources: `latest` would not say of which."""
    return sorted(path.name.removeprefix("backup_summary_")[:15] for path in folder.glob("backup_summary_*"))


def _said(data: Any) -> set[tuple[str, str, str, str]]:
    changes = data["comparison"]["changes"]
    return {(c["what"], c["kind"], c["name"] or c["id"], c["field"]) for c in changes}


def test_nothing_changed(store: str, cli: Cli) -> None:
    done = cli("diff", "--tracking-uri", store).ok()
    assert "Nothing changed." in done.out
    found = cli("diff", "--tracking-uri", store, "--json").ok()
    assert found.document["status"] == "success"
    assert {tally["same"] > 0 for tally in found.data["comparison"]["records"].values()} == {True}


@pytest.mark.parametrize("against", ["store", "snapshot"])
def test_all_that_changed_is_named(store: str, databases: Databases, cli: Cli, against: str) -> None:
    _change(store, databases)
    arguments = ["latest", "--tracking-uri", store]
    if against == "snapshot":
        cli("backup", "--tracking-uri", store).ok()
        arguments = _two(cli.folder / "backups")
    shown = cli("diff", *arguments).ended(4)
    assert "+ experiment" in shown.out
    assert "(brand-new)" in shown.out
    done = cli("diff", *arguments, "--json").ended(4)
    assert (done.document["status"], done.document["errors"]) == ("success", [])
    found = done.data
    said = _said(found)
    assert said == {
        ("added", "experiment", "brand-new", ""),
        ("added", "run", "a new one", ""),
        ("changed", "run", "child-1", "tags[fold]"),
        ("changed", "run", "child-1", "metrics[loss]"),
        ("changed", "run", "child-1", "history of loss"),
        ("changed", "run", "child-2", "tags[seen]"),
        ("changed", "registered model", "churn-model", "aliases[champion]"),
        ("changed", "registered model", "churn-model", "last_updated_timestamp"),
        ("added", "model version", "churn-model version 6", ""),
        ("removed", "registered model", "it's empty", ""),
    }
    records = found["comparison"]["records"]
    assert (records["run"]["added"], records["run"]["changed"], records["run"]["removed"]) == (1, 2, 0)
    assert records["experiment"]["added"] == records["model version"]["added"] == 1
    assert records["registered model"]["removed"] == 1


def test_the_other_way_round(store: str, databases: Databases, cli: Cli) -> None:
    _change(store, databases)
    cli("backup", "--tracking-uri", store).ok()
    before, after = _two(cli.folder / "backups")
    there = _said(cli("diff", before, after, "--json").ended(4).data)
    back = _said(cli("diff", after, before, "--json").ended(4).data)
    other = {"added": "removed", "removed": "added", "changed": "changed"}
    assert back == {(other[what], *rest) for what, *rest in there}


def test_what_gc_took_is_removed(store: str, databases: Databases, cli: Cli) -> None:
    run = databases.content.runs["child-2"]
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as db, db:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run,))
    found = cli("diff", "--tracking-uri", store, "--json").ended(4).data
    assert _said(found) == {("removed", "run", "child-2", "")}


def test_a_snapshot_of_a_database_and_its_server(server: Server, tmp_path: Path) -> None:
    """What MLflow's API does not show is not removed."""
    add_logged_models(server.uri)
    client = MlflowClient(server.uri, server.uri)
    client.delete_run(client.create_run("0").info.run_id)
    backup(server.backend, [str(tmp_path)])
    assert diff(storage=str(tmp_path), tracking_uri=server.uri).comparison.is_equal
    backup(server.uri, [str(tmp_path)])
    assert diff(storage=str(tmp_path), tracking_uri=server.backend).comparison.is_equal
    two = _two(tmp_path)
    assert diff(*two, str(tmp_path)).exit_code == 0
    client.set_tag(client.search_runs(["1"])[0].info.run_id, "new", "one")
    for before in two:
        found = diff(before, storage=str(tmp_path), tracking_uri=server.uri)
        assert [change.field for change in found.comparison.changes] == ["tags[new]"]


@pytest.mark.parametrize("by_server", [True, False])
def test_incremental(filled: Server, databases: Databases, tmp_path: Path, by_server: bool) -> None:
    """Histories that can't have changed are not asked for, and what changed is found all the same."""
    uri, place = filled.uri if by_server else filled.backend, str(tmp_path)
    backup(uri, [place])
    assert diff(storage=place, tracking_uri=uri, incremental=True).exit_code == 0
    _change(uri, databases)
    full, quick = (diff(storage=place, tracking_uri=uri, incremental=chosen) for chosen in (False, True))
    assert quick.comparison == full.comparison
    assert {change.field for change in quick.comparison.changes} >= {"history of loss", "tags[seen]"}
    assert quick.warnings == ()
    run = databases.content.runs["child-2"]
    behind = "INSERT INTO metrics SELECT key, value, timestamp, run_uuid, -9, is_nan FROM metrics"
    change(filled.database, f"{behind} WHERE run_uuid = ? AND key = 'loss' AND step = 0", run)
    full, quick = (diff(storage=place, tracking_uri=uri, incremental=chosen) for chosen in (False, True))
    assert (run, "history of loss") in {(c.id, c.field) for c in full.comparison.changes}
    assert (quick.comparison == full.comparison) is not by_server, (
        "the one blind spot, and the proof that they are not asked for"
    )


def test_incremental_where_it_can_not_be(store: str, cli: Cli, snapshots: Path) -> None:
    done = cli("diff", "--tracking-uri", store, "--incremental", "--json").ok()
    assert any("all histories were read" in warning for warning in done.document["warnings"]), "it is another store"
    cli("backup", "--tracking-uri", store).ok()
    done = cli("diff", "--tracking-uri", store, "--incremental", "--experiment", "churn", "--json").ok()
    assert any("covers other experiments" in warning for warning in done.document["warnings"])
    assert cli("diff", "--tracking-uri", store, "--incremental", "--json").ok().document["warnings"] == []
    damage.flip(-20)(max(snapshots.glob("metrics_*")))
    assert "damaged" in cli("diff", "--tracking-uri", store, "--incremental").ended(4).err


def test_only_some_experiments(store: str, databases: Databases, cli: Cli) -> None:
    _change(store, databases)
    found = cli("diff", "--tracking-uri", store, "--experiment", "abandoned", "--json").ok().data
    assert found["experiments"] == ["abandoned"]
    found = cli("diff", "--tracking-uri", store, "--experiment", "brand-new", "--json").ended(4).data
    assert _said(found) == {("added", "experiment", "brand-new", "")}
    error = cli("diff", "--tracking-uri", store, "--experiment", "none such").ended(2).err
    assert "neither side has an experiment 'none such'" in error


def test_a_snapshot_that_is_limited_is_compared_in_what_it_covers(
    store: str, databases: Databases, tmp_path: Path
) -> None:
    place = str(tmp_path / "limited")
    backup(store, [place], experiments=["churn"])
    _change(store, databases)
    found = diff(storage=place, tracking_uri=store)
    assert found.experiments == ("churn",)
    assert {change.name for change in found.comparison.changes if change.kind == "run"} == {
        "a new one",
        "child-1",
        "child-2",
    }
    assert "experiment" not in {change.kind for change in found.comparison.changes}
    assert diff(storage=place, tracking_uri=databases.uri("filled")).comparison.is_equal
    change(tmp_path / "store.db", "UPDATE experiments SET name = 'renamed' WHERE name = 'churn'")
    gone = diff(storage=place, tracking_uri=store)
    assert {change.what for change in gone.comparison.changes} == {"removed"}
    assert gone.comparison.records["run"].same == 0


def test_an_older_scripts_snapshot(databases: Databases, tmp_path: Path, cli: Cli) -> None:
    """It says nothing of histories and aliases; what it does say counts."""
    legacy.write(tmp_path / "backups")
    uri = databases.copy("empty", tmp_path / "new.db")
    restore(uri, "latest", str(tmp_path / "backups"))
    found = cli("diff", "--tracking-uri", uri, "--json").ended(4)
    assert "an older script wrote it" not in found.document["warnings"]
    assert {said for said in _said(found.data) if said[0] != "added"} == set()
    client = MlflowClient(uri, uri)
    client.set_tag("a" * 32, "new", "one")
    client.log_metric("b" * 32, "auc", 0.9, step=3)
    changed = _said(cli("diff", "--tracking-uri", uri, "--json").ended(4).data)
    assert {said for said in changed if said[0] != "added"} == {
        ("changed", "run", "first", "tags[new]"),
        ("changed", "run", "second", "metrics[auc]"),
    }


@pytest.mark.parametrize("kind", ["experiments", "runs", "metrics", "models"])
def test_a_damaged_snapshot_is_not_compared(store: str, snapshots: Path, cli: Cli, kind: str) -> None:
    damage.flip(-20)(next(snapshots.glob(f"{kind}_*")))
    done = cli("diff", "--tracking-uri", store).ended(4)
    assert done.out == ""
    assert "damaged" in done.err


def test_there_must_be_something_to_compare_with(store: str, snapshots: Path, cli: Cli) -> None:
    assert "--tracking-uri" in cli("diff").ended(2).err
    cli("diff", "19990101", "--tracking-uri", store).ended(5)
    cli("diff", "latest", "19990101").ended(5)
    cli("diff", "--tracking-uri", f"{store}.none").ended(1)
    shutil.rmtree(snapshots)
    cli("diff", "--tracking-uri", store).ended(5)
