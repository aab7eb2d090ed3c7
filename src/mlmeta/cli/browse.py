"""`mlmeta browse`."""

from __future__ import annotations

import contextlib
import threading
import webbrowser
from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.browse import BrowseResult
    from mlmeta.progress import Progress

Port = Annotated[
    int | None,
    options.option(
        "--port",
        "Where the UI is served, on this machine only.",
        metavar="PORT",
        min=1,
        max=65535,
        show_default="any that is free",
    ),
]
NoBrowser = Annotated[bool, options.option("--no-browser", "Don't open a browser, only say where it is.")]


def command(
    selector: options.Selector = "latest",
    port: Port = None,
    no_browser: NoBrowser = False,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Open a snapshot in MLflow's own UI.

    It is restored into a throwaway store, which is removed at Ctrl-C.
    """
    output = Output("browse", json, quiet, verbose, not no_progress)

    def look(timestamp: str, uri: str) -> None:
        output.note(f"Snapshot {timestamp} is at {uri} until Ctrl-C")
        if not no_browser:
            webbrowser.open(uri)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()

    def call(progress: Progress) -> BrowseResult:
        from mlmeta.commands.browse import browse

        return browse(selector, storage, look, of_source=source, port=port, progress=progress)

    execute(output, call, view)


def view(result: BrowseResult) -> list[Block]:
    """That nothing is left."""
    return [f"The throwaway store of snapshot {result.timestamp} is removed."]
