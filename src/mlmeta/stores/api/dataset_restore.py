"""Restores evaluation datasets through the API, and reads them back.

MLflow tells the records of a dataset apart by their inputs, and what it is given under inputs that are there replaces
parts of that record. So a restore gives it the records that are missing, and no others.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any
from urllib.parse import quote

from mlmeta.errors import UnknownCallError
from mlmeta.progress import Progress
from mlmeta.schema import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    DatasetRecord,
    EvaluationDataset,
    Skipped,
    hash_of_inputs,
)
from mlmeta.schema.evaluation import experiments_in_order
from mlmeta.snapshot.compare import Pair
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.bounded import impatient
from mlmeta.stores.api.context import RestoreContext
from mlmeta.stores.api.evaluation_datasets import API, datasets_page, read_datasets, read_records, scopes
from mlmeta.stores.api.paging import entities_of

_KIND = EVALUATION_DATASETS.one
_LINKS = "experiment_ids"
_TOO_OLD = "upgrade the server to MLflow 3.5 or newer and restore again, or restore into a database"
_RECORDS_AT_ONCE = 500
_BYTES_AT_ONCE = 4 << 20


def survey(context: RestoreContext) -> None:
    """Note which evaluation datasets of the snapshot the target has. Nothing is asked where the snapshot has none."""
    wanted = {dataset.dataset_id for dataset in context.selected.records(EVALUATION_DATASETS)}
    if not wanted or context.is_planned:
        return
    try:
        for scope in scopes(context.connection, _target_ids(context), limited=False):
            for reply in entities_of(partial(datasets_page, context.connection, scope), itemgetter("dataset_id")):
                _note(context, wanted, reply)
    except UnknownCallError:
        context.knows_datasets = False


def _target_ids(context: RestoreContext) -> list[str]:
    """Of the experiments that the target has of the snapshot's."""
    return [experiment.target_id for experiment in context.experiments.values() if experiment.target_id]


def _note(context: RestoreContext, wanted: Container[str], reply: dict[str, Any]) -> None:
    """Note a dataset of the target, where it is one of the snapshot's."""
    source = json.loads(reply.get("tags") or "{}").get(restore_tags.SOURCE_DATASET_ID)
    if reply["dataset_id"] in wanted:  # itself, not what an earlier restore made of it
        context.datasets[reply["dataset_id"]] = reply["dataset_id"]
    elif source in wanted:
        _note_restored(context, source, reply)


def _note_restored(context: RestoreContext, source: str, reply: dict[str, Any]) -> None:
    """Note what a restore made of a dataset; of two, the one that has records."""
    other = context.datasets.get(source)
    if other is None or (reply.get("profile") and other != source):
        context.datasets[source] = reply["dataset_id"]
    if other is not None and other != source:
        context.notes.append(
            f"{_KIND} {source} is in the target twice ({other}, {reply['dataset_id']}), as after two restores at once, "
            "or where a reply was lost: delete the one without records"
        )


def restore(context: RestoreContext, progress: Progress) -> None:
    """Create the evaluation datasets that the target lacks, and give them the records that they lack."""
    progress.phase("restoring evaluation datasets")
    records = _Records(context, dict(context.datasets), progress)
    for dataset in context.selected.records(EVALUATION_DATASETS):
        with context.refusing(_KIND, dataset.dataset_id, hint=""):
            if _has_dataset(dataset, context):
                records.places.add(dataset.dataset_id)
        progress.advance(EVALUATION_DATASETS.counted_as)
    progress.phase("restoring dataset records")
    records.restore()


