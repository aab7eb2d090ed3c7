"""What a person reads who asks for help, or got a word wrong."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from mlmeta.cli.app import COMMANDS, app
from mlmeta.cli.help import EXAMPLES, rendered
from tests.support.cli import Cli

GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_that_fits_and_examples_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = GROUP.commands[name]
    root = GROUP.make_context("mlmeta", [], resilient_parsing=True)
    lines = rendered(command.make_context(name, [], parent=root, resilient_parsing=True)).splitlines()
    examples = [line[2:] for line in lines if line.startswith("  mlmeta ")]
    assert [line for line in lines if line.startswith(f"Usage: mlmeta {name} [OPTIONS]")]
    assert tuple(examples) == EXAMPLES[name]
    assert [line for line in lines if cell_len(line) > 80] == []
    for example in examples:
        words = shlex.split(example)
        assert words[0] == "mlmeta"
        command.make_context(name, words[words.index(name) + 1 :], parent=root, resilient_parsing=True)


def test_help_names_what_an_option_takes(cli: Cli) -> None:
    done = cli("restore", "--help", env={"COLUMNS": "80"}).ok()
    said = " ".join(done.out.split())
    for text in (
        "Usage: mlmeta restore [OPTIONS] [SELECTOR] It adds",
        "--tracking-uri URI The MLflow server or store. (MLFLOW_TRACKING_URI)",
        "--storage LOCATION A folder, or gs://bucket/prefix. (default: backups)",
        "-y, --yes Don't ask for confirmation.",
        "--ids keep|new Keep ids",
        "--verify/--no-verify Read the target back afterwards, and compare. (default: --verify)",
    ):
        assert text in said
    assert "\x1b" not in done.out
    bare = cli()
    assert bare.code == 2
    assert "mlmeta backup --tracking-uri http://localhost:5000" in bare.err


@pytest.mark.parametrize(
    ("arguments", "env", "message", "hint"),
    [
        (("restore", "--only", "foo"), {}, "invalid value for '--only': 'foo' is not one of", "mlmeta restore -h"),
        (("list", "--limit", "x"), {}, "invalid value for '--limit': ", "mlmeta list -h"),
        (("show",), {"MLMETA_LIMIT": "x"}, "invalid value for '--limit' (env var: 'MLMETA_LIMIT'): ", "mlmeta show -h"),
        (("lits",), {}, "no such command 'lits'", "mlmeta -h"),
        (("verify", "--nope"), {}, "no such option: --nope", "mlmeta verify -h"),
    ],
)
def test_a_wrong_word_is_an_error_like_any_other(
    cli: Cli, arguments: tuple[str, ...], env: dict[str, str | None], message: str, hint: str
) -> None:
    done = cli(*arguments, env=env).ended(2)
    first, second = done.err.splitlines()
    assert first.startswith(f"error: {message}")
    assert second == f"  `{hint}` shows how it is used"
    assert "Value error" not in done.err
    assert "╭" not in done.err
