"""Statuses and lifecycle stages. MLflow's tables take none but its own, whatever the kind of database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlmeta.schema import Experiment, LoggedModel, Run
from mlmeta.stores.sql import read_logged_models as logged_models
from mlmeta.stores.sql import read_runs as runs
from mlmeta.stores.sql.oddities import STAGES


def state_problem(record: Experiment | Run | LoggedModel) -> str:
    """Why a record can't be held for a status or stage that MLflow does not know, in words that follow "it"."""
    for field, value, known in _states(record):
        if value not in known:
            return f"has the {field} {value!r}; MLflow knows {', '.join(sorted(known))}"
    return ""


def _states(record: Experiment | Run | LoggedModel) -> Iterator[tuple[str, str, Iterable[str]]]:
    if isinstance(record, Run):
        yield "status", record.status, runs.STATUSES
    if isinstance(record, LoggedModel):
        yield "status", record.status, logged_models.STATUSES
    yield "lifecycle stage", record.lifecycle_stage, STAGES
