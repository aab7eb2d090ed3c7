"""What the system refuses is named as that: never a bug of mlmeta, never a traceback."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, Finished
from tests.support.databases import Databases


@pytest.fixture
def source(databases: Databases, tmp_path: Path) -> str:
    return databases.copy("filled", tmp_path / "source.db")


def _shell(folder: Path, command: str, **environment: str) -> Finished:
    """Run a command line with `mlmeta` in it."""
    whole = command.replace("mlmeta ", f"{sys.executable} -m mlmeta ", 1)
    done = subprocess.run(
        ["bash", "-c", whole],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _no_bug(done: Finished) -> None:
    assert "bug in mlmeta" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", ["list", "list --json", "show", "verify", "--help", "list --help", "--version"])
def test_a_full_stdout(snapshots: Path, cli: Cli, words: str) -> None:
    """What was asked for could not be given: that is a failure."""
    done = _shell(cli.folder, f"mlmeta {words} > /dev/full")
    assert done.code == 1
    assert "error: the system refused: No space left on device" in done.err
    _no_bug(done)


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-"])
def test_who_can_not_listen_does_not_stop_the_work(source: str, cli: Cli, redirection: str) -> None:
    done = _shell(cli.folder, f"mlmeta backup --tracking-uri {source} {redirection}")
    assert done.code == 0
    assert len(list((cli.folder / "backups").glob("backup_summary_*"))) == 1


@pytest.mark.parametrize("words", ["show", f"show --run {'a' * 32}", "show --json", "list"])
def test_an_encoding_of_few_letters(cli: Cli, words: str) -> None:
    from tests.builders import snapshots as made

    made.write(cli.folder / "backups", [made.experiment(name="größe 東京"), made.run(run_name="läuft")])
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = _shell(
        cli.folder, f"mlmeta {words.replace('größe', chr(39) + 'größe 東京' + chr(39))} --no-progress", **plain
    )
    assert done.code == 0, done
    assert done.out.isascii()
    if "json" in words:
        assert done.data["experiments"][0]["experiment"]["name"] == "größe 東京"


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 << 10, 100 << 10))


def _tiny_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, 1 << 10))


LIMITS = {
    "few files, backup": (_few_files, ("backup", "--tracking-uri", "SOURCE")),
    "tiny files, backup": (_tiny_files, ("backup", "--tracking-uri", "SOURCE")),
    "tiny files, copy": (_tiny_files, ("copy", "latest", "--from", "backups", "--to", "elsewhere")),
    "small files, restore": (_small_files, ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db")),
    "small files, verify": (_small_files, ("verify", "--drill")),
}


@pytest.mark.parametrize("what", LIMITS)
def test_limits(snapshots: Path, source: str, cli: Cli, what: str) -> None:
    limit, words = LIMITS[what]
    done = cli.start(*(word.replace("SOURCE", source) for word in words), before=limit).wait()
    _no_bug(done)
    assert done.code == 1, done
    assert "too many open files" in done.err.lower() or "too large" in done.err.lower(), done.err
    assert not (cli.folder / "new.db").exists()
    assert len(list(snapshots.glob("backup_summary_*"))) == 1


def test_a_drill_without_space_names_the_snapshot_that_was_made(source: str, cli: Cli) -> None:
    """Nor is anything pruned."""
    done = cli.start(
        *("backup", "--tracking-uri", "sqlite:///source.db", "--drill", "--keep-last", "1", "--json"),
        before=_no_scratch,
    ).wait()
    (timestamp,) = [path.name[15:30] for path in (cli.folder / "backups").glob("backup_summary_*")]
    assert done.code == 3, done
    (issue,) = done.document["errors"]
    assert issue["code"] == "not_tried"
    assert timestamp in issue["message"]
    assert f"mlmeta verify --drill {timestamp}" in issue["hint"]


def _no_scratch() -> None:
    """(A full TMPDIR takes a file system of one's own, and so root.)"""
    import mlmeta.commands.verify as module

    def full() -> None:
        raise OSError(28, "No space left on device", "/tmp")

    module.scratch_folder = full  # type: ignore[assignment]


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": None},
        {"HOME": "/nowhere/at/all"},
        {"HOME": "/proc"},
        {"TMPDIR": "/nowhere"},
        {"TMPDIR": "/proc"},
        {"XDG_CACHE_HOME": "/proc/cache"},
    ],
    ids=str,
)
def test_no_home_no_cache_no_tmpdir(source: str, cli: Cli, environment: dict[str, str | None]) -> None:
    cli("backup", "--tracking-uri", source, env=environment).ok()
    cli("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db", env=environment).ok()


