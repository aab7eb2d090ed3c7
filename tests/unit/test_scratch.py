from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlmeta.temporary import remove_leftovers, scratch_folder

HOLDS = """
import sys
from pathlib import Path
from mlmeta.temporary import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "big").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_removed_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "file").touch()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_removed_and_what_living_ones_have_is_not(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    living, used = holder(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        with scratch_folder(tmp_path) as folder:
            assert {*tmp_path.iterdir()} == {used, folder}
            assert (used / "deep" / "er" / "big").stat().st_size == 1000
    finally:
        living.communicate("")
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    killed.kill()
    killed.wait()
    elsewhere = tmp_path / "elsewhere"
    left.rename(elsewhere)
    (tmp_path / "mlmeta-link.tmp").symlink_to(elsewhere)
    (tmp_path / "mlmeta-file.tmp").touch()
    (tmp_path / "mlmeta-not-ours.tmp").mkdir()
    (tmp_path / "mlmeta-lock-is-a-link.tmp").mkdir()
    (tmp_path / "mlmeta-lock-is-a-link.tmp" / ".in-use").symlink_to(elsewhere / ".in-use")
    before = sorted(tmp_path.rglob("*"))
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_can_not_be_read_is_left_alone(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "missing")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr("fcntl.flock", refuse)
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as other:
        assert one.is_dir()
        assert other.is_dir()
    assert not list(tmp_path.iterdir())
