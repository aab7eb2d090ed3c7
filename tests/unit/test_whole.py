"""Files that appear as a whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from mlmeta.errors import UsageError
from mlmeta.guard.status import Board, Status, StatusFile
from mlmeta.temporary import take_name, write_whole


def test_a_file_is_new_or_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "page", tmp_path / "other"
    before = os.umask(0o027)
    try:
        assert write_whole(path, b"first")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert not write_whole(path, b"second", replaces=False)
        assert path.read_bytes() == b"first"
        assert write_whole(path, b"third", mode=0o604)
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"third", 0o604)
    other.symlink_to(path)
    assert not write_whole(other, b"x", replaces=False)
    assert write_whole(other, b"fourth")
    assert (path.read_bytes(), other.read_bytes(), other.is_symlink()) == (b"third", b"fourth", False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"x")

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert not write_whole(path, b"x", replaces=False)
    assert write_whole(tmp_path / "new", b"fifth", replaces=False)
    assert (tmp_path / "new").read_bytes() == b"fifth"
    with pytest.raises(FileNotFoundError):
        take_name(tmp_path / "none", tmp_path / "never")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "new", "other", "page"]


def test_a_status_file_replaces_nothing_else(tmp_path: Path) -> None:
    """Such as the database, where somebody took the wrong word, or `/dev/null`."""
    path, left = tmp_path / "status.json", tmp_path / ".status.json.0123abcd.tmp"
    left.touch()
    os.utime(left, (time.time() - 7200,) * 2)
    path.touch()
    StatusFile(path).write(Status("starting", 60))
    StatusFile(path).write(Status("ended", 60))
    assert json.loads(path.read_text())["state"] == "ended"
    assert [one.name for one in tmp_path.iterdir()] == ["status.json"]
    for content in (b"SQLite format 3\0", b'{"key": 1}', b"[" * 70_000, b"[1]"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is not a guard's status file"):
            StatusFile(path)
        assert path.read_bytes() == content
    for other in (tmp_path, Path(os.devnull)):
        with pytest.raises(UsageError, match="is not a regular file"):
            StatusFile(other)


def test_a_status_file_is_written_again_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "away" / "status.json"
    board = Board(Status("starting", 60), {}, path)
    assert f"{path} can't be written, and stays as it is" in board.tell(Status("starting", 60))
    assert [board.tell(Status("running", 60, failures=number)) for number in range(3)] == [""] * 3, "that was said"
    path.parent.mkdir()
    assert board.tell(Status("ending", 60)) == board.tell(Status("ending", 60)) == ""
    assert json.loads(path.read_text())["state"] == "ending"
    shutil.rmtree(path.parent)
    assert "can't be written" in board.tell(Status("ended", 60))
