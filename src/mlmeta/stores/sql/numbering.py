"""The numbers that a merge gives the snapshot's experiments in the target: an experiment is known by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import count

from mlmeta.schema import EXPERIMENTS, Experiment
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.existing import DEFAULT_ID, ExistingRows, experiment_number
from mlmeta.stores.sql.limits import Limits, Names


def is_it(found: Experiment, stored: Experiment) -> bool:
    """Whether the experiment with this id is the snapshot's, which may have got another name or workspace since."""
    same = (found.workspace, found.name) == (stored.workspace, stored.name)
    return same or found.creation_time == stored.creation_time is not None


def renumbered(part: Selected, existing: ExistingRows, limits: Limits, suffix: str) -> dict[str, str]:
    """The ids of the snapshot's experiments that have another one in the target, or get one, each with that.

    The same after a merge as before it: what got a number then is found by its name.

    Args:
        part: of the snapshot.
        existing: what the target has.
        limits: of its columns.
        suffix: put behind a name that is taken.
    """
    given = _Numbers(list(part.records(EXPERIMENTS)), existing, limits, suffix).given()
    return {own: there for own, there in given.items() if own != there}


class _Numbers:
    def __init__(self, wanted: Sequence[Experiment], existing: ExistingRows, limits: Limits, suffix: str) -> None:
        self._wanted = wanted
        self._existing = existing
        self._suffix = suffix
        self._largest = limits.column("experiments", "experiment_id").largest
        self._collation = limits.column("experiments", "name").collation
        self._names: dict[str | None, Names[int]] = {}
        for number, (name, workspace) in existing.experiments.items():
            self._names.setdefault(workspace, Names(self._collation))[name] = number
        self._default_is_free = existing.default_is_untouched()

    def given(self) -> dict[str, str]:
        """The number of each experiment in the target. Those that have theirs there go first."""
        own = {one.experiment_id: self._own(one) for one in self._wanted}
        there = {one.experiment_id for one in self._wanted if self._has(one)}
        taken = {number for one in there if (number := own[one]) is not None}
        free = self._free({*own.values()})
        found = {}
        for one in self._wanted:
            number = own[one.experiment_id]
            if one.experiment_id not in there:
                number = self._named(one, taken, number)
                number = next(free) if number is None else number
                taken.add(number)
            found[one.experiment_id] = str(number)
        return found

    def _own(self, one: Experiment) -> int | None:
        """The number that an experiment has already, where the target can hold it."""
        number = experiment_number(one.experiment_id)
        return number if number is not None and number <= self._largest else None

    def _has(self, one: Experiment) -> bool:
        """Whether the target's experiment of the same number is the snapshot's, or makes way for it."""
        number = self._own(one)
        there = self._existing.experiments.get(number) if number is not None else None
        if number is None or there is None:
            return False
        if there == (one.name, one.workspace):
            return True
        if number == DEFAULT_ID and self._default_is_free:
            return self._number_of(one, one.name) in (None, DEFAULT_ID)
        return self._is_same(number, one) and not self._is_same(self._number_of(one, one.name), one)

    def _is_same(self, number: int | None, one: Experiment) -> bool:
        """Whether the target's experiment of a number was made when the snapshot's was."""
        found = self._existing.experiment(number) if number is not None else None
        return found is not None and found.creation_time == one.creation_time is not None

    def _named(self, one: Experiment, taken: Set[int], own: int | None) -> int | None:
        """The number of the target's experiment of that name, else its own; None: it needs another."""
        is_free = own is not None and own not in self._existing.experiments and own not in taken
        for name in (one.name, one.name + self._suffix):
            number = self._number_of(one, name)
            if is_free and number == DEFAULT_ID and self._default_is_free:
                return own  # it takes the place of the one that MLflow made
            if number is not None and number not in taken:
                return number
        return own if is_free else None

    def _number_of(self, one: Experiment, name: str) -> int | None:
        names = self._names.get(one.workspace)
        return names.get(name) if names is not None else None

    def _free(self, wanted: Set[int | None]) -> Iterator[int]:
        """Numbers that nobody has or wants, from behind the target's."""
        first = max(self._existing.experiments, default=DEFAULT_ID) + 1
        return (number for number in count(first) if number not in wanted)
