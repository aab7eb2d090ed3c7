"""What happens to each registered model of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from mlmeta.restorer.sql.holdings import Holdings
from mlmeta.restorer.sql.outcome import RENAME, Outcome, Sink
from mlmeta.restorer.sql.stored import same
from mlmeta.schema import RegisteredModel


class ModelStep:
    """Decides about registered models, a batch at a time.

    Args:
        holdings: what the target holds.
        outcome: counts and conflicts go here.
        sink: takes what is to be written.
        on_conflict: one of `WAYS`.
        suffix: put behind a name that is taken.
    """

    def __init__(self, holdings: Holdings, outcome: Outcome, sink: Sink, on_conflict: str, suffix: str) -> None:
        self._holdings = holdings
        self._outcome = outcome
        self._sink = sink
        self._renames = on_conflict == RENAME
        self._suffix = suffix

    def take(self, stored: Sequence[RegisteredModel]) -> None:
        """Decide about a batch of models, given in their stored form."""
        names = [name for model in stored for name in (model.name, model.name + self._suffix)]
        found = self._holdings.models(names if self._renames else names[::2])
        for model in stored:
            self._take(model, found)

    def _take(self, model: RegisteredModel, found: dict[str, RegisteredModel]) -> None:
        renamed = model.model_copy(update={"name": model.name + self._suffix})
        if model.name not in found:
            self._create(model)
        elif same(found[model.name], model):
            self._present(model)
        elif self._renames and renamed.name not in found:
            self._outcome.notes.append(f"model {model.name!r} gets the name {renamed.name!r}, as its own is taken")
            self._create(renamed)
        elif self._renames and same(found[renamed.name], renamed):
            self._present(renamed)
        else:
            self._outcome.conflict("model", model.name, "the target has a model of that name with other content")

    def _create(self, model: RegisteredModel) -> None:
        self._outcome.created["models"] += 1
        self._outcome.created["model versions"] += len(model.versions)
        self._sink.model(model)

    def _present(self, model: RegisteredModel) -> None:
        self._outcome.present["models"] += 1
        self._outcome.present["model versions"] += len(model.versions)
