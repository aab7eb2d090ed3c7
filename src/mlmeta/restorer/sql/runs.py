"""What happens to each run of a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mlmeta.restorer.sql.holdings import Holdings
from mlmeta.restorer.sql.outcome import Outcome, Sink
from mlmeta.restorer.sql.stored import StoredForm, StoredHistories, same, same_histories
from mlmeta.schema import Run
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.walking import with_histories
from mlmeta.tracking.sql.batches import BATCH
from mlmeta.tracking.sql.runs_with_histories import POINTS_AT_ONCE


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
        self._shut_out: Counter[str] = Counter()

    def take(self, items: Sequence[RunLines]) -> None:
        """Decide about a batch of runs."""
        existing = self._holdings.existing_runs([item.run.run_id for item in items])
        self._outcome.matched_runs += len(existing)
        taken = [item.run.run_id for item in items if item.run.run_id in existing]
        found = with_histories(self._holdings.runs_with_histories([taken]))
        theirs = (run for run in found if isinstance(run, RunLines))
        for item in items:
            run, histories = self._form.run(item.run), StoredHistories(item)
            if item.run.run_id in existing:
                self._take_existing(run, histories, next(theirs))
            elif item.run.experiment_id not in self._experiments:
                self._shut_out[item.run.experiment_id] += 1
            else:
                self._outcome.created["runs"] += 1
                self._sink.run(run, histories)

    def _take_existing(self, run: Run, histories: StoredHistories, theirs: RunLines) -> None:
        if same(theirs.run, run) and same_histories(theirs.lines, histories):
            self._outcome.present["runs"] += 1
        else:
            self._outcome.conflict("run", run.run_id, "the target has it with other content")

    def finish(self) -> None:
        """Name the experiments whose runs could not be written with them."""
        for experiment_id, count in self._shut_out.items():
            self._outcome.conflict("runs", f"of experiment {experiment_id}", f"{count} runs have no place without it")


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
