"""Steps of a restore for the kinds of which MLflow wants more than that a record is there once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from operator import attrgetter

from mlmeta.schema import Experiment, LoggedModel, LoggedModelMetric, Run
from mlmeta.snapshot.compare import with_followers
from mlmeta.snapshot.reader import Led, RunLines, bare
from mlmeta.stores.sql.changes import TargetChange, changes, is_deleted, is_same, others
from mlmeta.stores.sql.existing import DEFAULT_ID, DEFAULT_NAME, dataset_content, experiment_number
from mlmeta.stores.sql.histories import POINTS_AT_ONCE
from mlmeta.stores.sql.joining import missing_points, same_experiment
from mlmeta.stores.sql.limits import Names
from mlmeta.stores.sql.queries import sized_batches
from mlmeta.stores.sql.runs import Leftover, Link, dataset_id, datasets_of, input_links
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.stored import StoredHistories
from mlmeta.stores.sql.tables import (
    EXPERIMENT_TABLE,
    LOGGED_MODEL_TABLE,
    RUN_TABLE,
)
from mlmeta.stores.sql.writer import RowWriter
from mlmeta.stores.target import KEPT, NO_RUN


class ExperimentStep(Step[Experiment]):
    """Decides about experiments, whose names are unique too, and remembers which of them records may go into."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(EXPERIMENT_TABLE, context)
        self._largest_id = context.limits.column("experiments", "experiment_id").largest
        self._collation = context.limits.column("experiments", "name").collation
        self._named: dict[str | None, Names[int]] = {}
        for number, (name, workspace) in self._existing.experiments.items():
            self._names(workspace)[name] = number
        self._default_is_free = self._existing.default_is_untouched()

    def _names(self, workspace: str | None) -> Names[int]:
        """The ids of the experiments in a workspace, by name."""
        return self._named.setdefault(workspace, Names(self._collation))

    def take(self, records: Sequence[Experiment]) -> None:
        """See `Step.take`. One by one: each may take a name that another one wants."""
        all_stored = [self._context.form.of(record) for record in records]
        self._context.known.update(stored.experiment_id for stored in all_stored)
        for stored in all_stored:
            self._take(stored)

    def _take(self, stored: Experiment) -> None:
        number = experiment_number(stored.experiment_id)
        if number is None or number > self._largest_id:
            self._conflict(stored, "this kind of database can't hold its id; SQLite or a server can")
        elif problem := self._table.state_problem(stored):
            self._misfit(stored, f"it {problem}")
        elif problem := self._workspace_problem(stored):
            self._misfit(stored, problem)
        elif number in self._existing.experiments:
            self._take_id(stored, number)
        elif self._default_is_free and self._names(stored.workspace).get(stored.name) == DEFAULT_ID:
            # The Default experiment of the snapshot has another id than the one that MLflow made
            self._adopt_default(stored, number)
        else:
            self._take_new(stored, number)

    def _adopt_default(self, stored: Experiment, number: int) -> None:
        """Take the place of the Default experiment that MLflow made."""
        self._default_is_free = False
        self._names(stored.workspace)[stored.name] = number
        self._count_new(stored)
        self._do(RowWriter.adopt_default, stored)

    def _take_new(self, stored: Experiment, number: int) -> None:
        names = self._names(stored.workspace)
        name = self._free_name(stored.name, names)
        if name is None:
            other = names[stored.name]
            self._conflict(stored, f"its name {stored.name!r} belongs to experiment {other}")
            return
        if name != stored.name:
            self._tally.notes.append(f"experiment {number} gets the name {name!r}, as {stored.name!r} is taken")
        names[name] = number
        self._count_new(stored)
        self._do(RowWriter.record, stored.model_copy(update={"name": name}))

    def _free_name(self, name: str, names: Names[int]) -> str | None:
        if name not in names:
            return name
        renamed = name + self._context.suffix
        may_rename = self._context.renames or self._context.merges
        return renamed if may_rename and renamed not in names else None

    def finish(self) -> None:
        """See `Step.finish`."""
        super().finish()
        if self._context.merges and self._tally.created[self._kind.counted_as]:
            self._do(RowWriter.claim_numbers)

    def _count_new(self, stored: Experiment) -> None:
        self._context.open.add(stored.experiment_id)
        self._tally.created[self._kind.counted_as] += 1

    def _take_id(self, stored: Experiment, number: int) -> None:
        """Decide about an experiment whose id the target has."""
        found = self._existing.experiment(number)
        renamed = stored.model_copy(update={"name": stored.name + self._context.suffix})
        if found is None:  # it can't be read
            self._belongs_to_another(stored, number)
        elif is_same(stored, found) or (self._context.renames and is_same(renamed, found)):
            self._open(stored)
            self._present(stored)
        elif number == DEFAULT_ID and self._can_be_default(stored):
            self._names(None).pop(self._existing.experiments[number][0])  # the snapshot may have it for another one
            self._adopt_default(stored, number)
        elif number == DEFAULT_ID and found.name == stored.name == DEFAULT_NAME and not self._context.merges:
            self._open(stored)
            self._present(stored, deleted=is_deleted(stored, found))
            self._tally.notes.append("the Default experiment is in use in the target: it keeps its own attributes")
        elif same_experiment(found, stored) or self._has_name(found, stored):
            self._open(stored)  # whatever differs, its runs belong into it
            self._take_changed(stored, found, changes(stored, found))
        else:
            self._belongs_to_another(stored, number)

    def _has_name(self, found: Experiment, stored: Experiment) -> bool:
        """Whether a merge takes an experiment for the snapshot's by its name, or by the one that a merge gave it."""
        if not self._context.merges:
            return False
        number, names = int(found.experiment_id), self._names(stored.workspace)
        return number in {names.get(stored.name), names.get(stored.name + self._context.suffix)}

    def _can_be_default(self, stored: Experiment) -> bool:
        """Whether an experiment with the id of the Default one can take the place of that."""
        names = self._names(stored.workspace)
        return self._default_is_free and names.get(stored.name, DEFAULT_ID) == DEFAULT_ID

    def _open(self, stored: Experiment) -> None:
        self._context.open.add(stored.experiment_id)

    def _belongs_to_another(self, stored: Experiment, number: int) -> None:
        self._conflict(stored, f"its id belongs to {self._existing.experiments[number][0]!r} in the target")


