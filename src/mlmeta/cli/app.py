"""The command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlmeta import __version__
from mlmeta.cli.backup import backup
from mlmeta.cli.browse import browse
from mlmeta.cli.copy import copy
from mlmeta.cli.demo import demo
from mlmeta.cli.diff import diff
from mlmeta.cli.list import list_
from mlmeta.cli.prune import prune
from mlmeta.cli.restore import restore
from mlmeta.cli.show import show
from mlmeta.cli.verify import verify
from mlmeta.cli.visible import visible


class _Commands(TyperGroup):
    """The commands. What is wrong with a call's words is said without control characters that they may have."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """See click."""
        with _usage_errors_visible():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        """See click."""
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


app.command("backup")(backup)
app.command("list")(list_)
app.command("show")(show)
app.command("diff")(diff)
app.command("restore")(restore)
app.command("verify")(verify)
app.command("prune")(prune)
app.command("copy")(copy)
app.command("browse")(browse)
app.command("demo")(demo)


def main() -> None:
    """The entry point of the `mlmeta` command."""
    try:
        app()
    except OSError as error:  # of typer's own words: --help into a full disk
        from mlmeta.cli.output import Output
        from mlmeta.cli.run import leave
        from mlmeta.cli.surroundings import refused

        if (named := refused(error)) is None:
            raise
        leave(Output("mlmeta").error(named))
