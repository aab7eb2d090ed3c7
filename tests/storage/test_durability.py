"""What is written outlives a power cut: content first, then its name, then the folder, and the ones made above it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from mlmeta.storage import LocalStorage
from tests.builders.snapshots import commit
from tests.support.cli import Cli

Event = tuple[str, str]


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What is flushed and named, in its order, on a file system with or without hard links."""
    found: list[Event] = []
    fsync, link, replace, mkdir = os.fsync, os.link, Path.replace, Path.mkdir

    def flushing(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        found.append(("flushed", str(path) if path.is_dir() else str(os.fstat(descriptor).st_ino)))

    def linking(source: Path, target: Path) -> None:
        if not request.param:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        link(source, target)
        found.append(("named", str(target.stat().st_ino)))

    def replacing(path: Path, target: Path) -> Path:
        done = replace(path, target)
        found.append(("named", str(target.stat().st_ino)))
        return done

    def making(path: Path, *arguments: object, **keywords: object) -> None:
        mkdir(path, *arguments, **keywords)  # type: ignore[arg-type]
        found.append(("made", str(path)))

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "link", linking)
    monkeypatch.setattr(Path, "replace", replacing)
    monkeypatch.setattr(Path, "mkdir", making)
    return found


def test_a_file_is_flushed_before_it_has_its_name_and_the_folder_after(events: list[Event], tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for" / "it"
    commit(LocalStorage(folder))
    inodes = {str(path.stat().st_ino) for path in folder.iterdir()}
    named = [place for place, (what, which) in enumerate(events) if what == "named" and which in inodes]
    assert len(named) == len(inodes) == 5
    for place in named:
        assert ("flushed", events[place][1]) in events[:place]
        assert ("flushed", str(folder)) in events[place:]
    last_data, summary = named[-2:]
    assert ("flushed", str(folder)) in events[last_data:summary], "data files are safe before there is a snapshot"
    for made in (folder.parent.parent, folder.parent, folder):
        assert ("flushed", str(made.parent)) in events[events.index(("made", str(made))) : named[0]]


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize(("umask", "file", "made"), [(0o077, 0o600, 0o700), (0o027, 0o640, 0o750)])
@pytest.mark.parametrize("links", [True, False])
def test_who_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, file: int, made: int, links: bool
) -> None:
    def no_link(_: Path, target: Path) -> None:
        raise OSError(errno.EPERM, f"no link to {target}")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(LocalStorage, "umask", umask)
    tmp_path.chmod(0o755)
    commit(LocalStorage(tmp_path / "a" / "b"))
    assert modes(tmp_path / "a" / "b") == {file}
    assert modes(tmp_path) == modes(tmp_path / "a") == {made}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755, "a folder that exists is left as it is"


@pytest.mark.parametrize(
    ("words", "env", "file", "made"),
    [
        ((), {}, 0o600, 0o700),
        (("--umask", "027"), {}, 0o640, 0o750),
        ((), {"MLMETA_UMASK": "0022"}, 0o644, 0o755),
    ],
)
def test_the_command_line_lets_others_read(
    cli: Cli, snapshots: Path, words: tuple[str, ...], env: dict[str, str | None], file: int, made: int
) -> None:
    cli("copy", "--from", str(snapshots), "--to", "there", *words, env=env).ok()
    assert modes(cli.folder / "there") == {file}
    assert stat.S_IMODE((cli.folder / "there").stat().st_mode) == made


@pytest.mark.parametrize("word", ["8", "-1", "rw", "00277"])
def test_a_umask_that_is_none(cli: Cli, word: str) -> None:
    assert "octal" in cli("copy", "--to", "there", f"--umask={word}").ended(2).err
