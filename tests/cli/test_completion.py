"""What the Tab key offers, asked as the shells ask, and in the real bash, zsh and fish, if they are there."""

from __future__ import annotations

import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mlmeta.cli import completion
from mlmeta.storage import LocalStorage
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.gcs import running_emulator

NAMES = ("churn", "two words", "größe 東京", "team:a=b", "team:b@c", "(x) [y] *?!;|&<>~#")
HOSTILE = (
    "$(touch PWNED)",
    "\\$(touch PWNED)",
    "`touch PWNED`",
    "it's",
    '"; touch PWNED; "',
    "a\nb",
    "\x1b[2J",
    "--yes",
)
OLDER, NEWER = "20250815_232928", "20251224_180000"
SHELLS = ("bash", "zsh", "fish")
TRIES = 5
"""A machine that is busy may take longer than a completion waits."""


@pytest.fixture(autouse=True)
def configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration file counts, if there is one."""
    monkeypatch.delenv("MLMETA_NO_CONFIG")


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """A storage with two snapshots and the leftovers of a third; the newer one has all the names."""
    folder = tmp_path / "backups"
    for timestamp, names in ((OLDER, ("old",)), (NEWER, (*NAMES, *HOSTILE))):
        moment = datetime.strptime(timestamp, "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc)
        records = [made.experiment(experiment_id=str(number), name=name) for number, name in enumerate(names, 1)]
        made.commit(LocalStorage(folder), records, at=moment)
    (folder / "experiments_20260101_000000.json").write_text("[\n]\n")
    return folder


def asked(cli: Cli, shell: str, *words: str, env: dict[str, str | None] | None = None) -> list[str]:
    """What a shell is told about the last of the words of a command line."""
    line = " ".join(word.replace(" ", "\\ ") for word in words)
    ways = {
        "bash": {"COMP_WORDS": line.replace(" ", "\n").replace("\\\n", "\\ "), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    done = cli(env={"_MLMETA_COMPLETE": f"complete_{shell}", **ways[shell], **(env or {})})
    assert (done.code, done.err) == (0, "")
    if shell == "zsh":
        inner = done.out.strip().removeprefix("_arguments '*: :((").removesuffix("))'")
        lines = [] if inner == "_files" else inner.splitlines()
        return [line.partition('":"')[0].strip('"').replace("\\\\:", ":") for line in lines]
    return [line.partition("\t")[0] for line in done.out.splitlines() if line]


def test_models_are_offered(cli: Cli) -> None:
    made.commit(LocalStorage(cli.folder / "backups"), [made.experiment(), made.model(name="churn-model")])
    assert asked(cli, "fish", "mlmeta", "restore", "--model", "ch") == ["churn-model"]


def patiently(cli: Cli, shell: str, *words: str, env: dict[str, str | None] | None = None) -> list[str]:
    """The same of what has to be looked up."""
    found: list[str] = []
    for _ in range(TRIES):
        if found := asked(cli, shell, *words, env=env):
            break
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_the_three_shells(cli: Cli, backups: Path, shell: str) -> None:
    assert asked(cli, shell, "mlmeta", "b") == ["backup", "browse"]
    assert asked(cli, shell, "mlmeta", "restore", "--time") == ["--timestamp"]
    assert asked(cli, shell, "mlmeta", "restore", "--ids", "") == ["keep", "new"]
    for words in (("show",), ("restore", "--timestamp"), ("diff",), ("diff", "latest"), ("verify", OLDER), ("browse",)):
        assert patiently(cli, shell, "mlmeta", *words, "") == ["latest", NEWER, OLDER]
    assert patiently(cli, shell, "mlmeta", "copy", "--from", "backups", "2025081") == [OLDER]
    assert asked(cli, shell, "mlmeta", "show", "1999") == []
    plain = ["churn", "team:a=b", "team:b@c"]
    assert set(plain) <= set(patiently(cli, shell, "mlmeta", "backup", "--experiment", ""))
    assert patiently(cli, shell, "mlmeta", "show", "--experiment", "ch") == ["churn"]
    assert patiently(cli, shell, "mlmeta", "show", OLDER, "--experiment", "") == ["old"]
    assert patiently(cli, shell, "mlmeta", "show", "--source", "htt") == ["http://a"]


def test_the_first_word_of_config_is_a_command(cli: Cli) -> None:
    assert asked(cli, "fish", "mlmeta", "config", "re") == ["restore", "rewrite", "report"]
    assert asked(cli, "fish", "mlmeta", "config", "restore", "re") == []


def test_the_storage_is_the_one_that_the_command_would_use(cli: Cli, backups: Path) -> None:
    """From the command line so far, the environment, a profile, the configuration file."""
    shutil.move(backups, cli.folder / "with blank")
    assert asked(cli, "fish", "mlmeta", "show", "") == []
    assert patiently(cli, "fish", "mlmeta", "show", "--storage", "with blank", "") == ["latest", NEWER, OLDER]
    several: dict[str, str | None] = {"MLMETA_STORAGE": "with blank\nsecond"}
    assert patiently(cli, "fish", "mlmeta", "backup", "--experiment", "c", env=several) == ["churn"]
    assert patiently(cli, "fish", "mlmeta", "verify", "--source", "", env=several) == ["http://a"]
    (cli.folder / "mlmeta.toml").write_text('[profile.dev]\nstorage = ["with blank"]\n[profile.prod]\njobs = 1')
    assert asked(cli, "fish", "mlmeta", "show", "") == []
    assert patiently(cli, "fish", "mlmeta", "--profile", "dev", "show", "") == ["latest", NEWER, OLDER]
    assert patiently(cli, "bash", "mlmeta", "show", "", env={"MLMETA_PROFILE": "dev"}) == ["latest", NEWER, OLDER]
    for shell in SHELLS:
        assert asked(cli, shell, "mlmeta", "--profile", "") == ["dev", "prod"]
    if os.geteuid() == 0:  # only root gives files away
        os.chown(cli.folder / "mlmeta.toml", 12345, 12345)
        assert asked(cli, "bash", "mlmeta", "--profile", "") == [], "nor are files of others asked"
        (cli.folder / "mlmeta.toml").unlink()
    (cli.folder / "mlmeta.toml").write_text('storge = "x"\n')
    for shell in SHELLS:
        assert asked(cli, shell, "mlmeta", "--profile", "") == [], "a mistake there is told when a command runs"
        assert asked(cli, shell, "mlmeta", "b") == ["backup", "browse"]


def test_of_many_snapshots_the_newest_are_offered(cli: Cli) -> None:
    (cli.folder / "backups").mkdir()
    for day in range(10, 30):
        for hour in range(24):
            (cli.folder / "backups" / f"backup_summary_202601{day}_{hour:02}0000.json").touch()
    found = patiently(cli, "fish", "mlmeta", "show", "")
    assert found[:2] == ["latest", "20260129_230000"]
    assert len(found) == 201
    assert patiently(cli, "fish", "mlmeta", "show", "20260110_2") == [f"20260110_2{hour}0000" for hour in (3, 2, 1, 0)]


def test_a_bucket(cli: Cli, backups: Path) -> None:
    with running_emulator() as emulator:
        bucket = emulator.new_bucket()
        emulator.put(bucket, {f"x/{path.name}": path.read_bytes() for path in backups.iterdir()})
        env: dict[str, str | None] = {"STORAGE_EMULATOR_HOST": emulator.uri}
        words = ("mlmeta", "show", "--storage", f"gs://{bucket}/x", "")
        assert patiently(cli, "fish", *words, env=env) == ["latest", NEWER, OLDER]
        pieces = ("mlmeta", "show", "--storage", "gs", ":", f"//{bucket}/x", "")
        assert patiently(cli, "bash", *pieces, env=env) == ["latest", NEWER, OLDER]


def test_a_bucket_that_does_not_answer_is_given_up(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env: dict[str, str | None] = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        before = time.monotonic()
        assert asked(cli, "fish", "mlmeta", "show", "--storage", "gs://bucket", "", env=env) == []
        assert asked(cli, "fish", "mlmeta", "show", "--storage", "gs://bucket", "--experiment", "", env=env) == []
        assert time.monotonic() - before < 30  # the client itself tries for minutes


def test_names_that_a_shell_would_obey_are_not_offered(
    cli: Cli, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What zsh is told is evaluated, twice: who may name an experiment would run commands at the next Tab."""
    monkeypatch.chdir(cli.folder)
    monkeypatch.setattr(completion, "QUICK", 60)
    assert completion._harmless([*NAMES, *HOSTILE, "", None, 5]) == list(NAMES)
    for shell in SHELLS:
        told = "\n".join(patiently(cli, shell, "mlmeta", "show", "--experiment", ""))
        assert "touch" not in told


