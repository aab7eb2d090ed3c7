"""Results as something rich can print. Nothing here prints."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlmeta.commands.result import Result

# By name, so that a command imports its own view only: start-up time.
_VIEWS = {
    "BackupResult": "backup:view",
    "BrowseResult": "browse:view",
    "CopyResult": "copy:view",
    "DemoResult": "demo:view",
    "DiffResult": "diff:view",
    "ListResult": "listing:view",
    "MetricOverRuns": "show:metric_over_runs",
    "MetricOverSteps": "show:metric_over_steps",
    "ModelList": "show:models",
    "Overview": "show:overview",
    "PruneResult": "prune:view",
    "RestoreResult": "restore:view",
    "RunDetail": "show:run_detail",
    "RunTable": "show:run_table",
    "VerifyResult": "verify:view",
}


def view(result: Result, *, verbose: bool) -> RenderableType | None:
    """What to print for a result; None where there is nothing to say."""
    module, _, function = _VIEWS[type(result).__name__].partition(":")
    shown: RenderableType | None = getattr(import_module(f"{__name__}.{module}"), function)(result, verbose=verbose)
    return shown
