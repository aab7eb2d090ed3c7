"""Results as something rich can print. Nothing here prints."""

from __future__ import annotations

from functools import singledispatch

from rich.console import RenderableType

from mlmeta.cli.views import backup, listing
from mlmeta.operations.backup import BackupResult
from mlmeta.operations.listing import ListResult
from mlmeta.operations.result import Result


@singledispatch
def _view(result: Result, *, verbose: bool) -> RenderableType | None:
    raise NotImplementedError(type(result).__name__)


def view(result: Result, *, verbose: bool) -> RenderableType | None:
    """What to print for a result; None where there is nothing to say."""
    return _view(result, verbose=verbose)


_view.register(BackupResult, backup.view)
_view.register(ListResult, listing.view)
