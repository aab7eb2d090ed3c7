"""What happens to each experiment of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from mlmeta.schema import Experiment
from mlmeta.stores.sql.changes import changes, compared, is_deleted
from mlmeta.stores.sql.existing import DEFAULT_ID, DEFAULT_NAME, experiment_number
from mlmeta.stores.sql.limits import Names
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.tables import EXPERIMENT_TABLE
from mlmeta.stores.sql.writer import RowWriter


class ExperimentStep(Step[Experiment]):
    """Decides about experiments, whose names are unique too, and remembers which of them records may go into."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(EXPERIMENT_TABLE, context)
        self._largest_id = context.limits.column("experiments", "experiment_id").largest
        self._names: Names[int] = Names(context.limits.column("experiments", "name").collation)
        self._names.update((name, number) for number, name in self._existing.experiments.items())
        self._default_is_free = self._existing.default_is_untouched()

    def take(self, records: Sequence[Experiment]) -> None:
        """See `Step.take`. One by one: each may take a name that another one wants."""
        for record in records:
            self._take(record)

    def _take(self, record: Experiment) -> None:
        stored, number = self._context.form.of(record), experiment_number(record.experiment_id)
        if number is None or number > self._largest_id:
            self._conflict(stored, "this kind of database can't hold its id; SQLite or a server can")
        elif problem := self._table.state_problem(stored):
            self._misfit(stored, f"it {problem}")
        elif number in self._existing.experiments:
            self._take_id(stored, number)
        elif self._default_is_free and self._names.get(stored.name) == DEFAULT_ID:
            # The Default experiment of the snapshot has another id than the one that MLflow made
            self._adopt_default(stored, number)
        else:
            self._take_new(stored, number)

    def _adopt_default(self, stored: Experiment, number: int) -> None:
        """Take the place of the Default experiment that MLflow made."""
        self._default_is_free = False
        self._names[stored.name] = number
        self._count_new(stored)
        self._do(RowWriter.adopt_default, stored)

    def _take_new(self, stored: Experiment, number: int) -> None:
        name = self._free_name(stored.name)
        if name is None:
            other = self._names[stored.name]
            self._conflict(stored, f"its name {stored.name!r} belongs to experiment {other}")
            return
        if name != stored.name:
            self._tally.notes.append(f"experiment {number} gets the name {name!r}, as {stored.name!r} is taken")
        self._names[name] = number
        self._count_new(stored)
        self._do(RowWriter.record, stored.model_copy(update={"name": name}))

    def _free_name(self, name: str) -> str | None:
        if name not in self._names:
            return name
        renamed = name + self._context.suffix
        return renamed if self._context.renames and renamed not in self._names else None

    def _count_new(self, stored: Experiment) -> None:
        self._context.open.add(stored.experiment_id)
        self._tally.created[self._kind.counted_as] += 1

    def _take_id(self, stored: Experiment, number: int) -> None:
        """Decide about an experiment whose id the target has."""
        found = self._existing.experiment(number)
        renamed = stored.model_copy(update={"name": stored.name + self._context.suffix})
        if found is None:  # it belongs to another workspace
            self._belongs_to_another(stored, number)
        elif compared(stored, found).is_same or (self._context.renames and compared(renamed, found).is_same):
            self._open(stored)
            self._present(stored)
        elif number == DEFAULT_ID and self._default_is_free and self._names.get(stored.name, number) == number:
            self._names.pop(self._existing.experiments[number])  # the snapshot may have it for another one
            self._adopt_default(stored, number)
        elif number == DEFAULT_ID and found.name == stored.name == DEFAULT_NAME:
            self._open(stored)
            self._present(stored, deleted=is_deleted(stored, found))
            self._tally.notes.append("the Default experiment is in use in the target: it keeps its own attributes")
        elif _is_it(found, stored):
            self._open(stored)  # whatever differs, its runs belong into it
            self._take_changed(stored, found, changes(stored, found))
        else:
            self._belongs_to_another(stored, number)

    def _open(self, stored: Experiment) -> None:
        self._context.open.add(stored.experiment_id)

    def _belongs_to_another(self, stored: Experiment, number: int) -> None:
        self._conflict(stored, f"its id belongs to {self._existing.experiments[number]!r} in the target")


def _is_it(found: Experiment, stored: Experiment) -> bool:
    """Whether the experiment with this id is the snapshot's, which may have got another name since."""
    return found.name == stored.name or found.creation_time == stored.creation_time is not None
