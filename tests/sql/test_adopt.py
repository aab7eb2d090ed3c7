"""What another guard saved of its own store comes into this one's."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

import mlmeta.commands.adopt
from mlmeta import backup, diff, restore
from mlmeta.commands.adopt import adopt
from mlmeta.commands.epochs import Epochs, Origin
from mlmeta.commands.others import OtherGuards
from mlmeta.commands.prune import prune
from mlmeta.progress import Silent
from mlmeta.schema import EXPERIMENTS, MODELS, RUNS, Lineage, Record, Skipped
from mlmeta.snapshot.epochs import create
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage
from mlmeta.stores.opening import Store
from tests.builders.snapshots import commit, experiment, history, in_order, model, run, utc_now, version
from tests.storage.test_epochs import claim

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


@pytest.fixture
def uri(blank: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(blank, tmp_path / 'mlflow.db')}"


def saved(folder: Path, *records: Record, epoch: int = 1, **more: object) -> Snapshot:
    told = {"label": "prod", "epoch": epoch, **more}
    made = commit(LocalStorage(folder), in_order([experiment(), *records]), at=utc_now(), **told)
    return open_snapshot(LocalStorage(folder), made.summary.backup_timestamp)


def guards(uri: str, folder: Path, origin: Origin | None = None) -> tuple[Epochs, OtherGuards]:
    store = Store(uri)
    epochs = Epochs(store, [str(folder)], "prod", origin or Origin(), lambda _: None)
    return epochs, OtherGuards(store, epochs)


def test_all_kinds_come_in_small_parts(filled: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlmeta.commands.adopt, "_PART", 3000)
    timestamp = backup(f"sqlite:///{filled}", tmp_path / "backups").timestamp
    snapshot = open_snapshot(LocalStorage(tmp_path / "backups"), timestamp)
    done = adopt(Store(uri), snapshot, None, Silent())
    assert not done.refused
    assert done.created["runs"] == snapshot.summary.stats["runs"]
    assert diff(timestamp, storage=tmp_path / "backups", tracking_uri=uri).comparison.is_equal
    again = adopt(Store(uri), snapshot, None, Silent())
    assert (+again.created, +again.merged, again.refused) == ({}, {}, [])
    assert +adopt(Store(uri), snapshot, snapshot, Silent()).created == {}


def test_only_what_is_new_since_the_fork_comes_in(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    base = saved(folder, run(A), run(B, params={"kept": "old"}), history(run_id=B))
    epochs, others = guards(uri, folder, Origin.of(base.summary))
    assert not others.attend(ready=False).problems
    assert others.epoch == 0, "not before the server answers"
    first = saved(folder, run(A), run(B, params={"kept": "old"}), history(run_id=B), run(C))
    assert others.attend(ready=True).texts == (f"brought in {first.timestamp} of guard 1: 1 experiment, 1 run created",)
    assert others.attend(ready=True).texts == ()
    assert epochs.lineage == Lineage(2, {1: first.timestamp})
    shown = diff(first.timestamp, storage=folder, tracking_uri=uri)
    assert shown.comparison.records["run"].removed == 2, "which are in the base"

    differs = saved(folder, run(A), run(B), run(C, params={"p": "theirs"}, end_time=5))
    here = saved(folder, run(A), run(B), run(C, params={"p": "ours"}, end_time=5), epoch=0)
    adopt(Store(uri), here, first, Silent())
    told = others.attend(ready=True)
    assert "is not all in this store" in told.problems[0]
    assert "ours" in told.problems[0] or "'p'" in told.problems[0]
    assert others.attend(ready=True).problems == ()
    assert epochs.lineage.includes == {1: first.timestamp}
    saved(folder, run(C), epoch=2, includes={1: first.timestamp})
    reasons = {one.timestamp: one.reason for one in prune(folder, Rules(last=1), dry_run=True).snapshots if one.keep}
    assert reasons[differs.timestamp] == "in no later guard's"

    assert create(LocalStorage(folder), claim(3, "another"))
    saved(folder, run(A, experiment_id="1"), epoch=1)
    assert "has taken over" in others.attend(ready=True).problems[0]
    assert others.superseded
    assert not epochs.may_prune()


def test_what_was_deleted_here_stays_deleted_though_snapshots_go(uri: str, tmp_path: Path) -> None:
    """A guard that has been replaced may be quiet for hours, and then save something."""
    folder = tmp_path / "backups"
    base = saved(folder, run(A), run(B))
    _, others = guards(uri, folder, Origin.of(base.summary))
    for _ in range(2):
        saved(folder, run(A), epoch=2, includes={1: base.timestamp})
    reasons = {one.timestamp: one.reason for one in prune(folder, Rules(last=1)).snapshots if one.keep}
    assert reasons[base.timestamp] == "the last guard goes on from it"
    assert len(reasons) == 2
    late = saved(folder, run(A), run(B), run(C))
    told = others.attend(ready=True)
    assert "1 run created" in told.texts[0], "B was deleted here"
    assert told.problems == ()
    saved(folder, run(A), run(C), epoch=2, includes={1: late.timestamp})
    assert base.timestamp not in prune(folder, Rules(last=1)).going, "a third guard may have begun before that"

    _, others = guards(uri, folder, Origin.of(base.summary))
    for file in folder.glob(f"*_{base.timestamp}.json"):
        file.unlink()
    assert f"{base.timestamp}, which both stores have in them, is gone" in others.attend(ready=True).problems[0]


def test_what_was_renamed_or_deleted_here_is_no_difference(uri: str, tmp_path: Path) -> None:
    """An experiment that another guard's new run is in; a run that it goes on with; a version of a model."""
    folder = tmp_path / "backups"
    first, second, third = (version(number) for number in (1, 2, 3))
    base = saved(folder, run(A), model(first, second, name="m", aliases={"best": 1}))
    adopt(Store(uri), base, None, Silent())
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as db, db:
        db.execute("UPDATE experiments SET name = 'renamed' WHERE experiment_id = 1")
        db.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
        db.execute("DELETE FROM registered_model_aliases")
        db.execute("DELETE FROM model_versions WHERE version = 1")
    epochs, others = guards(uri, folder, Origin.of(base.summary))
    more = model(first, second, third, name="m", aliases={"best": 1, "last": 3})
    late = saved(folder, run(A, params={"new": "1"}), run(B), more)
    told = others.attend(ready=True)
    assert told.problems == ()
    assert "1 run, 1 model version, 1 model alias created" in told.texts[0]
    assert epochs.lineage.includes == {1: late.timestamp}
    found = open_snapshot(LocalStorage(tmp_path / "found"), backup(uri, tmp_path / "found").timestamp)
    assert [one.name for one in found.records(EXPERIMENTS) if one.experiment_id == "1"] == ["renamed"]
    assert [(one.lifecycle_stage, one.params) for one in found.records(RUNS)] == [
        ("deleted", {"new": "1"}),
        ("active", {}),
    ]
    (registered,) = found.records(MODELS)
    assert ([one.version for one in registered.versions], registered.aliases) == ([2, 3], {"last": 3})