@pytest.mark.parametrize("name", [f"experiments_{NEWER}.json", f"backup_summary_{NEWER}.json"])
@pytest.mark.parametrize("content", ["", "[" * 100_000, '{"a": 1}', "[null]", '[{"name": 5}]', "\xff"])
def test_a_damaged_snapshot_is_no_reason_to_complain(cli: Cli, backups: Path, name: str, content: str) -> None:
    """Nothing on stderr, and exit code 0."""
    (backups / name).write_bytes(content.encode("latin-1"))
    for option in ("--experiment", "--source"):
        asked(cli, "bash", "mlmeta", "show", option, "")


PIECES = {
    "mlmeta show ''": (["mlmeta", "show", ""], 2, ["mlmeta", "show", ""], ""),
    "no last word": (["mlmeta", "show"], 2, ["mlmeta", "show", ""], ""),
    "gs://b/x ''": (["mlmeta", "--s", "gs", ":", "//b/x", ""], 5, ["mlmeta", "--s", "gs://b/x", ""], ""),
    "gs://b": (["mlmeta", "--s", "gs", ":", "//b"], 4, ["mlmeta", "--s", "gs://b"], "gs:"),
    "gs:": (["mlmeta", "--s", "gs", ":"], 3, ["mlmeta", "--s", "gs:"], "gs:"),
    "--s=gs://b": (["mlmeta", "--s", "=", "gs", ":", "//b"], 5, ["mlmeta", "--s=gs://b"], "--s=gs:"),
    "a:b@c=d": (["mlmeta", "a", ":", "b", "@", "c", "=", "d"], 7, ["mlmeta", "a:b@c=d"], "a:b@c="),
    "in the middle": (["mlmeta", "sh", "--s", "x"], 1, ["mlmeta", "sh"], ""),
}


