"""`mlmeta show --datasets`: the evaluation datasets of a snapshot, and the records of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.show import Shown, experiment_names, experiment_of, where, within_workspaces
from mlmeta.errors import UsageError
from mlmeta.schema import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    DatasetRecord,
    EvaluationDataset,
)
from mlmeta.schema.words import closest
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import open_snapshot


class DatasetRow(BaseModel):
    """An evaluation dataset and the number of its records."""

    model_config = ConfigDict(frozen=True)

    dataset: EvaluationDataset
    records: int


class DatasetList(Shown):
    """Evaluation datasets, those that were changed last first.

    Args:
        experiments: names by id.
        datasets: those that are shown.
        total: number of datasets before the limit.
    """

    experiments: dict[str, str]
    datasets: tuple[DatasetRow, ...]
    total: int


class DatasetDetail(Shown):
    """An evaluation dataset with its records.

    Args:
        dataset: itself.
        experiments: names of those that it belongs to, by id; those that are gone have none.
        records: those that are shown.
        total: number of records before the limit.
    """

    dataset: EvaluationDataset
    experiments: dict[str, str]
    records: tuple[DatasetRecord, ...]
    total: int


def dataset_list(
    selector: str = "latest",
    storage: str = "backups",
    experiment: str | None = None,
    *,
    limit: int | None = None,
    workspaces: str | Sequence[str] = (),
    of_source: str = "",
) -> DatasetList:
    """The evaluation datasets of a snapshot.

    Args:
        selector: which snapshot.
        storage: where it is.
        experiment: name or id of the one whose datasets are wanted; None: of all.
        limit: most datasets; None: all.
        workspaces: whose datasets, and where to look for the experiment; none: of all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such experiment.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
    wanted = experiment_of(snapshot, experiment, workspaces).experiment_id if experiment else ""
    inside = (one for one in snapshot.records(EVALUATION_DATASETS) if selection.has_workspace(one.workspace))
    found = [one for one in inside if not wanted or wanted in one.experiment_ids]
    found.sort(key=lambda one: -(one.last_update_time or 0))
    counts = Counter(record.dataset_id for record in snapshot.records(DATASET_RECORDS))
    return DatasetList(
        **where(snapshot, EVALUATION_DATASETS),
        experiments=experiment_names(snapshot),
        datasets=tuple(DatasetRow(dataset=one, records=counts[one.dataset_id]) for one in found[:limit]),
        total=len(found),
    )


def dataset_detail(
    selector: str, storage: str, name: str, *, limit: int | None = None, of_source: str = ""
) -> DatasetDetail:
    """An evaluation dataset with its records.

    Args:
        selector: which snapshot.
        storage: where it is.
        name: of the dataset, or its id, or the beginning of one that no other has.
        limit: most records; None: all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such dataset, or several.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    dataset, names = _dataset(snapshot, name), experiment_names(snapshot)
    own = (one for one in snapshot.records(DATASET_RECORDS) if one.dataset_id == dataset.dataset_id)
    records = tuple(islice(own, limit))
    return DatasetDetail(
        **where(snapshot),
        dataset=dataset,
        experiments={number: names.get(number, "") for number in dataset.experiment_ids},
        records=records,
        total=len(records) + sum(1 for _ in own),
    )


def _dataset(snapshot: Snapshot, wanted: str) -> EvaluationDataset:
    there = list(snapshot.records(EVALUATION_DATASETS))
    exact = [one for one in there if one.dataset_id == wanted]
    found = exact or [one for one in there if one.name == wanted]
    found = found or [one for one in there if one.dataset_id.removeprefix("d-").startswith(wanted.removeprefix("d-"))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"snapshot {snapshot.timestamp} has no evaluation dataset {wanted!r}",
            hint=f"it has: {closest(wanted, (one.name for one in there))}",
        )
    raise UsageError(
        f"{len(found):,} evaluation datasets are named {wanted!r}, or have ids that begin so",
        hint=f"name one by its id: {', '.join(one.dataset_id for one in found[:10])}",
    )