class RunStep(Step[Run]):
    """Decides about runs, with their histories, and with what `mlflow gc` left of their inputs."""

    BY_HAND = frozenset({"metrics", "dataset_inputs", "model_inputs", "model_outputs"})
    MORE_KEYS = (("metrics", "latest_metrics", "key"),)

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(RUN_TABLE, context)
        self._dataset_contents: dict[str, bytes] = {}
        self._pair: tuple[RunLines, RunLines]
        self._pointless: set[str] = set()

    def take_items(self, items: Sequence[RunLines]) -> None:
        """See `Step.take`."""
        before, items = len(items), self._unsettled(items, bare)
        self._tally.matched_runs += before - len(items)
        ids = [item.record.run_id for item in items]
        existing = self._existing.keys(RUN_TABLE, ids) if self._existing.runs else set()
        self._tally.matched_runs += len(existing)
        found = with_followers(self._existing.runs_with_histories([[run_id for run_id in ids if run_id in existing]]))
        theirs = (run for run in found if isinstance(run, Led))
        new = [item.record for item in items if item.record.run_id not in existing]
        left = self._existing.leftovers([run.run_id for run in new if run.dataset_inputs or has_models(run)])
        for item in items:
            run = self._context.form.of(item.record)
            if run.run_id in existing:
                self._take_item(run, item, next(theirs))
            elif self._has_place(run) and self._fits_in(run, left):
                self._tally.created[self._kind.counted_as] += 1
                self._do(RowWriter.run, run, StoredHistories(item), left)

    def _fits_in(self, run: Run, left: Mapping[Link, Leftover]) -> bool:
        """Whether nothing that is there of its inputs is in its way; noted, if not."""
        reason = self._other_inputs(run, left) or self._other_dataset(run)
        if reason and self._context.merges:
            self._keep_inputs(run, reason)
        elif reason:
            self._conflict(run, reason)
        return not reason or self._context.merges

    def _keep_inputs(self, run: Run, reason: str) -> None:
        """Name inputs of which the target has something else, and keeps it."""
        self._tally.leave_out(*self._key(run), reason, "dataset_inputs", KEPT)

    def _other_inputs(self, run: Run, left: Mapping[Link, Leftover]) -> str:
        """What the target has of its inputs and is not what would be written, in words; empty: nothing.

        It has them of the same run, or of one with its id that `mlflow gc` has removed.
        """
        for link, step, tags in input_links(run, self._datasets(run)) if left else ():
            there = left.get(link)
            if there is not None and (differs := _other_link(there, step, tags)):
                return f"the target has {self._words(run, link)} {differs}"
        return ""

    def _words(self, run: Run, link: Link) -> str:
        if link[0] != "DATASET":
            return f"its model {link[3]}"
        known = self._datasets(run)
        name, digest = next(
            key for key in datasets_of(run) if link[1] == known.get(key, dataset_id(run.experiment_id, *key))
        )
        return f"its dataset {name!r} ({digest})"

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
        stored = Led(run, item.lines)
        if is_same(stored, theirs):
            self._settle(run)
            return
        # A value of the older script, which kept no step, is no point to add to a history
        self._pointless = {
            key for key, m in item.record.metrics.items() if m.step is None and key in theirs.record.metrics
        }
        self._pair = (stored, theirs)
        self._take_changed(run, theirs.record, changes(stored, theirs))

    def _merge_more(self, stored: Run, without: Set[str]) -> Iterator[str]:
        """See `Step._merge_more`: points, and what it used and made."""
        alone = {key for key in stored.metrics if f"metrics[{key}]" in without} | self._pointless
        missing = missing_points(*self._pair, alone)
        if missing.histories or missing.latest:
            self._tally.created["metric points"] += missing.size
            self._do(RowWriter.merge_points, stored.run_id, missing)
            yield from (f"history of {history.key}" for history in missing.histories)
            yield from (f"metrics[{key}]" for key in missing.latest)
        yield from self._merge_inputs(stored)

    def _merge_inputs(self, stored: Run) -> Iterator[str]:
        if not (stored.dataset_inputs or has_models(stored)):
            return
        left = self._existing.leftovers([stored.run_id])
        if reason := self._other_dataset(stored) or self._other_inputs(stored, left):
            self._keep_inputs(stored, reason)
        if any(link not in left for link, _, _ in input_links(stored, self._datasets(stored))):
            self._do(RowWriter.merge_inputs, stored, left)
            yield from ("dataset_inputs", "model_inputs", "model_outputs")


