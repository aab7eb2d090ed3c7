"""Several stores that save into one storage: none pushes out, or stands for, another."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta.commands.backup import BackupResult, backup
from mlmeta.commands.list import list_snapshots
from mlmeta.schema import Summary
from mlmeta.snapshot.retention import Rules
from mlmeta.stores.api.connection import Connection
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.server import Server


def store(databases: Databases, folder: Path) -> Path:
    """A folder with a store named as everybody names it."""
    folder.mkdir()
    databases.copy("filled", folder / "mlflow.db")
    return folder


def save(storage: Path, uri: str = "sqlite:///mlflow.db", keep: int = 1, label: str = "") -> BackupResult:
    return backup(uri, [str(storage)], keep=Rules(last=keep), label=label)


def summary(storage: Path, timestamp: str) -> Summary:
    return Summary.model_validate_json((storage / f"backup_summary_{timestamp}.json").read_bytes())


def test_two_folders_with_the_same_text_are_two_sources(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "backups"
    made = []
    for name in ("one", "two"):
        monkeypatch.chdir(store(databases, tmp_path / name))
        made.append(save(storage))
    assert [one.pruned for one in made] == [{f"{storage}/": ()}] * 2
    assert [one.source for one in made] == ["sqlite:///mlflow.db"] * 2
    assert [summary(storage, one.timestamp).source_id for one in made] == [
        f"sqlite:///{tmp_path.resolve()}/{name}/mlflow.db" for name in ("one", "two")
    ]
    assert len(list_snapshots(str(storage)).snapshots) == 2


def test_two_texts_for_one_store_are_one_source(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "backups"
    folder = store(databases, tmp_path / "one")
    monkeypatch.chdir(folder)
    first = save(storage)
    second = save(storage, f"sqlite:///{folder}/../one/mlflow.db")
    assert second.pruned == {f"{storage}/": (first.timestamp,)}
    assert backup("sqlite:///./mlflow.db", [str(storage)], if_changed=True).unchanged_since == second.timestamp
    assert backup("sqlite:///mlflow.db", [str(storage)], incremental=True).incremental_base == second.timestamp


def test_a_label_is_the_identity(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = tmp_path / "backups"
    monkeypatch.chdir(store(databases, tmp_path / "one"))
    plain, first = save(storage), save(storage, label="prod")
    monkeypatch.chdir(store(databases, tmp_path / "moved"))
    second = save(storage, label="prod")
    assert second.pruned == {f"{storage}/": (first.timestamp,)}
    kept = list_snapshots(str(storage)).snapshots
    assert [(one.timestamp, one.identity) for one in kept] == [
        (second.timestamp, "prod"),
        (plain.timestamp, plain.source_id),
    ]


@pytest.fixture
def two(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[BackupResult]:
    """Snapshots of two stores with the same text, and one of a label, in `backups`."""
    made = []
    for name, label in (("one", ""), ("two", ""), ("three", "prod")):
        monkeypatch.chdir(store(databases, tmp_path / name))
        made.append(save(tmp_path / "backups", label=label))
    monkeypatch.chdir(tmp_path)
    return made


def test_the_rules_of_a_backup_are_for_its_own_source(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, others = tmp_path / "backups", []
    for folder in ("a", "b"):
        monkeypatch.chdir(store(databases, tmp_path / folder))
        others += [save(storage, keep=9).timestamp for _ in range(3 if folder == "a" else 1)]
    limited = backup("sqlite:///mlflow.db", [str(storage)], experiments="churn", keep=Rules(last=1))
    whole = save(storage)
    assert [list(one.pruned.values()) for one in (limited, whole)] == [[()], [(others.pop(),)]]
    found = {info.timestamp for info in list_snapshots(str(storage)).snapshots}
    assert found == {*others, limited.timestamp, whole.timestamp}


def test_a_limit_is_the_same_in_any_order(databases: Databases, tmp_path: Path) -> None:
    uri, place = f"sqlite:///{store(databases, tmp_path / 'one')}/mlflow.db", str(tmp_path / "backups")
    first, second = (
        backup(uri, place, experiments=names, keep=Rules(last=1))
        for names in (["churn", "Default"], ["Default", "churn"])
    )
    assert (second.experiments, list(second.pruned.values())) == (first.experiments, [(first.timestamp,)])


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("show", "2030-01-01"),
        ("verify", "latest"),
        ("verify", "--quick"),
        ("copy", "--to", "elsewhere", "--from", "backups"),
        ("browse", "--no-browser"),
        ("diff", "latest~1", "latest"),
        ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db"),
        ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///one/mlflow.db", "--yes"),
    ],
    ids=" ".join,
)
def test_latest_among_several_sources_names_them(cli: Cli, two: list[BackupResult], words: tuple[str, ...]) -> None:
    done = cli(*words).ended(2)
    assert "backups/ has snapshots of 3 sources: prod, " in done.err
    assert all(one.source_id in done.err for one in two[:2])
    assert "--source" in done.err
    assert not (cli.folder / "new.db").exists()
    assert not (cli.folder / "elsewhere").exists()


def test_the_source_can_be_said(cli: Cli, two: list[BackupResult]) -> None:
    def shown(*words: str) -> str:
        return str(cli("show", *words, "--json").ok().data["timestamp"])

    first, second, third = (one.timestamp for one in two)
    assert shown("--source", "prod") == third
    assert shown("--source", "sqlite:///one/mlflow.db") == first
    assert shown("--source", two[1].source_id) == second
    assert shown("latest", "--source", f"sqlite:///{cli.folder}/two/../two/mlflow.db") == second
    assert cli("show", "--json", env={"MLMETA_SOURCE": "prod"}).ok().data["timestamp"] == third
    assert "no snapshot of nobody in backups/" in cli("show", "--source", "nobody").ended(5).err
    assert "3 sources" in cli("show", "latest~0", "--source", "sqlite:///mlflow.db").ended(2).err


def test_a_timestamp_needs_no_source(cli: Cli, two: list[BackupResult]) -> None:
    for one in two:
        assert cli("show", one.timestamp, "--json").ok().data["timestamp"] == one.timestamp
        assert cli("show", one.timestamp, "--source", "prod", "--json").ok().data["timestamp"] == one.timestamp


def test_the_store_that_is_compared_with_says_which(cli: Cli, two: list[BackupResult]) -> None:
    for one, name in zip(two[:2], ("one", "two"), strict=True):
        found = cli("diff", "--tracking-uri", f"sqlite:///{name}/mlflow.db", "--json").ok()
        assert (found.data["before"], found.document["warnings"]) == (one.timestamp, [])


def test_a_container_that_starts_with_a_source_of_its_own(cli: Cli, two: list[BackupResult]) -> None:
    words = ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db", "--if-empty", "--allow-none")
    assert cli(*words, "--source", "not yet", "--json").ok().data["untouched"] == "there is no snapshot yet"
    assert cli(*words, "--source", "prod", "--json").ok().data["timestamp"] == two[2].timestamp


def test_an_older_snapshot_is_of_the_only_source_with_its_text(
    cli: Cli, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update of mlmeta the storage still has one source; retention leaves the older ones alone."""
    storage = cli.folder / "backups"
    monkeypatch.chdir(store(databases, cli.folder / "one"))
    with monkeypatch.context() as patch:
        patch.setattr("mlmeta.commands.backup.identity_of", lambda *_: "")
        old = save(storage)
    new = save(storage)
    assert new.pruned == {f"{storage}/": ()}
    assert cli("show", "--json").ok().data["timestamp"] == new.timestamp
    assert cli("show", "latest~1", "--json").ok().data["timestamp"] == old.timestamp
    monkeypatch.chdir(store(databases, cli.folder / "two"))
    save(storage)
    assert "3 sources" in cli("show").ended(2).err


