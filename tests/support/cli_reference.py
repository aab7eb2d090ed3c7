"""Writes docs/reference/cli.md from the commands themselves: `make docs`. A test compares the file with this."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from mlmeta.cli.app import app
from mlmeta.cli.help import EXAMPLES
from mlmeta.errors import ExitCode

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
_WIDTH = 100
_HEAD = "| option | environment | meaning |\n|---|---|---|"
_STREAMS = (
    "Results go to stdout, progress and messages to stderr. Every option can be given as an environment variable, "
    "which holds one value a line where the option is repeatable, or in a configuration file."
)
_BEFORE = "These go before the command: `mlmeta --profile prod backup`. See [configuration](configuration.md)."
_SELECTOR = (
    "A snapshot is selected by its timestamp (`20250815_232928`), the beginning of one, `latest`, `latest~1`, or an "
    "ISO 8601 time (the newest snapshot at or before it)."
)
_JSON = (
    "One document on stdout, and nothing else there: `mlmeta_version`, `schema` (1), `command`, `status` (`success`, "
    "`partial` for exit code 3, `error`), `exit_code`, `data` (the command's result, null after an error), `warnings` "
    "(sentences), `errors` (each with `code`, `message`, `hint`). Keys are only ever added. "
    "That `diff` found something is no error: `status` is `success`, and `exit_code` 4."
)
_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "wrong usage, or confirmation was needed and there was no terminal",
    ExitCode.INCOMPLETE: "done but incomplete: something could not be read or written, and is named",
    ExitCode.DIFFERENT: "verification or comparison found a difference; `doctor`: the newest snapshot is too old",
    ExitCode.NOT_FOUND: "no such snapshot or storage",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); cleaned up",
    ExitCode.HUNG_UP: "the terminal was closed (SIGHUP); cleaned up",
    ExitCode.TERMINATED: "terminated (SIGTERM); cleaned up",
}


def commands() -> dict[str, Any]:
    """The commands, by name."""
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def everywhere() -> list[Any]:
    """The options that go before every command."""
    return list(typer.main.get_command(app).params)


def page() -> str:
    """The whole page."""
    parts = [
        "# Commands and options",
        "<!-- Made by `make docs`: don't edit. -->",
        _wrapped(_STREAMS),
        _wrapped(_SELECTOR),
        _everywhere(),
        *(_command(name, command) for name, command in commands().items()),
        _exit_codes(),
        f"## `--json`\n\n{_wrapped(_JSON)}",
    ]
    return "\n\n".join(parts) + "\n"


def _everywhere() -> str:
    rows = "\n".join(_rows(typer.main.get_command(app)))
    return f"## Before every command\n\n{_wrapped(_BEFORE)}\n\n{_HEAD}\n{rows}"


def _command(name: str, command: Any) -> str:
    text = " ".join((command.help or "").split("\n"))
    rows = "\n".join(_rows(command))
    examples = "\n".join(f"$ {example}" for example in EXAMPLES[name])
    shown = f"```console\n{examples}\n```"
    return f"## mlmeta {name}\n\n{_wrapped(_clean(text))}\n\n{shown}\n\n{_HEAD}\n{rows}"


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        names = [*parameter.opts, *parameter.secondary_opts]
        is_option = parameter.opts[0].startswith("-")
        metavar = parameter.metavar or ""
        shown = ", ".join(f"`{n}`" for n in names) if is_option else f"`{metavar}`"
        value = f" `{metavar}`" if is_option and metavar else ""
        yield f"| {shown}{value} | {_variables(parameter)} | {_clean(parameter.help or '')}{_default(parameter)} |"


def _variables(parameter: Any) -> str:
    found = parameter.envvar or ()
    return ", ".join(f"`{v}`" for v in ([found] if isinstance(found, str) else found))


def _default(parameter: Any) -> str:
    default = parameter.default
    if callable(default) or default in (None, "", False, (), [], 0) or isinstance(default, bool):
        return ""
    value = default[0] if isinstance(default, (list, tuple)) else getattr(default, "value", default)
    return f" Default: `{value}`."


def _clean(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _exit_codes() -> str:
    rows = "\n".join(f"| {int(code)} | {_MEANINGS[code]} |" for code in ExitCode)
    return f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(page())
