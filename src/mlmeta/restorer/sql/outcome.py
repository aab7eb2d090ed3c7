"""What a restore does with each record, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from mlmeta.errors import ConflictError
from mlmeta.restorer.sql.stored import StoredHistories
from mlmeta.restorer.target import Refusal
from mlmeta.schema import Experiment, LoggedModel, RegisteredModel, Run

FAIL = "fail"
SKIP = "skip"
RENAME = "rename"
WAYS = (FAIL, SKIP, RENAME)
"""What to do about a conflict: write nothing at all, leave that record out, or give it another name."""


@dataclass
class Outcome:
    """What a restore does or would do.

    Args:
        created: how many of each kind are written.
        present: how many of each kind are there already.
        conflicts: what the target holds under the same id or name, with other content.
        notes: what a person should know.
        left_out: what the database can't hold; unlike a conflict it does not stop a restore.
        matched_runs: runs of the snapshot whose id the target has.
    """

    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    conflicts: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[Refusal] = field(default_factory=list)
    matched_runs: int = 0

    def conflict(self, kind: str, record_id: str, reason: str) -> None:
        """Note a conflict."""
        self.conflicts.append(Refusal(kind=kind, id=record_id, reason=reason))

    def leave_out(self, kind: str, record_id: str, reason: str, field: str) -> None:
        """Note something that can't be written."""
        self.left_out.append(Refusal(kind=kind, id=record_id, reason=reason, field=field))

    def require_no_conflict(self, shown: str) -> None:
        """Stop a restore that must be complete.

        Raises:
            ConflictError: something stands in the way; the first few are named.
        """
        if not self.conflicts:
            return
        first = "; ".join(f"{c.kind} {c.id}: {c.reason}" for c in self.conflicts[:3])
        more = f"; and {len(self.conflicts) - 3} more" if len(self.conflicts) > 3 else ""
        raise ConflictError(
            f"{shown} holds other data under the same id or name ({first}{more}); nothing was written",
            hint="restore into an empty database, or have conflicts skipped or renamed",
        )


class Sink(Protocol):
    """Takes the records that are to be written."""

    def experiment(self, record: Experiment) -> None:
        """A new experiment."""

    def adopt_default(self, record: Experiment) -> None:
        """An experiment in the place of the untouched Default one that MLflow made."""

    def run(self, record: Run, histories: StoredHistories) -> None:
        """A new run of an experiment that is there."""

    def logged_model(self, record: LoggedModel, experiments: dict[str, int]) -> None:
        """A new logged model of an experiment that is there; `experiments`: of the runs of its metrics, by run id."""

    def flush(self) -> None:
        """From now on, what was given can be looked up."""

    def model(self, record: RegisteredModel) -> None:
        """A new registered model with its versions."""


class Nowhere:
    """A plan writes nothing."""

    def experiment(self, record: Experiment) -> None:
        """Nothing."""

    def adopt_default(self, record: Experiment) -> None:
        """Nothing."""

    def run(self, record: Run, histories: StoredHistories) -> None:
        """Nothing."""

    def logged_model(self, record: LoggedModel, experiments: dict[str, int]) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def model(self, record: RegisteredModel) -> None:
        """Nothing."""
