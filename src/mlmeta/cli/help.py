"""The help of a command: what it does, examples, and its options, in the width of the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from mlmeta.cli.text import Block, Styled, Terms, Verbatim

_WIDEST = 100
_VARIABLES = (
    "Each option has an environment variable, MLMETA_ and its name: MLMETA_STORAGE. "
    "docs/reference/cli.md names all of them."
)


def rendered(context: Any) -> str:
    """The help of a command or of all, with colours on a terminal.

    Args:
        context: Click's, of the command.
    """
    from mlmeta.cli.screen import page

    width = min(shutil.get_terminal_size().columns, _WIDEST)
    return page(blocks(context), width, colours=sys.stdout is not None and sys.stdout.isatty())


def blocks(context: Any) -> Iterator[Block]:
    """What the help consists of."""
    command = context.command
    commands = getattr(command, "commands", {})
    first, *others = _paragraphs(command.help or "")
    yield first
    yield ""
    yield Verbatim(f"Usage: {context.command_path} {_usage(command.get_params(context), has_commands=bool(commands))}")
    for paragraph in others:
        yield ""
        yield paragraph
    if examples := EXAMPLES.get(command.name or ""):
        yield ""
        yield Styled("Examples", "bold")
        yield from (Verbatim(f"  {example}", "green") for example in examples)
    if commands:
        yield Terms("Commands", {name: _paragraphs(one.help or "")[0] for name, one in commands.items()})
    yield from _parameters(command.get_params(context))
    yield ""
    yield Styled("mlmeta COMMAND -h shows how a command is used." if commands else _VARIABLES, "dim")


def _usage(parameters: Iterable[Any], *, has_commands: bool) -> str:
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    return " ".join(["[OPTIONS]", *map(_argument, arguments), *(["COMMAND ..."] if has_commands else [])])


def _argument(parameter: Any) -> str:
    """Such as ``FROM``, ``[SELECTOR]`` or ``[SELECTOR]...``."""
    name = _metavar(parameter).rstrip(".")
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    is_open = parameter.nargs == -1 and not name.endswith("...")
    return (name if parameter.required else f"[{name}]") + ("..." if is_open else "")


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n")]


def _parameters(parameters: Iterable[Any]) -> Iterator[Block]:
    """Arguments, then options by their panels, in the order in which these come up."""
    panels: dict[str, dict[str, str]] = {}
    for parameter in sorted(parameters, key=lambda one: one.param_type_name == "option"):
        if not getattr(parameter, "hidden", False):
            is_option = parameter.param_type_name == "option"
            panel = getattr(parameter, "rich_help_panel", None) or ("Options" if is_option else "Arguments")
            name = _option(parameter) if is_option else _argument(parameter)
            panels.setdefault(panel, {})[name] = _told(parameter)
    yield from (Terms(title, terms) for title, terms in panels.items())


def _option(parameter: Any) -> str:
    """Such as ``-q, --quiet`` or ``--verify/--no-verify``; the short name stands in a column of its own."""
    long = [name for name in parameter.opts if name.startswith("--")]
    short = [name for name in parameter.opts if not name.startswith("--")]
    names = "/".join([*long, *parameter.secondary_opts])
    metavar = "" if parameter.is_flag else f" {_metavar(parameter)}"
    return f"{f'{short[0]}, ' if short else '    '}{names}{metavar}"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or str(parameter.name).upper())


def _told(parameter: Any) -> str:
    """The text of a parameter, with its default, and variables that are not named after it."""
    more = ["required"] if parameter.required else []
    if default := _default(parameter):
        more.append(f"default: {default}")
    more += _unusual(parameter)
    return f"{parameter.help or ''}{' (' + '; '.join(more) + ')' if more else ''}"


def _default(parameter: Any) -> str:
    default = parameter.default
    if isinstance(default, bool) and parameter.secondary_opts:
        return str((parameter.opts if default else parameter.secondary_opts)[0])
    if callable(default) or isinstance(default, bool) or default in (None, "", 0, [], ()):
        return ""
    value = default[0] if isinstance(default, list | tuple) else default
    return str(getattr(value, "value", value))


def _unusual(parameter: Any) -> list[str]:
    """The environment variables of a parameter but the one that has its name."""
    found = parameter.envvar or ()
    usual = f"MLMETA_{str(parameter.name).upper()}"
    return [one for one in ([found] if isinstance(found, str) else found) if one.rstrip("_") != usual.rstrip("_")]


EXAMPLES: dict[str, tuple[str, ...]] = {
    "mlmeta": (
        "mlmeta backup --tracking-uri http://localhost:5000",
        "mlmeta list",
        "mlmeta restore latest --tracking-uri sqlite:///mlflow.db",
    ),
    "backup": (
        "mlmeta backup --tracking-uri http://localhost:5000",
        "mlmeta backup --storage gs://bucket/mlflow --keep-daily 7 --keep-monthly 12",
    ),
    "list": ("mlmeta list", "mlmeta list --storage gs://bucket/mlflow --source prod --limit 10"),
    "show": (
        "mlmeta show",
        "mlmeta show --experiment churn --sort 'metrics.loss ASC'",
        "mlmeta show --run 4f2a91c3 --metric loss",
        "mlmeta show 20260815_232928 --models",
    ),
    "diff": ("mlmeta diff latest~1 latest", "mlmeta diff latest --tracking-uri http://localhost:5000"),
    "restore": (
        "mlmeta restore latest --tracking-uri sqlite:///mlflow.db --dry-run",
        "mlmeta restore 20260815_232928 --tracking-uri sqlite:///mlflow.db",
    ),
    "verify": ("mlmeta verify", "mlmeta verify --all --drill"),
    "prune": ("mlmeta prune --keep-daily 7 --keep-monthly 12 --dry-run",),
    "forget": ("mlmeta forget 20260815_232928",),
    "copy": ("mlmeta copy --missing --from backups --to gs://bucket/mlflow",),
    "migrate": ("mlmeta migrate sqlite:///mlflow.db postgresql://user@host/mlflow --dry-run",),
    "rewrite": ("mlmeta rewrite --artifact-prefix gs://old=gs://new --dry-run",),
    "doctor": ("mlmeta doctor --storage gs://bucket/mlflow --max-age 26h",),
    "browse": ("mlmeta browse latest",),
    "report": ("mlmeta report latest -o report.html", "mlmeta report --experiment churn --open"),
    "guard": ("mlmeta guard -- mlflow server --backend-store-uri sqlite:///mlflow.db",),
    "demo": ("mlmeta demo",),
    "config": ("mlmeta config", "mlmeta --profile prod config backup"),
}
"""How each command is called: the first thing that its help shows."""