def _has_dataset(dataset: EvaluationDataset, context: RestoreContext) -> bool:
    """Whether the target has a dataset, or gets it."""
    identifier = dataset.dataset_id
    if identifier in context.datasets:
        context.was_there(EVALUATION_DATASETS, identifier)
        return True
    if not context.knows_datasets:
        reason = "the target has no evaluation datasets, which came with MLflow 3.5"
        context.refuse(_KIND, identifier, reason, hint=_TOO_OLD)
        return False
    there = [one for number in dataset.experiment_ids if (one := context.referred(number))]
    if context.writes:
        tags = {**restore_tags.without(dataset.tags), restore_tags.SOURCE_DATASET_ID: identifier}
        body = {"name": dataset.name, "tags": json.dumps(tags), _LINKS: [one.target_id for one in there]}
        reply = context.connection.call("POST", f"{API}/create", json=body)
        context.datasets[identifier] = reply["dataset"]["dataset_id"]
    context.created[EVALUATION_DATASETS.counted_as] += 1
    if lost := len(dataset.experiment_ids) - len(there):
        context.refuse(_KIND, identifier, f"{lost} of its experiments are not in the target", _LINKS)
    return True


class _Records:
    """Brings records of evaluation datasets into the target.

    Args:
        context: of the restore.
        known: the target's ids of datasets that were there before, by their ids in the snapshot.
        progress: told how far it is.
    """

    def __init__(self, context: RestoreContext, known: dict[str, str], progress: Progress) -> None:
        self._context = context
        self._known = known
        self._progress = progress
        self._others = False
        self._failed = False
        self.places: set[str] = set()
        """The snapshot's ids of the datasets that records can go into."""

    def restore(self) -> None:
        """Those whose outputs are an object go first: MLflow's schema of a dataset takes no object after anything else.

        (Tried with 3.17: `_update_dataset_schema` fails over it, and over nothing the other way round.)
        """
        for dataset_id, records in _by_dataset(self._context):
            if dataset_id in self.places:
                self._restore(dataset_id, filter(self._is_first, records))
            else:
                self._refuse(dataset_id, records)
        if self._others:
            for dataset_id, records in _by_dataset(self._context):
                if dataset_id in self.places:
                    self._restore(dataset_id, itertools.filterfalse(self._is_first, records))

    def _is_first(self, record: DatasetRecord) -> bool:
        if record.outputs is None or isinstance(record.outputs, dict):
            return True
        self._others = True
        return False

    def _refuse(self, dataset_id: str, records: Iterable[DatasetRecord]) -> None:
        keys = tuple((DATASET_RECORDS.one, record.dataset_record_id) for record in records)
        reason = f"{len(keys):,} can't be restored without it"
        self._context.refuse(DATASET_RECORDS.many, f"of {_KIND} {dataset_id}", reason, records=keys)

    def _restore(self, dataset_id: str, records: Iterable[DatasetRecord]) -> None:
        there = self._inputs(dataset_id)
        for batch in _batches(self._missing(records, there)):
            self._give(dataset_id, batch)

    def _inputs(self, dataset_id: str) -> set[str]:
        """Hashes of the inputs that the target's dataset had before this restore."""
        if dataset_id not in self._known:
            return set()
        found = read_records(self._context.connection, self._known[dataset_id])
        return {hash_of_inputs(record.inputs) for record in found if isinstance(record, DatasetRecord)}

    def _missing(self, records: Iterable[DatasetRecord], there: set[str]) -> Iterator[DatasetRecord]:
        for record in records:
            if there and hash_of_inputs(record.inputs) in there:
                self._context.was_there(DATASET_RECORDS, record.dataset_record_id)
                self._progress.advance(DATASET_RECORDS.counted_as)
            else:
                yield record

    def _give(self, dataset_id: str, records: Sequence[DatasetRecord]) -> None:
        """Have the target's dataset take some records; where it refuses, as many of them as it takes."""
        if self._context.writes and not self._takes(dataset_id, records):
            if len(records) > 1:
                self._context.refused.pop()  # which of them it is, is still to be seen
                half = len(records) // 2
                self._give(dataset_id, records[:half])
                self._give(dataset_id, records[half:])
            return
        self._context.created[DATASET_RECORDS.counted_as] += len(records)
        self._progress.advance(DATASET_RECORDS.counted_as, len(records))

    def _takes(self, dataset_id: str, records: Sequence[DatasetRecord]) -> bool:
        """Whether the target takes some records: all, or none. What it says against that is noted for the first."""
        context = self._context
        endpoint = f"{API}/{quote(context.datasets[dataset_id], safe='')}/records"
        body = {"records": json.dumps([_given(record) for record in records])}
        with (
            impatient(self._failed),
            context.refusing(DATASET_RECORDS.one, records[0].dataset_record_id, hint=""),
        ):
            context.connection.call("POST", endpoint, json=body)
            return True
        self._failed = True
        return False


