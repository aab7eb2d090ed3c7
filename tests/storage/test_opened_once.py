"""Each data file of a snapshot is opened once a command: from a bucket, each time would be a download."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from mlmeta import backup, diff, restore, verify
from mlmeta.schema import Selection
from mlmeta.storage import LocalStorage
from tests.storage.faulty import New
from tests.support.databases import Databases
from tests.support.fault_proxy import Plan
from tests.support.gcs import Emulator

CHURN = Selection(experiments=("churn",))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each data file was opened."""
    found: Counter[str] = Counter()
    plain = LocalStorage.open

    def counted(storage: LocalStorage, name: str, most: int | None = None) -> BinaryIO:
        if not name.startswith("backup_summary"):
            found[name] += 1
        return plain(storage, name, most)

    monkeypatch.setattr(LocalStorage, "open", counted)
    return found


COMMANDS: dict[str, Callable[[str, str], object]] = {
    "verify": lambda storage, _: verify(storage=storage),
    "verify with a drill": lambda storage, _: verify(storage=storage, with_drill=True),
    "restore": lambda storage, uri: restore(uri, storage=storage),
    "restore a part": lambda storage, uri: restore(uri, storage=storage, selection=CHURN),
    "plan": lambda storage, uri: restore(uri, storage=storage, dry_run=True),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("target", ["new", "filled"])
def test_a_command(
    snapshots: Path, databases: Databases, tmp_path: Path, opened: Counter[str], name: str, target: str
) -> None:
    store = tmp_path / "target.db"
    if target == "filled":
        databases.copy("filled", store)
    COMMANDS[name](str(snapshots), f"sqlite:///{store}")
    assert set(opened.values()) == {1}
    assert len(opened) == len(list(snapshots.glob("*_2*.json"))) - 1


@pytest.mark.parametrize("experiments", [(), ("churn",)], ids=["all", "a part"])
def test_diff(snapshots: Path, databases: Databases, opened: Counter[str], experiments: tuple[str, ...]) -> None:
    diff("latest", storage=str(snapshots), tracking_uri=databases.uri("filled"), experiments=experiments)
    assert set(opened.values()) == {1}


def test_diff_of_two(snapshots: Path, databases: Databases, opened: Counter[str]) -> None:
    backup(databases.uri("filled"), [str(snapshots)])
    opened.clear()
    diff("latest~1", "latest", storage=str(snapshots), experiments=("churn",))
    assert set(opened.values()) == {1}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bucket(snapshots: Path, emulator: Emulator, faults: Plan, new: New, tmp_path: Path, name: str) -> None:
    location = new()
    _, _, bucket, prefix, _ = location.split("/")
    emulator.put(bucket, {f"{prefix}/{path.name}": path.read_bytes() for path in snapshots.iterdir()})
    COMMANDS[name](location, f"sqlite:///{tmp_path / 'target.db'}")
    paths = (request.path for request in faults.requests if "alt=media" in request.path)
    downloads = Counter(path for path in paths if "backup_summary" not in path)
    assert set(downloads.values()) == {1}
    assert len(downloads) == len(list(snapshots.iterdir())) - 1
