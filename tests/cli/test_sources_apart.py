"""Several stores that save into one storage: none pushes out, or stands for, another."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta.operations.backup import BackupResult, backup
from mlmeta.operations.listing import list_snapshots
from mlmeta.schema import Summary
from mlmeta.snapshot.retention import Rules
from tests.support.databases import Databases


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