def test_no_working_directory(snapshots: Path, source: str, cli: Cli) -> None:
    (cli.folder / "gone").mkdir()
    words = f"backup --tracking-uri {source} --storage {snapshots}"
    for command, code in ((f"list --storage {snapshots}", 0), ("list", 5), (words, 0)):
        done = _shell(cli.folder, f"mkdir -p gone; cd gone; rmdir ../gone; mlmeta {command} --no-progress")
        assert done.code == code, done
        _no_bug(done)


LONG = "x" * 300
ODD = {
    "a long name": ("backup", "--tracking-uri", "SOURCE", "--storage", LONG),
    "a long source": ("backup", "--tracking-uri", f"sqlite:///{LONG}"),
    "an unknown user": ("list", "--storage", "~nobodyatall/x"),
    "a folder as database": ("backup", "--tracking-uri", "sqlite:///backups"),
    "a device as database": ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:////dev/full"),
    "below a file": ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///source.db/new.db"),
    "a loop": ("list", "--storage", "loop"),
    "a device": ("list", "--storage", "/dev/null"),
    "below /proc": ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:////proc/new.db"),
    "a year too far": ("show", "0001-01-01T00:00:00+14:00"),
    "a month of 99 days": ("show", "99999999_999999"),
    "for ever": ("prune", "--keep-within", "99999999999d", "--dry-run"),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_words(snapshots: Path, source: str, cli: Cli, what: str) -> None:
    (cli.folder / "loop").symlink_to("loop")
    progress = () if ODD[what][0] in {"list", "show", "prune"} else ("--no-progress",)
    done = cli(*(word.replace("SOURCE", source) for word in ODD[what]), *progress)
    _no_bug(done)
    assert done.code in {1, 2, 5}
    first, second, *_ = done.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  ")


def test_a_folder_whose_name_is_not_utf_8(source: str, cli: Cli) -> None:
    """A storage may have one; JSON says it with escapes. A snapshot can't tell of such a store or label."""
    done = _shell(cli.folder, f"mlmeta backup --tracking-uri {source} --storage $'b\\xff' --json")
    assert done.code == 0, done
    assert done.data["storages"] == ["b\\udcff/"]
    assert len(_shell(cli.folder, "mlmeta list --storage $'b\\xff' --json").data["snapshots"]) == 1
    for option in ("--label $'\\xff'", "--tracking-uri $'sqlite:///\\xff.db'"):
        done = _shell(cli.folder, f"mlmeta backup --tracking-uri {source} {option}")
        assert done.code == 2, done
        assert f"error: {option.split()[0]} is not UTF-8: " in done.err
        _no_bug(done)


@pytest.mark.parametrize(("name", "value"), [("MLFLOW_LOGGING_LEVEL", "x"), ("MLFLOW_CONFIGURE_LOGGING", "x")])
def test_a_variable_that_mlflow_does_not_load_with(cli: Cli, name: str, value: str) -> None:
    done = _shell(cli.folder, "mlmeta backup --tracking-uri http://127.0.0.1:9", **{name: value})
    assert done.code == 2, done
    assert "error: MLflow can't be loaded: " in done.err
    assert "MLFLOW_…" in done.err
    _no_bug(done)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FULL = {
    "target": (("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///small/new.db"), 1, "small/"),
    "TMPDIR of a drill": (("verify", "--drill"), 1, "small/"),
    "TMPDIR of a restore": (("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db"), 0, ""),
    "TMPDIR of a backup": (("backup", "--tracking-uri", "sqlite:///source.db"), 1, "small: 0 MiB are free"),
    "TMPDIR of browse": (("browse", "--no-browser"), 1, "small/"),
    "storage": (("copy", "latest", "--from", "backups", "--to", "small/to"), 0, ""),
    "cache": (("list",), 0, ""),
}


@pytest.mark.parametrize("what", FULL)
def test_a_full_file_system(snapshots: Path, source: str, small: Path, cli: Cli, what: str) -> None:
    """What has no room is named; what needs none goes on; nothing is left."""
    words, code, said = FULL[what]
    variable = {"cache": "XDG_CACHE_HOME"}.get(what, "TMPDIR" if what.startswith("TMPDIR") else "UNUSED")
    done = cli(*words, env={variable: str(small)})
    assert done.code == code, done
    assert said in done.err
    _no_bug(done)
    if code:
        assert list(small.iterdir()) == []
        assert not (cli.folder / "new.db").exists()


def test_a_storage_of_many_levels(source: str, cli: Cli) -> None:
    """Deeper than Python calls itself, in a path that the system still takes; and one that it does not."""
    try:
        cli("backup", "--tracking-uri", source, "--storage", "x/" * 1500, "--no-progress").ok()
        _no_bug(cli("backup", "--tracking-uri", source, "--storage", "x/" * 3000, "--no-progress").ended(1))
    finally:
        subprocess.run(["rm", "-rf", cli.folder / "x"], check=True)  # pytest's own clean-up calls itself
