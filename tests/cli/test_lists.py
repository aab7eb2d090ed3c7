"""A blank is part of a folder or a name; a string is one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import mlmeta
from mlmeta.commands.show_runs import run_table
from mlmeta.errors import UsageError
from mlmeta.schema import Selection, several
from tests.support.cli import Cli
from tests.support.databases import Databases


@pytest.mark.parametrize(
    ("value", "folders"),
    [
        ("with space", ["with space"]),
        (" two  blanks ", [" two  blanks "]),
        ("one\ntwo words", ["one", "two words"]),
        ("one\r\n\ntwo\n", ["one", "two"]),
        ("a:b", ["a:b"]),
    ],
)
def test_a_variable_holds_one_location_a_line(cli: Cli, databases: Databases, value: str, folders: list[str]) -> None:
    env: dict[str, str | None] = {"MLMETA_STORAGE": value}
    done = cli("backup", "--tracking-uri", databases.uri("filled"), "--json", env=env).ok()
    assert done.data["storages"] == [f"{folder}/" for folder in folders]
    assert sorted(path.name for path in cli.folder.iterdir() if path.is_dir()) == sorted(folders)
    assert cli("list", "--json", env=env).ok().data["storage"] == f"{folders[0]}/"
    assert cli("show", "--storage", folders[-1], env={"MLMETA_STORAGE": "elsewhere"}).ok()


def test_names_of_experiments_and_columns_have_blanks(cli: Cli, databases: Databases) -> None:
    uri = databases.copy("filled", cli.folder / "store.db")
    client = __import__("mlflow").MlflowClient(uri, uri)
    for name in ("two words", "three more words"):
        client.log_param(client.create_run(client.create_experiment(name)).info.run_id, "a b", 1)
    env: dict[str, str | None] = {"MLMETA_EXPERIMENT": "two words\nthree more words"}
    done = cli("backup", "--tracking-uri", uri, "--json", env=env).ok()
    assert done.data["experiments"] == ["three more words", "two words"]
    columns: dict[str, str | None] = {"MLMETA_COLUMN": "params.a b\nstatus"}
    shown = cli("show", "--experiment", "two words", "--json", env=columns).ok()
    assert shown.data["columns"] == ["params.a b", "attributes.status"]
    moved: dict[str, str | None] = {"MLMETA_REWRITE_ARTIFACT_PREFIX": "gs://old place=gs://new place"}
    words = ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db", "--dry-run")
    assert cli(*words, env=moved).ok()


@pytest.mark.parametrize("place", [str, Path])
def test_a_string_is_one_and_so_is_a_path(
    place: Callable[[str], str | Path], databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = place("bk"), place("there")
    done = mlmeta.backup(databases.uri("filled"), here, experiments="churn")
    assert (done.storages, done.experiments) == (("bk/",), ("churn",))
    assert [path.name for path in tmp_path.iterdir()] == ["bk"]
    assert [one.timestamp for one in mlmeta.list_snapshots(here).snapshots] == [done.timestamp]
    assert mlmeta.open_snapshot(here).timestamp == done.timestamp
    assert [one.timestamp for one in mlmeta.verify(done.timestamp, here).snapshots] == [done.timestamp]
    assert [one.timestamp for one in mlmeta.copy(done.timestamp, here, there).snapshots] == [done.timestamp]
    assert mlmeta.diff(done.timestamp, done.timestamp, there, experiments="churn").experiments == ("churn",)
    assert not mlmeta.prune(there, mlmeta.Rules(last=1), spare=done.timestamp).removes
    assert mlmeta.restore("sqlite:///new.db", storage=here, rewrite={"gs://old": "gs://new"}).created["runs"]
    assert run_table(done.timestamp, "bk", "churn", columns="status").columns == ("attributes.status",)
    assert Selection("churn").experiments == Selection(("churn",)).experiments == ("churn",)
    both = mlmeta.backup(databases.uri("filled"), [here, "bk/", there])
    assert both.storages == ("bk/", "there/"), "each once, however it is written"


def test_wrong_words_are_refused(snapshot_folder: Path, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'new.db'}"
    for wrong, said in (
        ({"ids": "kept"}, "'kept' is not a valid way to treat ids"),
        ({"on_conflict": "join"}, "'join' is not a valid way to handle conflicts"),
        ({"rewrite": ("gs://old", "gs://new")}, "rewrite is not pairs of prefixes"),
        ({"rewrite": "gs://old"}, "rewrite is not pairs of prefixes"),
        ({"jobs": 0}, "0 is not a number of jobs"),
    ):
        for uri in (target, "http://127.0.0.1:1"):
            with pytest.raises(UsageError, match=said):
                mlmeta.restore(uri, "latest", snapshot_folder, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gs:/bucket/prefix lacks a slash") as caught:
        mlmeta.list_snapshots(Path("gs://bucket/prefix"))
    assert "write gs://bucket/prefix as a string" in caught.value.hint
    assert not [*tmp_path.iterdir()]


def test_several() -> None:
    assert several("bk") == ("bk",)
    assert several(Path("a") / "b") == ("a/b",)
    assert several(["a", Path("b")]) == ("a", "b")
    assert several(()) == ()
