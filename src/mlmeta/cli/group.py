"""The group of all commands, as Click sees it: with a configuration file behind the options; errors told our way."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from mlmeta.cli.settings import META, Defaults, DefaultsOfCommands, Settings, plain
from mlmeta.errors import ConfigurationError, MlmetaError, UsageError
from mlmeta.visible import visible

_GLOBAL = {"--config", "--no-config", "--profile"}
_USAGE = 2
_JSON = "--json"
_PARSERS = re.compile(r", unable to parse string as an? \w+")
_VARIABLE = re.compile(r" \(env var: '[^']*'\)")


class Commands(TyperGroup):
    """The commands. What is wrong with a call's words is said without control characters that they may have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Click does; a version is told as JSON, too."""
        before = list(itertools.takewhile(lambda word: word not in self.commands, args))
        if {"--version", _JSON} <= {*before}:
            args = [word for word in before if word != _JSON]
        return super().parse_args(ctx, args)

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """As Click does, with what the configuration file says for each command."""
        with _usage_errors_told():
            context = super().make_context(*arguments, **more)
        settings = _settings(context)
        context.meta[META] = settings
        context.default_map = DefaultsOfCommands(settings, quietly=context.resilient_parsing)  # type: ignore[assignment]
        return context

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """In the width of the terminal."""
        from mlmeta.cli.help import rendered

        formatter.write(rendered(ctx))

    def invoke(self, ctx: Any) -> Any:
        """As Click does."""
        with _usage_errors_told():
            return super().invoke(ctx)


def _settings(context: Any) -> Settings:
    """What was asked for; an option goes before a variable here, too.

    Raises:
        UsageError: a file, and none.
    """
    by_option = {name for name in ("config", "no_config", "profile") if _source(context, name) == "COMMANDLINE"}
    if {"config", "no_config"} <= by_option and not context.resilient_parsing:
        raise UsageError("--config and --no-config exclude each other", hint="leave one of them out")
    return Settings(
        named=context.params.get("config") or "",
        without=bool(context.params.get("no_config")) and "config" not in by_option,
        profile=context.params.get("profile") or "",
        chosen_by="option" if "profile" in by_option else "MLMETA_PROFILE",
    )


def _source(context: Any, parameter: str) -> str:
    """Click's word for where a value comes from."""
    return getattr(context.get_parameter_source(parameter), "name", "")


class Command(TyperCommand):
    """A command. Its help shows defaults as they are without a configuration file, which may be broken."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **more: Any) -> Any:
        """As Click does; what it refuses of a value from the configuration file is told with the place there."""
        try:
            return super().make_context(info_name, args, parent=parent, **more)
        except Exception as error:
            if (named := _of_the_file(error)) is not None:
                raise named from error
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """In the width of the terminal, from the commands alone."""
        from mlmeta.cli.help import rendered

        ctx.default_map = None
        formatter.write(rendered(ctx))

    def invoke(self, ctx: Any) -> Any:
        """As Click does, once the profile that was asked for is known to be there."""
        settings = ctx.meta.get(META)
        if settings is not None:
            settings.check()  # the profile, where no option is left to ask for
            _tell_of_variables_before_the_profile(ctx, settings)
            _tell_of_the_file(ctx, settings)
        return super().invoke(ctx)


def _of_the_file(error: Exception) -> MlmetaError | None:
    """The error for what a callback refused of a value from the file; None: it is about something else."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    values = getattr(context, "default_map", None)
    if parameter is None or context is None or not isinstance(values, Defaults):
        return None
    if _source(context, parameter.name) != "DEFAULT_MAP":
        return None
    value = values.values_of_file[parameter.name]
    message = getattr(error, "message", str(error))
    file = context.meta[META].file
    where = f"{file}: {value.section}" if value.section else f"{file}:"
    said = f"{where} {parameter.opts[0].lstrip('-')}: {message}"
    return ConfigurationError(said, hint="see docs/reference/configuration.md")


def _tell_of_the_file(context: Any, settings: Settings) -> None:
    if context.params.get("verbose") and settings.file is not None:
        from mlmeta.cli.output import Output

        profile = f", profile {settings.profile}" if settings.profile else ""
        Output(context.info_name or "").note(f"configuration file: {settings.file.path}{profile}")


def _tell_of_variables_before_the_profile(context: Any, settings: Settings) -> None:
    """Warn where a profile was asked for in this very call, and a variable of the environment goes before it."""
    if not settings.profile or settings.chosen_by != "option" or not isinstance(context.default_map, Defaults):
        return
    from mlmeta.cli.options import variable_of

    for parameter in context.command.params:
        value = context.default_map.values_of_file.get(parameter.name)
        by_variable = _source(context, parameter.name) == "ENVIRONMENT"
        if value and value.profile and by_variable and value.value != plain(context.params.get(parameter.name)):
            from mlmeta.cli.output import Output

            key, variable = parameter.opts[0].lstrip("-"), variable_of(parameter)
            Output(context.info_name or "").note(
                f"warning: {variable} of the environment goes before {key} of profile {value.profile}"
            )


@contextlib.contextmanager
def _usage_errors_told() -> Iterator[None]:
    """Usage errors as one JSON document where that was asked for, else without control characters."""
    try:
        yield
    except Exception as error:
        tell = getattr(error, "format_message", None)  # click's own, or the click within typer
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{error.ctx.get_help()}\n")  # type: ignore[attr-defined]
            raise
        if tell is None:
            raise
        message = _misplaced(error) or _plainly(error, visible(tell()))
        if getattr(error, "exit_code", None) == _USAGE:
            path = getattr(getattr(error, "ctx", None), "command_path", "mlmeta")
            raise UsageError(message, hint=f"`{path} -h` shows how it is used") from error
        error.format_message = lambda: message  # type: ignore[attr-defined]
        raise


def _plainly(error: Exception, message: str) -> str:
    """A message of Click's without Pydantic's words, which newer versions of Typer let through, in our form.

    The variable is named where the value came from it.
    """
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None or _source(context, parameter.name) != "ENVIRONMENT":
        message = _VARIABLE.sub("", message, count=1)
    message = _PARSERS.sub("", message.replace("Value error, ", "").replace("Input should", "it should")).rstrip(".")
    return message[:1].lower() + message[1:]


def _misplaced(error: Exception) -> str:
    """What to say of an option on the wrong side of the command; empty: it is something else."""
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if option is None or context is None:
        return ""
    if option in _GLOBAL:
        return f"{option} goes before the command: mlmeta {option} … {context.info_name} …"
    commands = getattr(context.command, "commands", {}).items()
    having = [name for name, command in commands if any(option in one.opts for one in command.params)]
    if not having:
        return ""
    meant = next((word for word in sys.argv[1:] if word in having), having[0])
    return f"{option} goes after the command: mlmeta {meant} {option} …"


def wants_json(refused: BaseException | None = None) -> bool:
    """Whether JSON is asked for, be it by words that can't be understood.

    Args:
        refused: Click's error about them: it knows the command, for which the configuration file may ask for it.
    """
    words = sys.argv[1:]
    if _JSON in (words[: words.index("--")] if "--" in words else words):
        return True
    if variable := os.environ.get("MLMETA_JSON", ""):
        return variable.lower() in {"1", "true", "t", "yes", "y", "on"}
    values = getattr(getattr(refused, "ctx", None), "default_map", None)
    with contextlib.suppress(MlmetaError):  # of a file that can't be used, which is another error
        return isinstance(values, Defaults) and values.get("json") is True
    return False
