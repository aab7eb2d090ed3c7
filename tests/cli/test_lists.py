"""A blank is part of a folder or a name; a string is one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlmeta
from mlmeta.commands.show import run_table
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


def test_a_string_is_one(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = mlmeta.backup(databases.uri("filled"), "bk", experiments="churn")
    assert (done.storages, done.experiments) == (("bk/",), ("churn",))
    assert [path.name for path in tmp_path.iterdir()] == ["bk"]
    assert [one.timestamp for one in mlmeta.verify(done.timestamp, "bk").snapshots] == [done.timestamp]
    assert [one.timestamp for one in mlmeta.copy(done.timestamp, "bk", "there").snapshots] == [done.timestamp]
    assert mlmeta.diff(done.timestamp, done.timestamp, "bk", experiments="churn").experiments == ("churn",)
    assert run_table(done.timestamp, "bk", "churn", columns="status").columns == ("attributes.status",)
    assert Selection("churn").experiments == Selection(("churn",)).experiments == ("churn",)  # type: ignore[arg-type]


def test_several() -> None:
    assert several("bk") == ("bk",)
    assert several(Path("a") / "b") == ("a/b",)
    assert several(["a", Path("b")]) == ("a", "b")
    assert several(()) == ()
