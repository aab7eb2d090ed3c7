"""`mlmeta demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlmeta.cli import options
from mlmeta.cli.render import Output
from mlmeta.cli.run import execute

if TYPE_CHECKING:
    from mlmeta.operations.result import Result
    from mlmeta.progress import Progress


def demo(
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """See the whole loop: create runs, back up, lose the store, restore, prove it.

    On an embedded store and real `mlflow server` processes, all in a temporary folder.
    """

    def call(progress: Progress) -> Result:
        from mlmeta.demo.loop import demo as operation

        return operation(progress)

    execute(Output("demo", json, quiet, verbose, not no_progress), call)
