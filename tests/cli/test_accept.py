"""`--accept`: a gap that somebody knows is named, and ends nothing with exit code 3; any other gap does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlmeta import backup, diff, forget, list_snapshots, restore
from mlmeta.commands.backup import BackupResult
from mlmeta.commands.guard import guard
from mlmeta.commands.others import epochs_of
from mlmeta.commands.prune import prune
from mlmeta.commands.saver import Saver, Saving
from mlmeta.errors import UsageError
from mlmeta.schema import Row, Skipped, Summary
from mlmeta.schema.summary import Acceptance
from mlmeta.snapshot.retention import Rules
from mlmeta.snapshot.summaries import fitting
from mlmeta.storage import LocalStorage
from mlmeta.stores.opening import Store
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.databases import Databases


@pytest.fixture
def store(databases: Databases, cli: Cli) -> str:
    """A store of which two tables are gone."""
    uri = databases.copy("filled", cli.folder / "store.db")
    with closing(sqlite3.connect(cli.folder / "store.db")) as db, db:
        db.execute("DROP TABLE webhooks")
        db.execute("DROP TABLE issues")
    return uri


def test_what_is_accepted_is_named_and_no_reason_for_exit_code_3(cli: Cli, store: str) -> None:
    place = str(cli.folder / "backups")

    def lacking(done: BackupResult) -> tuple[int, list[str]]:
        return done.exit_code, [issue.message.partition(":")[0] for issue in done.issues]

    def state() -> tuple[str, int]:
        newest = list_snapshots(place).snapshots[0]
        return newest.state.value, newest.accepted

    first = backup(store, place)
    assert (lacking(first), state()) == ((3, ["table webhooks", "table issues"]), ("partial", 0))
    some = backup(store, place, accept="webhook")
    assert (lacking(some), some.skipped, state()) == ((3, ["table issues"]), first.skipped, ("partial", 1))
    (cli.folder / "mlmeta.toml").write_text('accept = ["Webhooks", "issues", "scorer"]\n')
    done = cli("backup", "--tracking-uri", store, "--json", env={"MLMETA_NO_CONFIG": ""}).ok()
    assert (done.document["status"], done.data["accepted"]) == ("success", ["Webhooks", "issues"])
    assert len(done.data["skipped"]) == 2
    assert state() == ("complete", 2)
    again = backup(store, place, if_changed=True, accept=["table"])
    assert again.unchanged_since == done.data["timestamp"]
    assert f"{again.unchanged_since}: 2 not saved, as is accepted" in cli("list").ok().out
    assert "accepted: table webhooks: a store with this schema has it" in cli("show").ok().out
    for words, code in (((), 3), (("issues", "webhooks"), 0)):
        assert diff(again.unchanged_since, storage=place, tracking_uri=store, accept=words).exit_code == code
    with closing(sqlite3.connect(cli.folder / "store.db")) as db, db:
        db.execute("UPDATE runs SET start_time = 'abc' WHERE rowid = 1")
    found = diff(again.unchanged_since, storage=place, tracking_uri=store, accept=("issues", "webhooks", "run"))
    assert (found.exit_code, found.comparison.records["run"].unread) == (0, 1), "the run is there, but for its time"
    with closing(sqlite3.connect(cli.folder / "store.db")) as db, db:
        db.execute("UPDATE runs SET start_time = 1 WHERE rowid = 1")
    with pytest.raises(UsageError, match="'webhoks' is no kind of thing that can be missing") as refused:
        backup(store, place, accept="webhoks")
    assert "near ones: webhooks" in refused.value.hint
    with pytest.raises(UsageError, match="can't be accepted"):
        backup(store, place, accept=["webhooks", "database"])
    assert len(list_snapshots(place).snapshots) == 3
    done = cli("backup", "--tracking-uri", store, "--dry-run", env={"MLMETA_ACCEPT": "table\ntrace tags"}).ok()
    assert "accepted: table issues" in done.out
    assert "accepted as missing" not in done.err
    with closing(sqlite3.connect(cli.folder / "store.db")) as db, db:
        db.execute("DROP TABLE inputs")
    grown = backup(store, place, accept="table", dry_run=True)
    assert grown.exit_code == 0
    assert f"accepted as missing: 3 things, where {again.unchanged_since} lacks 2" in grown.warnings


def test_what_a_target_does_not_take(databases: Databases, tmp_path: Path) -> None:
    place, target = str(tmp_path / "backups"), databases.copy("empty", tmp_path / "new.db")
    rows = (Row(table="brand_new", key={"id": 1}, row={"name": "x"}),)
    made.commit(LocalStorage(Path(place)), (*made.RECORDS, *rows))
    planned = restore(target, storage=place, dry_run=True)
    assert planned.exit_code == 3
    assert restore(target, storage=place, dry_run=True, accept="brand new").exit_code == 0
    with pytest.raises(UsageError, match="other_new"):
        restore(target, storage=place, accept=["brand_new", "other_new"])
    done = restore(target, storage=place, accept=["brand_new", "webhooks"])
    assert (done.exit_code, done.accepted, done.issues) == (0, ("brand_new",), ())
    assert [one.id for one in done.refused] == [one.id for one in planned.plan.refused if planned.plan]


def test_guard_knows_them_too(store: str, tmp_path: Path) -> None:
    """A word that names no kind stops the start; the last save of a server that ends is complete."""
    said: list[str] = []
    log = SimpleNamespace(info=list, warning=said.append, detail=list)
    saving = Saving(storages=(str(tmp_path / "backups"),), accept=("tables",))
    with pytest.raises(UsageError, match="webhoks"):
        guard(["true"], {}, replace(saving, accept=("webhoks",)), log, store_uri=store)
    epochs = epochs_of(Store(store), saving.storages, "", None, None)
    save = Saver(Store(store), saving, SimpleNamespace(switch=str), epochs)  # type: ignore[arg-type]
    done = save(again=False, last=True)
    assert (done.good, done.complete, list(done.problems), said) == (True, True, [], [])


def gap(kind: str = "table") -> Skipped:
    return Skipped(kind=kind, id="webhooks", reason="it is gone")


def snapshot(folder: Path, day: int, *skipped: Skipped, accepted: tuple[str, ...] = ()) -> str:
    at = made.NOW + timedelta(days=day)
    done = made.commit(LocalStorage(folder), at=at, skipped=skipped, accepted=accepted)
    return done.summary.backup_timestamp


def test_what_has_gaps_does_not_push_out_the_last_that_has_none(tmp_path: Path) -> None:
    """An accepted gap is one, too: that last snapshot may be all that is left of what others lack."""
    whole = [snapshot(tmp_path, day) for day in range(2)]
    accepted = [snapshot(tmp_path, day, gap(), accepted=("webhooks",)) for day in range(2, 5)]
    partial = snapshot(tmp_path, 5, gap("run"))
    states = {one.timestamp: (one.state.value, one.accepted) for one in list_snapshots(str(tmp_path)).snapshots}
    assert states == {
        **dict.fromkeys(whole, ("complete", 0)),
        **dict.fromkeys(accepted, ("complete", 1)),
        partial: ("partial", 0),
    }
    with pytest.raises(UsageError, match="without gaps"):
        forget(whole, str(tmp_path))
    stay = {one.timestamp: one.reason for one in prune(str(tmp_path), Rules(last=2)).snapshots if one.keep}
    assert stay == {partial: "last 2", accepted[2]: "last 2", whole[1]: "newest without gaps"}


def test_gaps_that_nobody_accepts_do_not_push_out_the_last_complete_one(tmp_path: Path) -> None:
    """Where a gap has always been there, the accepted ones are all that a bad week must not take."""
    accepted = [snapshot(tmp_path, day, gap(), accepted=("webhooks",)) for day in range(2)]
    partial = [snapshot(tmp_path, day, gap(), gap("run")) for day in range(2, 5)]
    with pytest.raises(UsageError, match="together the only complete snapshot of http://a in"):
        forget(accepted, str(tmp_path))

    def forgotten_meanwhile(_: object) -> None:
        forget([accepted[1], *partial], str(tmp_path), even_last=True)

    with pytest.raises(UsageError, match="has changed since the plan was made"):
        prune(str(tmp_path), Rules(last=1), confirm=forgotten_meanwhile)
    assert [one.timestamp for one in list_snapshots(str(tmp_path)).snapshots] == [accepted[0]]
    later = [snapshot(tmp_path, day, gap(), gap("run")) for day in range(2, 5)]
    stay = {one.timestamp: one.reason for one in prune(str(tmp_path), Rules(last=1)).snapshots if one.keep}
    assert stay == {later[2]: "last 1", accepted[0]: "newest complete"}


def test_words_and_gaps() -> None:
    known = Acceptance(("Registered-Model", "spans", "gateway_secrets"))
    assert known.covers("registered models")
    assert known.covers("span")
    assert known.covers("gateway secret")
    assert known.covers("rows", "of gateway_secrets")
    assert not known.covers("run")
    assert not known.covers("model")
    assert not Acceptance().covers("run")


@pytest.mark.parametrize(("last", "state"), [("span", ()), ("run", ("run",))])
def test_gaps_that_there_is_no_room_to_name(last: str, state: tuple[str, ...]) -> None:
    """They are accepted where all of them are."""
    many = (*(Skipped(kind="span", id=str(number), reason="x") for number in range(20_000)), gap(last))
    summary: Summary = fitting(made.summary(skipped=many, accepted=("spans",)))
    assert len(summary.skipped) == 20_001
    assert len(summary.gaps) == len(state)