def test_the_list_tells_them_apart(cli: Cli, two: list[BackupResult]) -> None:
    shown = cli("list").ok().out
    assert all(one.source_id in shown for one in two[:2])
    assert "prod (sqlite:///mlflow.db)" in shown
    rows = cli("list", "--json").ok().data["snapshots"]
    assert [row["label"] for row in rows] == ["prod", "", ""]
    assert cli("show", "--source", "prod", "--json").ok().data["label"] == "prod"


def test_a_password_in_source_is_not_shown(cli: Cli, two: list[BackupResult]) -> None:
    done = cli("show", "--source", "postgresql://ada:s3cret@db/mlflow").ended(5)
    assert "no snapshot of postgresql://db/mlflow in backups/" in done.err
    assert "s3cret" not in done.err


def test_a_workspace_is_part_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
    assert Connection("http://x").workspace == "team-a"
    assert Connection("sqlite:///x.db").workspace == ""
    monkeypatch.setenv("MLFLOW_WORKSPACE", "default")
    assert Connection("http://x").workspace == ""


@pytest.mark.parametrize(
    ("hosts", "sources"),
    [
        (("one", "two"), 2),
        (("one", "ONE.local"), 1),
        (("3f2a9c0b1d4e", "a01b2c3d4e5f"), 1),  # a container, started again
        (("mlflow-7d9c6b8f4-x2x9q", "mlflow-7d9c6b8f4-bcdfg"), 1),
    ],
)
def test_a_server_behind_the_loopback(
    filled: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...], sources: int
) -> None:
    """`http://localhost:5000` on two hosts are two servers; a container's new name makes no other one of it."""
    for host in hosts:
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        save(tmp_path, filled.uri.replace("127.0.0.1", "localhost") + "/")
    assert len(list_snapshots(str(tmp_path)).snapshots) == sources
