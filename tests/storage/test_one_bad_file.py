"""One bad file stops nothing: each becomes a row with its state, or is skipped and named; backups go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlmeta import backup, list_snapshots, verify
from mlmeta.commands.prune import prune
from mlmeta.errors import ObjectRefusedError
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage
from tests.builders import legacy
from tests.support.databases import Databases
from tests.support.hostile import BAD

Put = Callable[[Path], None]
_SUMMARY = f"backup_summary_{BAD}.json"


def _closed(name: str) -> Put:
    """A file or folder that is closed to us, in a way that holds for root too."""

    def put(folder: Path) -> None:
        if name.endswith("+found"):
            (folder / name).mkdir()
        else:
            (folder / name).write_text("{}")

    return put


def _not_utf8(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\xfe_20250101_000000.json")).write_text("{}")
    (folder / os.fsdecode(b"\xff")).symlink_to("nowhere")


def _linked_folder(folder: Path) -> None:
    legacy.write(folder.parent / "elsewhere", nested=True)
    (folder / legacy.TIMESTAMP).symlink_to(folder.parent / "elsewhere" / legacy.TIMESTAMP)


ROWS: dict[str, tuple[Put, str, str]] = {
    "a summary that is too deep": (lambda f: _write(f / _SUMMARY, b"[" * 100_000), "damaged", "recursion"),
    "a summary that is empty": (lambda f: _write(f / _SUMMARY, b""), "damaged", "JSON"),
    "a summary that is closed": (_closed(_SUMMARY), "unreadable", "Permission denied"),
    "a folder beside a data file": (
        lambda f: (_write(f / f"runs_{BAD}.json", b"[\n]\n"), (f / f"models_{BAD}.json").mkdir()),  # type: ignore[return-value]
        "incomplete",
        f"models_{BAD}.json is not read: it is a folder",
    ),
}
ASIDE: dict[str, tuple[Put, str]] = {
    "a folder that is closed": (
        _closed("lost+found"),
        "lost+found was skipped: it can't be read: Permission",
    ),
    "a link to itself": (lambda f: (f / f"runs_{BAD}.json").symlink_to(f / f"runs_{BAD}.json"), "it is a link"),
    "a summary that is a link to itself": (
        lambda f: (f / _SUMMARY).symlink_to(_SUMMARY),
        f"{_SUMMARY} was skipped",
    ),
    "a folder with a file's name": (lambda f: (f / f"runs_{BAD}.json").mkdir(), f"runs_{BAD}.json was skipped"),
    "a pipe": (lambda f: os.mkfifo(f / f"runs_{BAD}.json"), "it is a pipe"),
    "a name that is not UTF-8": (_not_utf8, "\\udcff was skipped"),
    "a linked folder": (_linked_folder, f"{legacy.TIMESTAMP} was skipped: it is a link"),
}


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, to whom nothing is closed."""
    scandir, opening = os.scandir, os.open

    def scan(path: str) -> object:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith(_SUMMARY) and Path(path).read_bytes() == b"{}":
            raise PermissionError(13, "Permission denied")
        return opening(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "open", open_)


def _everything_goes_on(folder: Path, databases: Databases, bad: str) -> None:
    good = next(row.timestamp for row in list_snapshots(str(folder)).snapshots if row.state.value == "complete")
    before = {path.name for path in folder.iterdir()}
    again = backup(databases.uri("filled"), [str(folder)], incremental=True)
    assert again.exit_code == 0
    pruned = prune(str(folder), Rules(last=5))
    assert {d.timestamp for d in pruned.snapshots if d.keep} >= {good, again.timestamp}
    assert {path.name for path in folder.iterdir()} >= before
    checked = verify([], str(folder), every=True)
    assert {one.timestamp for one in checked.snapshots if not one.problems} == {good, again.timestamp}
    assert {one.timestamp for one in checked.snapshots if one.problems} <= {bad}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_with_its_state(snapshots: Path, databases: Databases, name: str) -> None:
    put, state, problem = ROWS[name]
    put(snapshots)
    rows = {row.timestamp: row for row in list_snapshots(str(snapshots)).snapshots}
    assert rows[BAD].state.value == state
    assert problem in rows[BAD].problem
    _everything_goes_on(snapshots, databases, BAD)


@pytest.mark.parametrize("name", ASIDE)
def test_ignored_by_name(snapshots: Path, databases: Databases, name: str) -> None:
    put, message = ASIDE[name]
    put(snapshots)
    found = list_snapshots(str(snapshots))
    assert len(found.snapshots) == 1
    assert any(message in warning for warning in found.warnings), found.warnings
    _everything_goes_on(snapshots, databases, BAD)
    if name == "a linked folder":
        assert len(list((snapshots.parent / "elsewhere" / legacy.TIMESTAMP).iterdir())) == 4


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "a/b/c", "", ".", "..", "a/", "a/..", "x\0"])
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("outside")
    storage = LocalStorage(tmp_path / "storage")
    (tmp_path / "storage" / "a").mkdir(parents=True)
    for act in (storage.open, storage.remove):
        with pytest.raises(ObjectRefusedError):
            act(name)
    assert (tmp_path / "x").read_text() == "outside"


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("outside")
    storage = LocalStorage(tmp_path / "storage")
    storage.folder.mkdir()
    (storage.folder / "a").symlink_to(tmp_path / "outside")
    for act in (storage.open, storage.remove):
        with pytest.raises(ObjectRefusedError):
            act("a/x")
    assert (tmp_path / "outside" / "x").read_text() == "outside"
