"""One thing back into a database, as somebody would who deleted it by mistake: that thing, and nothing else."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlmeta import Selection, restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.errors import ConflictError, UnknownRecordError, UsageError
from mlmeta.stores.opening import open_snapshot
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.databases import Content, Databases
from tests.support.plain import plain, rows

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deleted.md"


@dataclass
class Store:
    """A database that things get lost from, with a snapshot of what it was.

    Args:
        path: of the file.
        storage: of the snapshot.
        content: ids by name.
    """

    path: Path
    storage: Path
    content: Content

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.path}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)

    def lose(self, *names: str) -> None:
        """Remove runs as `mlflow gc` does, but for their artifacts."""
        with closing(sqlite3.connect(self.path)) as db, db:
            for name in names:
                for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
                    db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (self.content.runs[name],))

    def back(self, *, undelete: bool = False, missing: bool = False, **words: Any) -> RestoreResult:
        """A restore, whose dry run said what it then did; and that wrote nothing but what it counts."""
        ways: dict[str, Any] = {"undelete": undelete, "missing": missing, "selection": Selection(**words)}
        before = rows(self.path)
        planned = restore(self.uri, "latest", self.storage, dry_run=True, **ways)
        assert rows(self.path) == before
        done = restore(self.uri, "latest", self.storage, **ways)
        assert planned.plan is not None
        assert done.plan is not None
        assert (planned.exit_code, planned.plan.create, planned.plan.undelete) == (
            done.exit_code,
            done.created,
            done.undeleted,
        )
        assert planned.plan.chosen == done.plan.chosen
        assert restore(self.uri, "latest", self.storage, **ways).created == {}
        return done

    def shown(self) -> dict[str, Any]:
        return plain(self.uri)


@pytest.fixture
def store(databases: Databases, snapshots: Path, tmp_path: Path) -> Store:
    databases.copy("filled", tmp_path / "store.db")
    return Store(tmp_path / "store.db", snapshots, databases.content)


def test_a_run_that_is_gone_comes_back_alone_and_with_its_parent(store: Store) -> None:
    whole, runs = store.shown(), store.content.runs
    store.lose("child-1", "child-2")
    one = store.back(runs=runs["child-1"][:12])
    assert (one.exit_code, one.issues, one.created) == (0, (), {"runs": 1})
    assert one.plan is not None
    named = [(chosen.kind, chosen.id, chosen.reason, chosen.state) for chosen in one.plan.chosen]
    assert named == [
        ("run", runs["child-1"], "asked for", "new"),
        ("run", runs["parent"], "parent", "there"),
        ("experiment", store.content.experiments["churn"], "needed", "there"),
    ]
    assert set(whole["runs"]) - set(store.shown()["runs"]) == {"child-2"}
    store.lose("parent", "child-0", "child-1")
    assert store.back(runs=runs["child-2"]).created == {"runs": 2}
    family = store.back(runs=runs["parent"], children=True)
    assert (family.exit_code, family.created) == (0, {"runs": 2})
    assert store.shown() == whole


def states(result: RestoreResult) -> set[str]:
    """What the plan said of the single things."""
    assert result.plan is not None
    return {chosen.state for chosen in result.plan.chosen}


def test_what_is_deleted_becomes_active_and_nothing_else_does(store: Store) -> None:
    whole, churn = store.shown(), store.content.experiments["churn"]
    store.client.delete_experiment(churn)
    left = store.back(runs=store.content.runs["child-0"])
    assert (left.exit_code, {r.code for r in left.refused}) == (3, {"deleted_in_target"})
    assert [r.kind for r in left.refused] == ["experiment", "run", "run"]
    assert states(left) == {"deleted"}
    back = store.back(runs=store.content.runs["child-0"], undelete=True)
    assert (back.exit_code, back.undeleted) == (0, {"experiments": 1, "runs": 2})
    assert states(back) == {"undelete"}
    assert {run.info.run_name for run in store.client.search_runs([churn])} == {"child-0", "parent"}
    rest = store.back(experiments="churn", undelete=True)
    assert (rest.exit_code, rest.undeleted) == (0, {"runs": 2})
    assert store.shown() == whole


def test_a_run_that_was_deleted_before_comes_back_so_and_is_told(store: Store) -> None:
    store.lose("deleted")
    back = store.back(runs=store.content.runs["deleted"])
    assert (back.exit_code, back.created) == (0, {"runs": 1})
    (warning,) = back.warnings
    assert "is deleted in the snapshot, too" in warning
    run, before = made.run(store.content.runs["deleted"]), made.NOW.replace(year=2024)
    older = made.commit(
        made.LocalStorage(store.storage), [made.experiment(), run], at=before, **_source_of(store.storage)
    )
    (warning,) = store.back(runs=run.run_id).warnings
    assert warning.endswith(f"snapshot {older.summary.backup_timestamp} has it active")


def test_versions_and_aliases_come_back_and_no_number_is_used_up(store: Store) -> None:
    client, whole = store.client, store.shown()
    client.delete_registered_model_alias("churn-model", "champion")
    client.set_registered_model_alias("churn-model", "other", "5")
    client.set_registered_model_alias("churn-model", "challenger", "4")
    moved = store.back(models="churn-model@challenger")
    assert (moved.exit_code, [(one.id, one.code) for one in moved.refused]) == (3, [("churn-model@challenger", "kept")])
    assert "names version 4 in the target" in moved.issues[0].message
    assert store.back(models="churn-model/5").exit_code == 0  # not asked for
    client.set_registered_model_alias("churn-model", "challenger", "5")
    client.delete_registered_model_tag("churn-model", "owner")
    alias = store.back(models="churn-model@champion")
    assert (alias.exit_code, alias.issues, alias.created) == (0, (), {"model aliases": 1})
    found = client.get_registered_model("churn-model")
    assert (found.aliases, found.tags) == ({"champion": 3, "challenger": 5, "other": 5}, {})
    client.delete_model_version("churn-model", "3")
    client.delete_model_version("churn-model", "5")  # the newest, with the number that is highest
    version = store.back(models="churn-model/5")
    assert version.created == {"model versions": 1, "model aliases": 1}
    assert _versions(client) == [1, 4, 5]
    client.delete_registered_model("churn-model")
    assert store.back(models="churn-model/1").created == {"models": 1, "model versions": 1}
    assert store.back(models="models:/churn-model@champion").created == {"model versions": 1, "model aliases": 1}
    assert client.create_model_version("churn-model", "gs://new", await_creation_for=0).version == 6
    client.delete_model_version("churn-model", "6")
    assert store.back(models="churn-model").created == {"model versions": 2, "model aliases": 1}
    assert store.shown() == whole


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_numbers_are_kept_in_other_databases(kind: str, emptied: Callable[[str], str], snapshots: Path) -> None:
    uri = emptied(kind)
    some = restore(uri, storage=snapshots, selection=Selection(models="churn-model/1"))
    assert (some.exit_code, some.created["model versions"]) == (0, 1)
    client = MlflowClient(uri, uri)
    assert client.create_model_version("churn-model", "gs://new", await_creation_for=0).version == 6
    rest = restore(uri, storage=snapshots, selection=Selection(models="churn-model"))
    assert (rest.exit_code, rest.created) == (0, {"model versions": 3, "model aliases": 2})
    assert _versions(client) == [1, 3, 4, 5, 6]


def _versions(client: MlflowClient) -> list[int]:
    return sorted(int(one.version) for one in client.search_model_versions("name = 'churn-model'"))


def test_what_is_missing_comes_back_beside_what_stands_in_the_way(store: Store) -> None:
    client = store.client
    store.lose("odd")
    client.delete_registered_model("churn-model")
    client.create_registered_model("churn-model")  # another one
    with pytest.raises(ConflictError, match="churn-model"):
        restore(store.uri, storage=store.storage)
    back = store.back(missing=True)
    assert (back.exit_code, back.created) == (3, {"runs": 1})
    (refused,) = back.refused
    assert (refused.kind, refused.id) == ("model", "churn-model")
    with pytest.raises(UsageError, match="--missing"):
        restore(store.uri, storage=store.storage, missing=True, on_conflict="rename")


def test_what_only_another_snapshot_has_is_found_there(store: Store) -> None:
    """That of the same source; a run in a snapshot of another one is not meant."""
    older, foreign = made.run("e" * 32), made.run("f" * 32)
    summary = open_snapshot(str(store.storage)).summary
    made.commit(made.LocalStorage(store.storage), [made.experiment(), foreign], mlflow_uri="http://elsewhere")
    before = made.NOW.replace(year=2024)
    own = {"mlflow_uri": summary.mlflow_uri, "source_id": summary.source_id}
    made.commit(made.LocalStorage(store.storage), [made.experiment(), older], at=before, **own)
    for words, hint in (
        (Selection(runs="e" * 12), "snapshot 20240815_232928 has it"),
        (Selection(runs="f" * 12), "lists the runs"),
        (Selection("made"), "snapshot 20240815_232928 has it"),
        (Selection("chrn"), "it has: churn, "),
    ):
        with pytest.raises(UnknownRecordError) as raised:
            restore(store.uri, summary.backup_timestamp, store.storage, selection=words)
        assert hint in raised.value.hint


def test_the_commands_of_the_page_bring_each_thing_back(store: Store, cli: Cli) -> None:
    """Those of its table, one after the other: each is told apart by what it brings back."""
    client, runs, whole = store.client, store.content.runs, store.shown()
    table = re.findall(r"^\| (.*) \| `mlmeta (restore .*)` \|$", PAGE.read_text(), re.MULTILINE)
    commands = {what: words.replace("URI", store.uri) for what, words in table}
    client.delete_run(runs["child-0"])
    for name in ("parent", "child-1", "child-2"):
        client.delete_run(runs[name])
    words = {"3f2a91": runs["child-0"][:12]}, {"3f2a91": runs["parent"][:12]}

    def run(what: str, replaced: dict[str, str] | None = None) -> dict[str, Any]:
        command = commands.pop(what)
        for old, new in (replaced or {}).items():
            assert old in command
            command = command.replace(old, new)
        done = cli(*shlex.split(command), "--yes", "--json").ok()
        return {**done.data["created"], **{f"undeleted {kind}": n for kind, n in done.data["undeleted"].items()}}

    assert run("a run", words[0]) == {"undeleted runs": 2}  # with its parent
    assert run("a run with those nested in it", words[1]) == {"undeleted runs": 2}
    client.delete_experiment(store.content.experiments["churn"])
    assert run("an experiment") == {"undeleted experiments": 1, "undeleted runs": 4}
    client.delete_model_version("churn-model", "3")
    assert run("a version") == {"model versions": 1, "model aliases": 1}
    client.delete_registered_model_alias("churn-model", "champion")
    assert run("an alias") == {"model aliases": 1}
    client.delete_registered_model("churn-model")
    assert run("a registered model") == {"models": 1, "model versions": 4}
    client.delete_run(runs["odd"])
    store.lose("child-2")
    assert run("you don't know what all") == {"runs": 1, "undeleted runs": 1}
    assert store.shown() == whole
    assert not commands


def _source_of(storage: Path) -> dict[str, Any]:
    found = open_snapshot(str(storage)).summary
    return {"mlflow_uri": found.mlflow_uri, "source_id": found.source_id}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"runs": "a", "experiments": "churn"}, "--run and --model name single things"),
        ({"models": "a", "tables": "webhooks"}, "--table means a whole"),
        ({"models": "a", "children": True}, "--children"),
        ({"runs": "a", "only": "models"}, "leave out what --run names"),
        ({"models": "a", "without": "models"}, "leave out what --model names"),
    ],
)
def test_words_that_contradict_each_other(store: Store, words: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        restore(store.uri, storage=store.storage, selection=Selection(**words))
