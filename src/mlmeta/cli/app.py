"""The command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlmeta import __version__
from mlmeta.cli.text import visible

COMMANDS = ("backup", "list", "show", "diff", "restore", "verify", "prune", "copy", "browse", "demo")
"""In the order of the help. Each is the function `command` in the module of its name in `mlmeta.cli`."""


class _Commands(TyperGroup):
    """The commands. What is wrong with a call's words is said without control characters that they may have."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _usage_errors_visible():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with _usage_errors_visible():
            return super().invoke(ctx)


@contextlib.contextmanager
def _usage_errors_visible() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if tell := getattr(error, "format_message", None):  # click's own, or the click within typer
            message = visible(tell())
            error.format_message = lambda: message  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="mlmeta",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Back up an MLflow server's metadata as small JSON snapshots, and bring it back.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mlmeta {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for name in COMMANDS:
    app.command(name)(import_module(f"mlmeta.cli.{name}").command)


def main() -> None:
    """The entry point of the `mlmeta` command."""
    try:
        app()
    except OSError as error:  # of typer's own words: --help into a full disk
        from mlmeta.cli.output import Output
        from mlmeta.cli.run import leave, refused

        if (named := refused(error)) is None:
            raise
        leave(Output("mlmeta").error(named))