@pytest.mark.parametrize("what", PIECES)
def test_the_words_of_bash_are_put_together(what: str) -> None:
    words, current, whole, before = PIECES[what]
    assert completion._put_together(words, current) == (whole, before, False)


def test_words_for_bash_are_quoted(cli: Cli, backups: Path) -> None:
    ask = ("mlmeta", "show", "--experiment")
    assert patiently(cli, "bash", *ask, "tw") == ["two\\ words"]
    assert patiently(cli, "bash", *ask, "two w") == ["two\\ words"]
    assert patiently(cli, "bash", *ask, "(") == ["\\(x\\)\\ \\[y\\]\\ \\*\\?\\!\\;\\|\\&\\<\\>~\\#"]
    assert patiently(cli, "bash", *ask, "'tw") == ["two words"], "within a quote, as it is"
    assert patiently(cli, "bash", *ask, "team", ":", "a") == ["a=b"], "bash replaces what follows the colon"
    assert patiently(cli, "bash", *ask, "team", ":") == ["a=b", "b@c"]


def test_tags_and_gaps_of_the_newest_snapshots(cli: Cli) -> None:
    gap = {"kind": "webhooks", "id": "*", "reason": "no API"}
    tags = {"release": "1.4", "$(touch PWNED)": ""}
    made.commit(LocalStorage(cli.folder / "backups"), tags=tags, skipped=(gap,))
    assert patiently(cli, "zsh", "mlmeta", "list", "--tag", "") == ["release", "release=1.4"]
    assert patiently(cli, "bash", "mlmeta", "prune", "--keep-tag", "release", "=", "1") == ["1.4"]
    assert patiently(cli, "bash", "mlmeta", "backup", "--accept", "w") == ["webhooks"]


