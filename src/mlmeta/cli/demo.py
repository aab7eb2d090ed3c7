"""`mlmeta demo`."""

from __future__ import annotations

import os
import shlex
from functools import partial
from typing import TYPE_CHECKING

from mlmeta.cli import backup, options, restore
from mlmeta.cli import list as list_
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.demo import DemoResult
    from mlmeta.progress import Progress


def command(
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """See the whole loop: create runs, back up, lose the store, restore, prove it.

    On an embedded store and real `mlflow server` processes, all in a temporary folder.
    """
    _forget_other_servers()

    def call(progress: Progress) -> DemoResult:
        from mlmeta.commands.demo import demo

        return demo(progress)

    execute(Output("demo", json, quiet, verbose, not no_progress), call, partial(view, verbose=verbose))


def view(result: DemoResult, *, verbose: bool) -> list[Block]:
    """The commands a person would have typed, and what they say."""
    return [
        _prompt("mlmeta", "backup"),
        *backup.view(result.backup, verbose=verbose),
        _prompt("rm", "mlflow.db"),
        _prompt("mlmeta", "list"),
        *list_.view(result.snapshots),
        _prompt("mlmeta", "restore", "latest", "--tracking-uri", result.restore.target),
        *restore.view(result.restore, verbose=verbose),
        Styled(f"\nThe whole loop took {result.seconds:.0f} s.", "dim"),
    ]


def _prompt(*words: str) -> Styled:
    return Styled(f"\n$ {shlex.join(words)}", "bold cyan")


def _forget_other_servers() -> None:
    """MLflow's client would register the demo's model in the registry that the environment names."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_") or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            del os.environ[name]