def _other_link(there: Leftover, step: int, tags: Mapping[str, str]) -> str:
    """How what ties a run to a dataset or a model is not what would be written, in words; empty: it is."""
    for key, value in sorted(tags.items()):
        if (other := there.tags.get(key, value)) != value:
            return f"with {key} {other!r} instead of {value!r}"
    return f"at step {there.step} instead of {step}" if there.step != step else ""


def has_models(run: Run) -> bool:
    """Whether it used or made a logged model."""
    return bool(run.model_inputs or run.model_outputs)


def run_batches(items: Iterable[RunLines]) -> Iterator[list[RunLines]]:
    """Runs in batches that are small in runs and in points."""
    return sized_batches(items, attrgetter("size"), POINTS_AT_ONCE)


class LoggedModelStep(Step[LoggedModel]):
    """Decides about logged models, whose metrics belong to runs as well."""

    BY_HAND = frozenset({"metrics"})

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(LOGGED_MODEL_TABLE, context)
        self._lacking: tuple[LoggedModelMetric, ...] = ()
        self._runs: Mapping[str, int] = {}

    def take(self, records: Sequence[LoggedModel]) -> None:
        """See `Step.take`."""
        wanted = sorted({metric.run_id for model in records for metric in model.metrics})
        self._runs = self._context.writer.experiments_of_runs(wanted)
        super().take(records)

    def _create(self, stored: LoggedModel) -> None:
        super()._create(stored)
        self._do(RowWriter.logged_model_metrics, self._with_runs(stored), self._runs)

    def _take_changed(self, stored: LoggedModel, found: LoggedModel, differences: Sequence[TargetChange]) -> None:
        """Metrics go with their run when `mlflow gc` removes that; the model stays, and gets them back."""
        missing = _missing(stored, found)
        whole = found.model_copy(update={"metrics": tuple(sorted((*found.metrics, *missing), key=_place))})
        differences = changes(stored, whole)
        if self._context.merges:
            self._lacking = missing
            super()._take_changed(stored, found, differences)
            return
        super()._take_changed(stored, found, differences)
        if missing and not others(differences):
            self._complete(self._with_runs(stored.model_copy(update={"metrics": missing})))

    def _merge(self, stored: LoggedModel, found: LoggedModel, differences: Sequence[TargetChange]) -> None:
        super()._merge(stored, found, differences)
        for change in differences:
            if change.name == "metrics" and not change.is_more:
                self._tally.kept(self._key(stored), change)

    def _merge_more(self, stored: LoggedModel, without: Set[str]) -> Iterator[str]:  # noqa: ARG002
        """See `Step._merge_more`: metrics of runs that are there."""
        if self._lacking:
            self._complete(self._with_runs(stored.model_copy(update={"metrics": self._lacking})))
            yield "metrics"

    def _complete(self, torn: LoggedModel) -> None:
        if torn.metrics:
            self._tally.created["logged model metrics"] += len(torn.metrics)
            self._tally.completed.add((*self._key(torn), "metrics"))
            self._do(RowWriter.logged_model_metrics, torn, self._runs)

    def _with_runs(self, model: LoggedModel) -> LoggedModel:
        """Without the metrics of runs that are not there, which the database can't hold; that is noted."""
        kept = tuple(metric for metric in model.metrics if metric.run_id in self._runs)
        if lost := len(model.metrics) - len(kept):
            reason = f"{lost} of its metrics belong to missing runs, and were left out"
            self._tally.leave_out(*self._key(model), reason, "metrics", NO_RUN)
        return model.model_copy(update={"metrics": kept})


def _missing(stored: LoggedModel, found: LoggedModel) -> tuple[LoggedModelMetric, ...]:
    """The metrics that the target does not have, under whatever value."""
    there = {_place(metric) for metric in found.metrics}
    return tuple(metric for metric in stored.metrics if _place(metric) not in there)


def _place(metric: LoggedModelMetric) -> tuple[str, int, int, str]:
    """The primary key of a metric of a model, in the order of a snapshot."""
    return metric.key, metric.step, metric.timestamp, metric.run_id