@pytest.fixture
def installed(cli: Cli) -> dict[str, str]:
    """An environment in which `mlmeta` is a command."""
    program = cli.folder / "bin" / "mlmeta"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mlmeta "$@"\n')
    program.chmod(0o755)
    home = {"HOME": str(cli.folder), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    return {**os.environ, **home, "PATH": f"{program.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def _in_shell(shell: str, script: str, cli: Cli, env: dict[str, str]) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    for _ in range(TRIES):
        done = subprocess.run(
            [shell, "-c", script], cwd=cli.folder, env=env, capture_output=True, text=True, check=True, timeout=120
        )
        assert done.stderr == ""
        if found := done.stdout.splitlines():
            return found
    return []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mlmeta sh", ["show"]),
        ("mlmeta show --storage file : ///FOLDER/backups ''", ["latest", NEWER, OLDER]),
        ("mlmeta show --experiment team : a", ["a=b"]),
        ("mlmeta show --experiment tw", [r"two\ words"]),
    ],
)
def test_the_real_bash(cli: Cli, backups: Path, installed: dict[str, str], words: str, found: list[str]) -> None:
    """With the script that `mlmeta --install-completion` writes."""
    words = words.replace("/FOLDER", str(cli.folder))
    script = (
        "mlmeta --install-completion bash >/dev/null; source ~/.bashrc; complete -p mlmeta >/dev/null || exit 1; "
        f"COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); _mlmeta_completion mlmeta; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert _in_shell("bash", script, cli, installed) == found


def test_the_real_zsh(cli: Cli, backups: Path, installed: dict[str, str]) -> None:
    """On a terminal, as it completes nowhere else; the first Tab loads what `mlmeta --install-completion` wrote."""
    if (zsh := shutil.which("zsh")) is None:
        pytest.skip("there is no zsh")
    subprocess.run(["mlmeta", "--install-completion", "zsh"], env=installed, check=True, capture_output=True)
    ours, theirs = pty.openpty()
    env = {**installed, "ZDOTDIR": str(cli.folder), "TERM": "dumb"}

    def typed(line: str, shown: str) -> str:
        """Type a line, over and over where nothing was found in time, and wait for what it makes zsh show."""
        for _ in range(TRIES):
            os.write(ours, f"\x15{line}".encode())
            seen = ""
            while select.select([ours], [], [], 4)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
                if shown in seen:
                    return seen
        raise AssertionError(f"{shown!r} is not there after {line!r}: {seen!r}")

    with subprocess.Popen([zsh, "-i"], cwd=cli.folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        try:
            typed("PS1='ready'\n", "\rready")
            typed("mlmeta sh\t", "mlmeta show ")
            typed("mlmeta show --experiment tw\t", "two\\ words ")
            assert "PWNED" not in typed("mlmeta show --experiment \t", "two words")
            typed("mlmeta b\t", "MLflow\N{RIGHT SINGLE QUOTATION MARK}s own UI")
        finally:
            process.kill()
    os.close(ours)
    os.close(theirs)
    assert not (cli.folder / "PWNED").exists()


def test_the_real_fish(cli: Cli, backups: Path, installed: dict[str, str]) -> None:
    script = "mlmeta --show-completion fish | source; complete -C 'mlmeta show --experiment t'"
    assert _in_shell("fish", script, cli, installed) == ["team:a=b", "team:b@c", "two words"]
