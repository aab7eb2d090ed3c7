"""`mlmeta config`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlmeta.cli import completion, options
from mlmeta.cli.group import wants_json
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.settings import META, Settings, origin, plain
from mlmeta.cli.text import Styled, Table
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlmeta.cli.text import Block, Piece
    from mlmeta.commands.config import ConfigResult, Setting
    from mlmeta.progress import Progress

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[COMMAND [OPTIONS]...]",
        help="A command, with options if you like: what it would use.",
        autocompletion=completion.commands,
    ),
]

_WHOLE = 40
"""Up to so many characters a value is never folded: an address is there to be copied."""

_FEW = 3
"""So many commands are named."""


def command(
    context: typer.Context,
    words: Words = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Show where each option's value comes from: option, environment, profile, configuration file, default.

    Without a command: what is set, for all of them. With one: all of its options, as that call would use them.
    """
    root: Any = context.find_root()
    settings: Settings = root.meta[META]
    chosen = list(words or ())

    def call(_: Progress) -> ConfigResult:
        from mlmeta.commands.config import ConfigResult

        settings.check()
        found = _of_one(root, chosen) if chosen else _of_all(root)
        return ConfigResult(
            file=str(settings.file.path) if settings.file else "",
            profile=settings.profile,
            profiles=settings.profiles,
            command=chosen[0] if chosen else "",
            settings=tuple(found),
        )

    json = json or wants_json()  # wherever it stands: it is this document that is meant
    execute(Output("config", json, quiet, verbose, not no_progress, wide), call, view)


def _of_one(root: Any, words: list[str]) -> list[Setting]:
    return list(settings_of(called(root, words[0], words[1:])))


def _of_all(root: Any) -> list[Setting]:
    """What is set, each once, with the commands that it is for."""
    from mlmeta.cli.config_keys import several

    found: dict[tuple[Any, ...], Setting] = {}
    for name in root.command.commands:
        for setting in settings_of(called(root, name, [])):
            if setting.source != "default":
                key = (setting.option, repr(several(setting.value)), setting.source, setting.variable, setting.section)
                before = found.get(key, setting.model_copy(update={"commands": ()}))
                found[key] = before.model_copy(update={"commands": (*before.commands, name)})
    return list(found.values())


def called(root: Any, name: str, words: list[str]) -> typer.Context:
    """The context that a command would have, were it called with these words.

    Args:
        root: the context of mlmeta itself.
        name: of the command.
        words: after it.

    Raises:
        UsageError: there is no such command, or it does not take them.
    """
    found = root.command.commands.get(name)
    if found is None:
        from mlmeta.cli.config_keys import nearest

        known = list(root.command.commands)
        raise UsageError(f"no such command: {name}", hint=nearest(name, known) or f"there are: {', '.join(known)}")
    for parameter in found.params:
        parameter.required = False  # it is not going to run
    try:
        context: typer.Context = found.make_context(name, words, parent=root)
    except typer.Exit as done:  # --help, which is shown
        sys.exit(done.exit_code)
    except Exception as error:
        if tell := getattr(error, "format_message", None):  # click's own, or the click within typer
            raise UsageError(f"mlmeta {name}: {tell()}", hint=f"see `mlmeta {name} --help`") from error
        raise
    return context


def settings_of(context: typer.Context) -> Iterator[Setting]:
    """The value of each option of a command, and where it comes from.

    Args:
        context: of the command, with its words taken apart.
    """
    from mlmeta.commands.config import Setting

    for parameter in context.command.params:
        long = next((name for name in parameter.opts if name.startswith("--")), None)
        if long is None or long == "--help":
            continue
        where = origin(context, parameter)
        yield Setting(
            option=long.removeprefix("--"),
            commands=(context.info_name or "",),
            value=_told(parameter, plain(context.params.get(parameter.name or ""))),
            source=where.source,
            variable=where.name if where.source == "environment" else "",
            profile=where.name if where.source == "profile" else "",
            section=where.section,
        )


def _told(parameter: Any, value: Any) -> Any:
    """The value of a parameter, unless it is a secret."""
    from mlmeta.cli.config_keys import SECRETS
    from mlmeta.redaction import MASK

    return MASK if value and parameter.metavar in SECRETS else _shown(value)


def _shown(value: Any) -> Any:
    """A value as JSON has it, without credentials."""
    from mlmeta.redaction import without_secrets

    if isinstance(value, list):
        return [_shown(one) for one in value]
    return without_secrets(value) if isinstance(value, str) and "://" in value else value


def view(result: ConfigResult) -> list[Block]:
    """The file and the profile, and a row for each value."""
    head = heading(result.file, result.profile, result.profiles)
    if not result.settings:
        return [*head, "All options have their defaults: `mlmeta config COMMAND` shows them."]
    return [*head, "", table(result.settings, result.file)]


def heading(file: str, profile: str, profiles: tuple[str, ...] = ()) -> list[Block]:
    """Which file is used, and which profile of it."""
    first = f"Configuration file: {file}" if file else "No configuration file."
    second = f"Profile: {profile}" if profile else ""
    if not profile and profiles:
        second = f"No profile is chosen; there are: {', '.join(profiles)}"
    return [Styled(line, "bold") for line in (first, second) if line]


def table(settings: tuple[Setting, ...], file: str) -> Table:
    """A row for each value, and where it comes from."""
    short = max(len(_text(one.value)) for one in settings) <= _WHOLE
    whole = ("OPTION", "VALUE") if short else ("OPTION",)
    return Table(("OPTION", "VALUE", "FROM"), list(_rows(settings, PurePath(file).name)), whole=whole)


def _rows(settings: tuple[Setting, ...], file: str) -> Iterator[list[Piece]]:
    """A row for each value; with its commands where others have another one. The file is named above."""
    times = Counter(one.option for one in settings)
    for one in settings:
        style = "dim" if one.source == "default" else ""
        of_some = f", for {_first(one.commands)}" if times[one.option] > 1 else ""
        yield [one.option, Styled(_text(one.value), style), Styled(_origin(one, file) + of_some, style)]


def _first(commands: tuple[str, ...]) -> str:
    more = len(commands) - _FEW
    return ", ".join(commands[:_FEW]) + (f" and {more} more" if more > 0 else "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value in (None, "") else str(value)


def _origin(one: Setting, file: str) -> str:
    match one.source:
        case "environment":
            return f"environment {one.variable}"
        case "profile":
            return f"profile {one.profile}"
        case "file":
            return f"{file} {one.section}".strip()
    return one.source