def test_damage_is_told_and_tried_again(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    base = saved(folder, run(A))
    epochs, others = guards(uri, folder, Origin.of(base.summary))
    late = saved(folder, run(A), run(B))
    (folder / f"runs_{base.timestamp}.json").write_bytes(
        (folder / f"runs_{base.timestamp}.json").read_bytes().replace(b"ada", b"eve")
    )
    file = folder / f"runs_{late.timestamp}.json"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"ada", b"eve"))
    told = others.attend(ready=True)
    assert any("will be tried again" in text for text in told.problems), told
    assert others.attend(ready=True).problems == (), "not at once"
    file.write_bytes(content)
    _, others = guards(uri, folder, Origin.of(base.summary))
    told = others.attend(ready=True)
    assert "what was deleted here since then may come back" in told.problems[0]
    assert "2 runs created" in told.texts[0]
    others.stop()
    saved(folder, run(A), run(B), run(C))
    assert others.attend(ready=True).texts == ()
    assert epochs.lineage.includes == {1: base.timestamp}


def test_older_ones_have_what_the_newest_lacks(uri: str, tmp_path: Path) -> None:
    """Where it is damaged, or its store had lost something; else the newest alone tells what there is."""
    folder = tmp_path / "backups"
    base = saved(folder, run(A))
    lost = Skipped(kind="run", id=B, reason="it could not be read")
    good = saved(folder, run(A), run(B, params={"p": "1"}))
    partial = saved(folder, run(A, tags={"late": "1"}), skipped=(lost,))
    shrunken = saved(folder, run(C), shrunken="1 run where there were 2")
    stamps = [one.timestamp for one in (good, partial, shrunken)]
    kept = {one.timestamp for one in prune(folder, Rules(last=1)).snapshots if one.keep}
    assert kept == {*stamps}
    third = saved(folder, run(A), epoch=2, includes={1: good.timestamp})
    assert {*stamps[1:]} <= {one.timestamp for one in prune(folder, Rules(last=1)).snapshots if one.keep}
    for file in (*folder.glob(f"*_{third.timestamp}.json"), *folder.glob(f"*_{base.timestamp}.json")):
        file.unlink()

    _, others = guards(uri, folder)
    told = [others.attend(ready=True) for _ in range(2)]
    assert [len(one.texts) for one in told] == [3, 0], told
    assert "2 runs created" in told[0].texts[0]
    assert "1 run completed" in told[0].texts[1]
    assert "1 run created" in told[0].texts[2]

    saved(folder, run(A), run("d" * 32))
    damaged = folder / f"runs_{saved(folder, run(A), run('e' * 32)).timestamp}.json"
    damaged.write_bytes(damaged.read_bytes().replace(b"ada", b"eve"))
    told = [others.attend(ready=True) for _ in range(3)]
    assert [len(one.texts) for one in told] == [0, 1, 0], told
    assert "will be tried again" in told[0].problems[-1]
    assert "1 run created" in told[1].texts[0]


def test_what_was_refused_is_not_tried_with_older_ones(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    commit(LocalStorage(folder), in_order([experiment(), run(A, params={"p": "here"})]), at=utc_now())
    restore(uri, "latest", folder)
    for number in range(3):
        saved(folder, run(A, params={"p": "there"}), *[run(B)] * (number == 1))
    _, others = guards(uri, folder)
    told = [others.attend(ready=True) for _ in range(3)]
    assert [len(one.texts) for one in told] == [1, 0, 0]
    assert "is not all in this store" in told[0].problems[-1]


def test_what_is_no_database_is_not_merged_into(tmp_path: Path) -> None:
    """A server by its URL, or a file store."""
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    saved(tmp_path / "backups", run(A))
    epochs, others = guards(str(tmp_path / "mlruns"), tmp_path / "backups")
    assert "as the store is no database" in others.attend(ready=True).problems[0]
    assert epochs.lineage == Lineage(2)
