"""Who may name a run must not write to the operator's screen: what a terminal would obey is shown as an escape."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlmeta.cli.text import all_visible
from mlmeta.commands.result import Issue
from mlmeta.schema import LatestMetric, Skipped
from mlmeta.visible import visible
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.terminal import on_terminal

HOSTILE = {
    "escape": ("\x1b[2J\x1b[31m", r"\x1b[2J\x1b[31m"),
    "clipboard": ("\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),
    "hyperlink": ("\x1b]8;;http://x\x1b\\", "\\x1b]8;;http://x\\x1b\\"),
    "C1": ("\x9b31m\x9d0;title\x9c", r"\x9b31m\x9d0;title\x9c"),
    "bidi": ("\u202egpj.exe\u202c\u2066\u2069", r"\u202egpj.exe\u202c\u2066\u2069"),
    "carriage return": ("good\rbad", r"good\rbad"),
    "backspace": ("ab\x08\x7f", r"ab\x08\x7f"),
    "a row of its own": ("run\n20200101_000000  1 s", r"run\n20200101_000000  1 s"),
    "separators": ("a\u2028b\u2029c\x85d\x0b\x0c", r"a\u2028b\u2029c\x85d\x0b\x0c"),
    "tags": ("a\U000e0041b\ufeff\u200b", r"a\U000e0041b\ufeff\u200b"),
    "markup": ("[bold red]x[/] [link=http://x]y[/link] :bomb:", "[bold red]x[/] [link=http://x]y[/link] :bomb:"),
}
CASES = pytest.mark.parametrize(("hostile", "shown"), HOSTILE.values(), ids=HOSTILE)


@CASES
def test_escapes(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


@pytest.mark.parametrize("text", ["", "plain", "Größe 東京 שלום मराठी", "👩‍🔬", "می‌خواهم", "a\\b", "x\u00a0y"])
def test_what_moves_nothing_stays(text: str) -> None:
    assert visible(text) == text


def test_a_lone_surrogate_is_shown() -> None:
    assert visible("a\udce9b") == r"a\udce9b"


def test_every_text_of_a_result() -> None:
    issue = Issue(code="a", message="\x1b", hint="\r")
    assert all_visible(issue) == Issue(code="a", message=r"\x1b", hint=r"\r")
    assert all_visible({"\x1b": ("\n", [1, {"\r": None}])}) == {r"\x1b": (r"\n", [1, {r"\r": None}])}
    harmless = Issue(code="a", message="b")
    assert all_visible(harmless) is harmless


def _snapshot(folder: Path, hostile: str) -> None:
    """Everything that can have a name or a value has this one."""
    fields = ("run_name", "user_id", "source_name", "artifact_uri")
    run = made.run(**dict.fromkeys(fields, hostile), params={hostile: hostile}, tags={hostile: hostile})
    version = made.version(source=hostile, description=hostile, current_stage=hostile, run_link=hostile)
    made.write(
        folder,
        [
            made.experiment(name=hostile, tags={hostile: hostile}),
            run.model_copy(update={"metrics": {hostile: LatestMetric(value=1, step=1, timestamp=1)}}),
            made.model(version, name=hostile, description=hostile, aliases={hostile: 1}),
        ],
        mlflow_uri=HOSTILE_NAME,  # one source, so that `latest` says which
        warnings=(hostile,),
        skipped=(Skipped(kind=hostile, id=hostile, reason=hostile),),
    )


OBEYED = set("\x1b\x9b\x9d\x9c\x07\x08\x7f\x0b\x0c\r\u202e\u202c\u2066\u2069\u2028\u2029\x85\ufeff\u200b\U000e0041")
HOSTILE_NAME = "".join(text for text, _ in HOSTILE.values())
COMMANDS = (
    ("list",),
    ("show",),
    ("show", "--models"),
    ("show", "--experiment", HOSTILE_NAME),
    ("show", "--experiment", HOSTILE_NAME, "--metric", HOSTILE_NAME),
    ("show", "--experiment", HOSTILE_NAME, "--column", f"params.{HOSTILE_NAME}"),
    ("show", "--run", "a" * 32, "--verbose"),
    ("show", "--run", "a" * 32, "--metric", HOSTILE_NAME),
    ("verify",),
    ("diff", "latest~1", "latest"),
    ("prune", "--keep-last", "1", "--dry-run"),
    ("forget", "latest", "--even-last", "--dry-run"),
    ("copy", "latest", "--to", "elsewhere"),
    ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///target.db", "--dry-run"),
    ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///target.db"),
    ("show", "--experiment", "\x1b]0;no such\x07"),
    ("backup", "--tracking-uri", "sqlite:///\x1b]0;no such\x07.db", "--verbose"),
)


@pytest.fixture
def snapshots(cli: Cli) -> Path:
    _snapshot(cli.folder / "backups", "plain")
    _snapshot(cli.folder / "backups", HOSTILE_NAME)
    return cli.folder / "backups"


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:40].encode("unicode_escape").decode())
def test_no_command_writes_it_to_a_pipe(cli: Cli, snapshots: Path, words: tuple[str, ...]) -> None:
    done = cli(*words, "--storage", "backups") if words[0] != "copy" else cli(*words, "--from", "backups")
    said = done.out + done.err
    assert set(said) & OBEYED == set()
    assert "Traceback" not in said or "--verbose" in words
    assert "bug in mlmeta" not in said


def test_the_terminal_shows_it(cli: Cli, snapshots: Path) -> None:
    """rich's own sequences set colours; none of the snapshot's arrives, and brackets are text."""
    _, seen = on_terminal(cli.folder, "show", "--run", "a" * 32, "--no-progress")
    own = re.sub(r"\x1b\[[0-9;]*m", "", seen).replace("\r\n", "\n")
    assert set(own) & OBEYED == set()
    assert "[bold red]x[/] [link=http://x]y[/link] :bomb:" in own.replace("\n", "")


def test_json_keeps_it(cli: Cli, snapshots: Path) -> None:
    assert cli("show", "--run", "a" * 32, "--json").ok().data["run"]["run_name"] == HOSTILE_NAME


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (("list", HOSTILE_NAME), ""),
        (("list", f"--{HOSTILE_NAME}"), ""),
        ((HOSTILE_NAME,), ""),
        ((f"--{HOSTILE_NAME}",), ""),
        (("backup",), "MLMETA_JOBS"),
        (("backup",), "MLMETA_JSON"),
        (("backup",), "MLMETA_KEEP_LAST"),
        (("restore", "--ids", HOSTILE_NAME), ""),
    ],
)
def test_errors_of_usage(cli: Cli, words: tuple[str, ...], variable: str) -> None:
    """Words of the call and of the environment, which typer repeats."""
    done = cli(*words, env={variable: HOSTILE_NAME} if variable else None)
    assert done.code == 2, done
    assert not OBEYED & set(done.err)
