"""What happens to each run of a snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlmeta.schema import Run
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.walking import with_histories
from mlmeta.stores.sql.changes import changes, history_changes, is_deleted, others
from mlmeta.stores.sql.histories import POINTS_AT_ONCE
from mlmeta.stores.sql.holdings import Holdings, dataset_content
from mlmeta.stores.sql.inputs import Leftover, Link, dataset_id, datasets_of, input_links
from mlmeta.stores.sql.outcome import Nowhere, Outcome, Sink
from mlmeta.stores.sql.queries import BATCH
from mlmeta.stores.sql.stored import StoredForm, StoredHistories, same, same_histories
from mlmeta.stores.sql.tables import RUN_TABLE
from mlmeta.stores.target import Key


class RunStep:
    """Decides about runs, a batch at a time.

    Args:
        holdings: what the target holds.
        outcome: counts and conflicts go here.
        sink: takes what is to be written.
        form: gives stored forms.
        experiments: ids that runs may go into.
    """

    def __init__(
        self, holdings: Holdings, outcome: Outcome, sink: Sink, form: StoredForm, experiments: set[str]
    ) -> None:
        self._holdings = holdings
        self._outcome = outcome
        self._sink = sink
        self._form = form
        self._experiments = experiments
        self._shut_out: defaultdict[str, list[Key]] = defaultdict(list)
        self._dataset_contents: dict[str, bytes] = {}
        self.coming: set[str] = set()
        """Ids of the runs that a plan would have written."""

    def take(self, items: Sequence[RunLines]) -> None:
        """Decide about a batch of runs."""
        existing = self._holdings.existing_runs([item.run.run_id for item in items])
        self._outcome.matched_runs += len(existing)
        taken = [item.run.run_id for item in items if item.run.run_id in existing]
        found = with_histories(self._holdings.runs_with_histories([taken]))
        theirs = (run for run in found if isinstance(run, RunLines))
        new = [item.run for item in items if item.run.run_id not in existing]
        left = self._holdings.leftovers([run.run_id for run in new if run.dataset_inputs or has_models(run)])
        for item in items:
            run = self._form.of(item.run)
            if item.run.run_id in existing:
                self._take_existing(run, item, next(theirs))
            elif item.run.experiment_id not in self._experiments:
                self._shut_out[item.run.experiment_id].append(("run", run.run_id))
            else:
                self._take_new(run, item, left)

    def _take_new(self, run: Run, item: RunLines, left: Mapping[Link, Leftover]) -> None:
        if problem := RUN_TABLE.state_problem(run):
            self._outcome.misfit("run", run.run_id, f"it {problem}")
            return
        if reason := self._other_inputs(run, left) or self._other_dataset(run):
            self._outcome.conflict("run", run.run_id, reason, ("run", run.run_id))
            return
        self._outcome.created["runs"] += 1
        if isinstance(self._sink, Nowhere):
            self.coming.add(run.run_id)
        self._sink.run(run, StoredHistories(item), left)

    def _other_inputs(self, run: Run, left: Mapping[Link, Leftover]) -> str:
        """What is left of its inputs and is not what would be written, in words; empty: nothing."""
        for link, step, tags in input_links(run, self._datasets(run)) if left else ():
            there = left.get(link)
            if there is None:
                continue
            if there.step != step or any(there.tags.get(key, value) != value for key, value in tags.items()):
                what = "a dataset" if link[0] == "DATASET" else "a model"
                return f"of a run with its id, the target still has {what} that it used or made, with other content"
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
                self._dataset_contents[dataset] = self._holdings.dataset_content(dataset) or content
            if self._dataset_contents[dataset] != content:
                return f"the target's experiment has its dataset {key[0]!r} ({key[1]}) with other content"
        return ""

    def _datasets(self, run: Run) -> dict[tuple[str, str], str]:
        return self._holdings.datasets(int(run.experiment_id)) if run.dataset_inputs else {}

    def _take_existing(self, run: Run, item: RunLines, theirs: RunLines) -> None:
        key = ("run", run.run_id)
        if same(theirs.run, run) and same_histories(theirs.lines, StoredHistories(item)):
            self._outcome.was_there("runs", key)
            return
        found = [*changes(run, theirs.run), *history_changes(item, theirs)]
        if reason := others(found):
            self._outcome.conflict("run", run.run_id, f"the target has it with other content: {reason}", key)
        elif self._outcome.was_there("runs", key, found, deleted=is_deleted(run, theirs.run)):
            self._sink.undelete("runs", run.run_id)

    def finish(self) -> None:
        """Name the experiments whose runs could not be written with them."""
        for experiment_id, runs in self._shut_out.items():
            reason = f"{len(runs)} runs have no place without it"
            self._outcome.conflict("runs", f"of experiment {experiment_id}", reason, *runs)


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
