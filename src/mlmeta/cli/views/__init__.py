"""Results as something rich can print. Nothing here prints."""

from __future__ import annotations

from functools import singledispatch

from rich.console import RenderableType

from mlmeta.cli.views import backup, copy, demo, listing, prune, restore, show, verify
from mlmeta.demo.loop import DemoResult
from mlmeta.operations.backup import BackupResult
from mlmeta.operations.copy import CopyResult
from mlmeta.operations.listing import ListResult
from mlmeta.operations.prune import PruneResult
from mlmeta.operations.restore import RestoreResult
from mlmeta.operations.result import Result
from mlmeta.operations.show import MetricOverRuns, MetricOverSteps, ModelList, Overview, RunDetail, RunTable
from mlmeta.operations.verify import VerifyResult


@singledispatch
def _view(result: Result, *, verbose: bool) -> RenderableType | None:
    raise NotImplementedError(type(result).__name__)


def view(result: Result, *, verbose: bool) -> RenderableType | None:
    """What to print for a result; None where there is nothing to say."""
    return _view(result, verbose=verbose)


_view.register(BackupResult, backup.view)
_view.register(ListResult, listing.view)
_view.register(RestoreResult, restore.view)
_view.register(VerifyResult, verify.view)
_view.register(Overview, show.overview)
_view.register(RunTable, show.run_table)
_view.register(RunDetail, show.run_detail)
_view.register(MetricOverRuns, show.metric_over_runs)
_view.register(MetricOverSteps, show.metric_over_steps)
_view.register(ModelList, show.models)
_view.register(PruneResult, prune.view)
_view.register(CopyResult, copy.view)
_view.register(DemoResult, demo.view)
