"""What happens to each run of a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlmeta.schema import Run
from mlmeta.snapshot.compare import with_histories
from mlmeta.snapshot.reader import RunLines
from mlmeta.stores.sql.changes import changes, compared
from mlmeta.stores.sql.existing import dataset_content
from mlmeta.stores.sql.histories import POINTS_AT_ONCE
from mlmeta.stores.sql.inputs import Leftover, Link, dataset_id, datasets_of, input_links
from mlmeta.stores.sql.queries import BATCH
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.stored import StoredHistories
from mlmeta.stores.sql.tables import RUN_TABLE
from mlmeta.stores.sql.writer import RowWriter


class RunStep(Step[Run]):
    """Decides about runs, with their histories, and with what `mlflow gc` left of their inputs."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(RUN_TABLE, context)
        self._dataset_contents: dict[str, bytes] = {}

    def take_items(self, items: Sequence[RunLines]) -> None:
        """See `Step.take`."""
        ids = [item.run.run_id for item in items]
        existing = self._existing.keys(RUN_TABLE, ids) if self._existing.runs else set()
        self._tally.matched_runs += len(existing)
        found = with_histories(self._existing.runs_with_histories([[run_id for run_id in ids if run_id in existing]]))
        theirs = (run for run in found if isinstance(run, RunLines))
        new = [item.run for item in items if item.run.run_id not in existing]
        left = self._existing.leftovers([run.run_id for run in new if run.dataset_inputs or has_models(run)])
        for item in items:
            run = self._context.form.of(item.run)
            if run.run_id in existing:
                self._take_item(run, item, next(theirs))
            elif self._has_place(run) and self._fits_in(run, left):
                self._tally.created[self._kind.counted_as] += 1
                self._do(RowWriter.run, run, StoredHistories(item), left)

    def _fits_in(self, run: Run, left: Mapping[Link, Leftover]) -> bool:
        """Whether nothing that is there of its inputs is in its way; noted, if not."""
        reason = self._other_inputs(run, left) or self._other_dataset(run)
        if reason:
            self._conflict(run, reason)
        return not reason

    def _other_inputs(self, run: Run, left: Mapping[Link, Leftover]) -> str:
        """What is left of its inputs and is not what would be written, in words; empty: nothing."""
        for link, step, tags in input_links(run, self._datasets(run)) if left else ():
            there = left.get(link)
            if there is None:
                continue
            if there.step != step or any(there.tags.get(key, value) != value for key, value in tags.items()):
                what = "a dataset" if link[0] == "DATASET" else "a model"
                return f"the target still has {what} that a run with its id used or made, with other content"
        return ""

    def _other_dataset(self, run: Run) -> str:
        """Which of its datasets its experiment has with other content, in words; empty: none. MLflow keeps each once.

        `mlflow gc` leaves datasets, too; and where a snapshot has one twice, the first is written.
        """
        known = self._datasets(run)
        for key, used in datasets_of(run).items():
            dataset = known.get(key) or dataset_id(run.experiment_id, *key)
            content = dataset_content(used)
            if dataset not in self._dataset_contents:
                self._dataset_contents[dataset] = self._existing.dataset_content(dataset) or content
            if self._dataset_contents[dataset] != content:
                return f"the target's experiment has its dataset {key[0]!r} ({key[1]}) with other content"
        return ""

    def _datasets(self, run: Run) -> dict[tuple[str, str], str]:
        return self._existing.datasets(int(run.experiment_id)) if run.dataset_inputs else {}

    def _take_item(self, run: Run, item: RunLines, theirs: RunLines) -> None:
        stored = RunLines(run, item.lines)
        if compared(stored, theirs).is_same:
            self._present(run)
        else:
            self._take_changed(run, theirs.run, changes(stored, theirs))


def has_models(run: Run) -> bool:
    """Whether it used or made a logged model."""
    return bool(run.model_inputs or run.model_outputs)


def run_batches(items: Iterable[RunLines]) -> Iterator[list[RunLines]]:
    """Runs in batches that are small in runs and in points."""
    batch: list[RunLines] = []
    points = 0
    for item in items:
        batch.append(item)
        points += item.size
        if len(batch) >= BATCH or points >= POINTS_AT_ONCE:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch
