"""`mlmeta show --datasets`: what there is to see of evaluation datasets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlmeta.cli import text
from mlmeta.cli.text import Elastic, Pairs, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlmeta.cli.text import Block, Cell
    from mlmeta.commands.show_genai import DatasetDetail, DatasetList, DatasetRow
    from mlmeta.schema import DatasetRecord

_NOTHING: tuple[Any, ...] = (None, {}, [], "")


def datasets(result: DatasetList, **_: bool) -> list[Block]:
    """A row for each dataset."""
    if not result.total:
        return ["No evaluation datasets."]
    columns = ("DATASET", "NAME", "RECORDS", "EXPERIMENTS", "UPDATED (UTC)")
    most = text.shortest([row.dataset.dataset_id.removeprefix("d-") for row in result.datasets])
    rows = [_row(row, result.experiments, most) for row in result.datasets]
    return [
        Table(columns, rows, right=("RECORDS",), whole=("DATASET", "UPDATED (UTC)")),
        *text.more(result.total, len(result.datasets)),
    ]


def _row(row: DatasetRow, names: Mapping[str, str], most: int) -> tuple[Cell, ...]:
    dataset = row.dataset
    return (
        Elastic(dataset.dataset_id, dataset.dataset_id.removeprefix("d-")[:most]),
        dataset.name,
        f"{row.records:,}",
        ", ".join(names.get(number, number) for number in dataset.experiment_ids) or "-",
        text.when(dataset.last_update_time),
    )


def detail(result: DatasetDetail, **_: bool) -> list[Block]:
    """What a dataset is, and its records, a line for each."""
    dataset = result.dataset
    told = {
        "dataset id": dataset.dataset_id,
        "name": dataset.name,
        "experiments": ", ".join(f"{name or '-'} ({number})" for number, name in result.experiments.items()) or "-",
        "records": f"{result.total:,}",
        "created": f"{text.moment(dataset.created_time)} {_by(dataset.created_by)}".strip(),
        "updated": f"{text.moment(dataset.last_update_time)} {_by(dataset.last_updated_by)}".strip(),
        "digest": dataset.digest or "-",
    }
    blocks: list[Block] = [Pairs("", told)]
    if dataset.tags:
        blocks.append(Pairs("tags", dataset.tags))
    if result.records:
        columns = ("INPUTS", "OUTPUTS", "EXPECTATIONS", "TAGS", "SOURCE")
        rows = [_record(record) for record in result.records]
        used = [i for i in range(len(columns)) if i == 0 or any(row[i] != "-" for row in rows)]
        blocks += ["", Table([columns[i] for i in used], [[row[i] for i in used] for row in rows])]
    return [*blocks, *text.more(result.total, len(result.records))]


def _by(user: str | None) -> str:
    return f"by {user}" if user else ""


def _record(record: DatasetRecord) -> tuple[str, ...]:
    parts = (record.inputs, record.outputs, record.expectations, record.tags)
    return (*("-" if part in _NOTHING else _json(part) for part in parts), record.source_type or "-")


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
