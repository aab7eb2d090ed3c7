"""Steps of a restore for evaluation datasets and their records."""

from __future__ import annotations

from collections.abc import Sequence

from mlmeta.schema import EVALUATION_DATASETS, DatasetRecord, EvaluationDataset
from mlmeta.stores.sql.changes import TargetChange
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.tables import DATASET_RECORD_TABLE, EVALUATION_DATASET_TABLE
from mlmeta.stores.sql.writer import RowWriter

_LINKS = "experiment_ids"


class EvaluationDatasetStep(Step[EvaluationDataset]):
    """Decides about evaluation datasets, and remembers which of them records may go into."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(EVALUATION_DATASET_TABLE, context)

    def _has_place(self, stored: EvaluationDataset) -> bool:
        if problem := self._workspace_problem(stored):
            self._misfit(stored, problem)
            return False
        return super()._has_place(stored)

    def _create(self, stored: EvaluationDataset) -> None:
        self._context.datasets[stored.dataset_id] = True
        super()._create(self._with_links(stored))

    def _merge(self, stored: EvaluationDataset, found: EvaluationDataset, differences: Sequence[TargetChange]) -> None:
        super()._merge(self._with_links(stored), found, differences)

    def _with_links(self, stored: EvaluationDataset) -> EvaluationDataset:
        """Without the experiments that it can't belong to in the target; that is noted."""
        kept = tuple(number for number in stored.experiment_ids if self._is_meant(number))
        if len(kept) < len(stored.experiment_ids):
            lost = ", ".join(number for number in stored.experiment_ids if number not in kept)
            reason = f"it belongs to experiments that the target has no place for, or others under their id: {lost}"
            self._tally.leave_out(*self._key(stored), reason, _LINKS)
            return stored.model_copy(update={_LINKS: kept})
        return stored

    def _is_meant(self, experiment_id: str) -> bool:
        """Whether the target's experiment of an id is the snapshot's; or neither has one, as after `mlflow gc`."""
        context = self._context
        if experiment_id in context.open:
            return True
        is_there = experiment_id.isdecimal() and int(experiment_id) in self._existing.experiments
        return not is_there and experiment_id not in context.known

    def _present(self, stored: EvaluationDataset, *given: object, **named: object) -> None:
        self._context.datasets[stored.dataset_id] = False
        super()._present(stored, *given, **named)  # type: ignore[arg-type]


class DatasetRecordStep(Step[DatasetRecord]):
    """Decides about the records of evaluation datasets, of which MLflow takes each input once."""

    WITHIN = EVALUATION_DATASETS

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(DATASET_RECORD_TABLE, context)
        self._taken: dict[tuple[str, str], str] = {}

    def take(self, records: Sequence[DatasetRecord]) -> None:
        """See `Step.take`."""
        older = {record.dataset_id for record in records if not self._context.datasets.get(record.dataset_id, True)}
        inputs = [(record.dataset_id, record.identity) for record in records if record.dataset_id in older]
        self._taken = self._existing.records_of_inputs(inputs) if inputs else {}
        super().take(records)

    def _has_place(self, stored: DatasetRecord) -> bool:
        if stored.dataset_id not in self._context.datasets:
            self._shut_out[stored.dataset_id].append(self._key(stored))
            return False
        other = self._taken.get((stored.dataset_id, stored.identity))
        if other is not None:
            self._conflict(stored, f"its dataset has these inputs already, as record {other}")
            return False
        return super()._has_place(stored)

    def _create(self, stored: DatasetRecord) -> None:
        super()._create(stored)
        if not self._context.datasets[stored.dataset_id]:
            self._do(RowWriter.count_records, stored.dataset_id)
