"""The command line."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from mlmeta import __version__
from mlmeta.cli import options
from mlmeta.cli.group import Command, Commands, wants_json
from mlmeta.errors import MlmetaError

COMMANDS = (
    "backup",
    "list",
    "show",
    "diff",
    "restore",
    "verify",
    "prune",
    "forget",
    "copy",
    "migrate",
    "rewrite",
    "browse",
    "report",
    "guard",
    "demo",
    "config",
    "doctor",
)
"""In the order of the help. Each is the function `command` in the module of its name in `mlmeta.cli`."""

_SETTINGS = {
    "config": {"ignore_unknown_options": True, "allow_interspersed_args": False},
    "guard": {"allow_interspersed_args": False},
}
"""Of Click, by command: `mlmeta config backup --jobs 4` takes the words of another one, `guard` of a server."""

app = typer.Typer(
    name="mlmeta",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Back up an MLflow server's metadata as small JSON snapshots, and bring it back.",
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    if wants_json():
        from mlmeta.cli.output import Output
        from mlmeta.commands.result import Result

        Output("mlmeta", json=True).result(Result(), lambda _: ())  # it has the version
    else:
        typer.echo(f"mlmeta {__version__}")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    config: options.ConfigPath = "",
    no_config: options.NoConfig = False,
    profile: options.Profile = "",
) -> None:
    pass


for name in COMMANDS:
    app.command(name, cls=Command, context_settings=_SETTINGS.get(name))(import_module(f"mlmeta.cli.{name}").command)


def main() -> None:
    """The entry point of the `mlmeta` command."""
    try:
        with _completion():
            app(prog_name="mlmeta")
    except MlmetaError as error:  # before there is a command: its words, or the configuration file
        _leave(error)
    except OSError as error:  # of typer's own words: --help into a full disk
        from mlmeta.cli.run import refused

        if (named := refused(error)) is None:
            raise
        _leave(named)


def _completion() -> contextlib.AbstractContextManager[None]:
    if {"--install-completion", "--show-completion"} & {*sys.argv}:
        from mlmeta.cli.completion import help_zsh

        help_zsh()
    if "_MLMETA_COMPLETE" not in os.environ:
        return contextlib.nullcontext()
    from mlmeta.cli.completion import spoken_with_shell

    return spoken_with_shell()


def _leave(error: MlmetaError) -> None:
    from mlmeta.cli.output import Output
    from mlmeta.cli.run import leave

    command = next((word for word in sys.argv[1:] if word in COMMANDS), "mlmeta")
    leave(Output(command, json=wants_json(error.__cause__)).error(error))
