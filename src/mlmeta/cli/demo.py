"""`mlmeta demo`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute, prepare_mlflow

if TYPE_CHECKING:
    from mlmeta.commands.result import Result
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
        _forget_other_servers()
        prepare_mlflow(verbose=verbose)
        from mlmeta.commands.demo import demo as operation

        return operation(progress)

    execute(Output("demo", json, quiet, verbose, not no_progress), call)


def _forget_other_servers() -> None:
    """MLflow's client would register the demo's model in the registry that the environment names."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_") or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            del os.environ[name]