def _by_dataset(context: RestoreContext) -> Iterator[tuple[str, Iterator[DatasetRecord]]]:
    return itertools.groupby(context.selected.records(DATASET_RECORDS), attrgetter("dataset_id"))


def _given(record: DatasetRecord) -> dict[str, Any]:
    """A record as MLflow takes it; without the key, outputs would become an empty object."""
    return {name: getattr(record, name) for name in ("inputs", "outputs", "expectations", "tags", "source")}


def _batches(records: Iterable[DatasetRecord]) -> Iterator[list[DatasetRecord]]:
    """Some records at once: few, or small."""
    batch: list[DatasetRecord] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.to_line())
        if len(batch) == _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_back(context: RestoreContext) -> Iterator[Pair | Skipped]:
    """The snapshot's evaluation datasets, then their records, beside what the target has of them, in its own ids."""
    there = set(context.datasets.values())
    sources = {experiment.target_id: source for source, experiment in context.experiments.items()}
    ids = {target_id: source for source, target_id in context.datasets.items()}
    found: dict[str, EvaluationDataset] = {}
    given = read_datasets(context.connection, context.executor, _target_ids(context), limited=False)
    for item in given if there else ():
        if isinstance(item, Skipped):
            yield item
        elif item.dataset_id in there:
            numbers = tuple(sources[number] for number in item.experiment_ids if number in sources)
            source = ids[item.dataset_id]
            update = {"dataset_id": source, "workspace": context.workspace, _LINKS: experiments_in_order(numbers)}
            found[source] = item.model_copy(update=update)
    for own in context.selected.records(EVALUATION_DATASETS):
        theirs = found.get(own.dataset_id)
        yield Pair(own, theirs, restore_tags.with_those_of(theirs, own) if theirs is not None else None)
    for dataset_id, records in _by_dataset(context):
        target_id = context.datasets.get(dataset_id)
        is_there = target_id is not None and dataset_id in found
        yield from _matched(records, read_records(context.connection, target_id or "") if is_there else ())


def _matched(own: Iterable[DatasetRecord], given: Iterable[DatasetRecord | Skipped]) -> Iterator[Pair | Skipped]:
    """Records of one dataset on both sides, by their inputs.

    A restore gives them in the snapshot's order, and within a moment MLflow has them in any: of each side, only those
    wait that came before their like.
    """
    mine: dict[str, DatasetRecord] = {}
    theirs: dict[str, DatasetRecord] = {}
    for left, right in itertools.zip_longest(own, given):
        if isinstance(right, Skipped):
            yield right
        elif right is not None:
            theirs[hash_of_inputs(right.inputs)] = right
            yield from _met(hash_of_inputs(right.inputs), mine, theirs)
        if left is not None:
            mine[hash_of_inputs(left.inputs)] = left
            yield from _met(hash_of_inputs(left.inputs), mine, theirs)
    yield from (Pair(left, None) for left in mine.values())


def _met(key: str, mine: dict[str, DatasetRecord], theirs: dict[str, DatasetRecord]) -> Iterator[Pair]:
    """The pair of one key, where both are there: they wait no longer."""
    if key in mine and key in theirs:
        own, found = mine.pop(key), theirs.pop(key)
        update = {name: getattr(own, name) for name in ("dataset_id", "dataset_record_id")}
        yield Pair(own, found.model_copy(update=update))
