"""What happens to each experiment of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from mlmeta.schema import Experiment
from mlmeta.stores.sql.changes import Change, changes, is_deleted, others
from mlmeta.stores.sql.holdings import DEFAULT_ID, DEFAULT_NAME, Holdings, experiment_number
from mlmeta.stores.sql.limits import Limits, Names
from mlmeta.stores.sql.outcome import Outcome, Sink
from mlmeta.stores.sql.stored import same
from mlmeta.stores.sql.tables import EXPERIMENT_TABLE
from mlmeta.stores.target import RENAME


class ExperimentStep:
    """Decides about experiments one by one, and remembers which of them runs may go into.

    Args:
        holdings: what the target holds.
        outcome: counts and conflicts go here.
        sink: takes what is to be written.
        on_conflict: one of `ON_CONFLICT`.
        suffix: put behind a name that is taken.
        limits: of the target's columns.
    """

    def __init__(
        self, holdings: Holdings, outcome: Outcome, sink: Sink, on_conflict: str, suffix: str, limits: Limits
    ) -> None:
        self._holdings = holdings
        self._outcome = outcome
        self._sink = sink
        self._renames = on_conflict == RENAME
        self._suffix = suffix
        self._largest_id = limits.column("experiments", "experiment_id").largest
        self._names: Names[int] = Names(limits.column("experiments", "name").collation)
        self._names.update((name, number) for number, name in holdings.experiments.items())
        self._default_is_free = holdings.default_is_untouched()
        self.open: set[str] = set()
        """Ids of the snapshot's experiments that the target has or gets: their runs can be written."""

    def take(self, record: Experiment, stored: Experiment) -> None:
        """Decide about one experiment.

        Args:
            record: of the snapshot.
            stored: its stored form.
        """
        number = experiment_number(record.experiment_id)
        if number is None or number > self._largest_id:
            self._conflict(record, "this kind of database can't hold its id; SQLite or a server can")
        elif problem := EXPERIMENT_TABLE.state_problem(stored):
            self._outcome.misfit("experiment", record.name, f"it {problem}")
        elif number in self._holdings.experiments:
            self._take_existing(record, stored, number)
        elif self._default_is_free and self._names.get(stored.name) == DEFAULT_ID:
            self._take_place_of_default(record, stored, number)
        else:
            self._take_new(record, stored, number)

    def _take_place_of_default(self, record: Experiment, stored: Experiment, number: int) -> None:
        """Of one that MLflow made, where the snapshot's Default experiment has another id than 0."""
        self._default_is_free = False
        self._names[stored.name] = number
        self._create(record)
        self._sink.adopt_default(stored)

    def _take_new(self, record: Experiment, stored: Experiment, number: int) -> None:
        name = self._free_name(stored.name)
        if name is None:
            other = self._names[stored.name]
            self._conflict(record, f"its name {stored.name!r} belongs to experiment {other}")
            return
        if name != stored.name:
            self._outcome.notes.append(f"experiment {number} gets the name {name!r}, as {stored.name!r} is taken")
        self._names[name] = number
        self._create(record)
        self._sink.experiment(stored.model_copy(update={"name": name}))

    def _take_existing(self, record: Experiment, stored: Experiment, number: int) -> None:
        found = self._holdings.experiment(number)
        renamed = stored.model_copy(update={"name": stored.name + self._suffix})
        if found is None:  # it belongs to another workspace
            self._belongs_to_another(record, number)
        elif same(found, stored) or (self._renames and same(found, renamed)):
            self._present(record)
        elif number == DEFAULT_ID and self._default_is_free and self._names.get(stored.name, number) == number:
            self._default_is_free = False
            self._names.pop(self._holdings.experiments[number])  # the snapshot may have it for another one
            self._names[stored.name] = number
            self._create(record)
            self._sink.adopt_default(stored)
        elif number == DEFAULT_ID and found.name == stored.name == DEFAULT_NAME:
            self._present(record, (), found)
            self._outcome.notes.append("the Default experiment is in use in the target: it keeps its own attributes")
        elif _is_it(found, stored):
            self._take_changed(record, found, changes(stored, found))
        else:
            self._belongs_to_another(record, number)

    def _take_changed(self, record: Experiment, found: Experiment, differences: list[Change]) -> None:
        if reason := others(differences):
            self.open.add(record.experiment_id)  # runs still belong into it
            self._conflict(record, f"the target has it with other content: {reason}")
        else:
            self._present(record, differences, found)

    def _belongs_to_another(self, record: Experiment, number: int) -> None:
        self._conflict(record, f"its id belongs to {self._holdings.experiments[number]!r} in the target")

    def _free_name(self, name: str) -> str | None:
        if name not in self._names:
            return name
        renamed = name + self._suffix
        return renamed if self._renames and renamed not in self._names else None

    def _create(self, record: Experiment) -> None:
        self.open.add(record.experiment_id)
        self._outcome.created["experiments"] += 1

    def _present(self, record: Experiment, differences: Sequence[Change] = (), found: Experiment | None = None) -> None:
        self.open.add(record.experiment_id)
        deleted = found is not None and is_deleted(record, found)
        if self._outcome.was_there("experiments", ("experiment", record.name), differences, deleted=deleted):
            self._sink.undelete("experiments", int(record.experiment_id))

    def _conflict(self, record: Experiment, reason: str) -> None:
        self._outcome.conflict("experiment", record.experiment_id, reason, ("experiment", record.name))


def _is_it(found: Experiment, stored: Experiment) -> bool:
    """Whether the experiment with this id is the snapshot's, which may have got another name since."""
    return found.name == stored.name or found.creation_time == stored.creation_time is not None
