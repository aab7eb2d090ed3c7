"""Writes docs/reference/coverage.md: where a snapshot has each column of MLflow. A test compares both."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow

from mlmeta.schema import MODEL_VERSIONS
from mlmeta.schema.rows import is_known
from mlmeta.stores.sql.known_tables import NEVER, SECRETS
from mlmeta.stores.sql.mapping import Column, KindTable, Table
from mlmeta.stores.sql.tables import DATASET_TABLE, TABLES
from mlmeta.stores.sql.trace_tables import ANALYTICS, SPAN_CONTENT
from tests.builders.everything import mlflows_tables

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "coverage.md"

_METRIC = "the metric's point in `metrics`, or in `runs.metrics` where it is the only one"
_OLD = "left out: MLflow has written nothing there since these became tags"
_INTERNAL = "left out: MLflow's own id of the row, to which nothing else refers"
_DERIVED = "left out: follows from other columns"
_BY_HAND = {
    **{f"metrics.{name}": _METRIC for name in ("run_uuid", "key", "value", "timestamp", "step", "is_nan")},
    **{f"latest_metrics.{n}": "`runs.metrics`" for n in ("run_uuid", "key", "value", "timestamp", "step", "is_nan")},
    **{f"runs.{name}": _OLD for name in ("source_type", "source_name", "entry_point_name", "source_version")},
    **{
        f"datasets.{column.name}": f"`runs.dataset_inputs.dataset.{column.shown_as}`"
        for column in DATASET_TABLE.columns
    },
    "datasets.dataset_uuid": _INTERNAL,
    "datasets.experiment_id": _DERIVED,
    **{
        f"inputs.{name}": "`runs.dataset_inputs`, `runs.model_inputs`, `runs.model_outputs`"
        for name in ("source_type", "source_id", "destination_type", "destination_id")
    },
    "inputs.step": "`runs.model_outputs.step`",
    "inputs.input_uuid": _INTERNAL,
    "input_tags.input_uuid": _INTERNAL,
    "input_tags.name": "`runs.dataset_inputs.tags`",
    "input_tags.value": "`runs.dataset_inputs.tags`",
    **{f"logged_model_{table}.experiment_id": _DERIVED for table in ("params", "tags", "metrics")},
    "logged_model_metrics.dataset_uuid": _DERIVED,
    **{f"trace_info.{name}": "`traces.metadata`" for name in ANALYTICS},
    "trace_info.trace_name": "`traces.tags`",
    "trace_info.db_payload_generation": "left out: a counter by which MLflow finds its own stale work",
    **{f"spans.{name}": "`spans.content`, of which it is a part" for name in (*SPAN_CONTENT, "content")},
    "spans.content": "`spans.content`",
    "spans.trace_id": "`spans.trace_id`",
    "spans.span_id": "`spans.span_id`",
    "spans.experiment_id": _DERIVED,
    "spans.duration_ns": "left out: the database computes it",
    **{
        f"assessments.{name}": _DERIVED
        for name in ("experiment_id", "trace_timestamp_ms", "aggregate_value", "is_numeric_value")
    },
    **{
        f"entity_associations.{name}": "rows; for evaluation datasets `evaluation_datasets.experiment_ids`"
        for name in ("source_type", "source_id", "destination_type", "destination_id")
    },
    **{
        f"entity_associations.{name}": "rows; of evaluation datasets left out, as nothing refers to it"
        for name in ("association_id", "created_time")
    },
}
"""Columns of which `KindTable` says nothing, or not all."""


class UnknownColumnError(Exception):
    """A column of a newer MLflow: say here, or in `stores/sql`, what becomes of it."""


def _fields() -> dict[str, str]:
    """Where columns are that a `KindTable` describes."""
    found: dict[str, str] = {}
    for table in TABLES.values():
        prefix = "models.versions" if table.kind is MODEL_VERSIONS else _path(table)
        _of_table(found, table, prefix)
    return found


def _path(table: KindTable[Any]) -> str:
    wholes = [t for t in TABLES.values() if table in t.parts.values()]
    inner = next((name for t in wholes for name, part in t.parts.items() if part is table), "")
    return f"{wholes[0].kind.name}.{inner}" if wholes else table.kind.name


def _of_table(found: dict[str, str], table: KindTable[Any], prefix: str) -> None:
    owner = prefix.rpartition(".")[0] or prefix
    found.update(_columns(table.name, table.columns, prefix))
    found.update({f"{table.name}.{name}": f"`{owner}`, which it is a part of" for name in table.owner})
    for pairs in table.pairs:
        found.update({f"{pairs.name}.{name}": f"`{prefix}`, which it is a part of" for name in pairs.owner})
        found.update({f"{pairs.name}.{name}": f"`{prefix}.{pairs.field}`" for name in (pairs.key, pairs.value)})
    for name, part in table.parts.items():
        if not isinstance(part, KindTable):
            _of_part(found, part, f"{prefix}.{name}", prefix)


def _of_part(found: dict[str, str], table: Table, prefix: str, owner: str) -> None:
    found.update(_columns(table.name, table.columns, prefix))
    found.update({f"{table.name}.{name}": f"`{owner}`, which it is a part of" for name in table.owner})


def _columns(table: str, columns: tuple[Column, ...], prefix: str) -> Iterator[tuple[str, str]]:
    return ((f"{table}.{column.name}", f"`{prefix}.{column.shown_as}`") for column in columns if column.field)


_FIELDS = _fields()


def place(table: str, column: str) -> str:
    """Where a column is in a snapshot, or why it is not.

    Raises:
        UnknownColumnError: nobody has said.
    """
    name = f"{table}.{column}"
    if table in NEVER:
        return f"left out: {NEVER[table]}"
    if column in SECRETS.get(table, ()):
        return "rows: a secret, of which only is told that there is one"
    if found := _BY_HAND.get(name) or _FIELDS.get(name):
        return found
    if is_known(table):
        return "rows"
    raise UnknownColumnError(name)


_INTRODUCTION = """
Each table and column of MLflow's database, and where a snapshot of the database has it: a field of a record (see
[the snapshot format](snapshot-format.md)), or `rows`, the row as it is. What is left out has a reason. Through a
server, `rows` are not read; they are named instead.

`make docs` writes this page from MLflow's own description of its tables, and a test fails where a new MLflow has a
table or column that it does not name. At run time, such a table is saved as rows all the same.
"""


def page() -> str:
    """The page's text."""
    lines = ["# Coverage", "", *_paragraphs(_INTRODUCTION), "", f"This is MLflow {mlflow.__version__}.", ""]
    lines += ["| table | columns | in a snapshot |", "|---|---|---|"]
    for table in sorted(mlflows_tables(), key=lambda one: one.name):
        for where, columns in _grouped(table.name, [column.name for column in table.columns]).items():
            lines.append(f"| `{table.name}` | {', '.join(f'`{name}`' for name in columns)} | {where} |")
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ""
        yield from textwrap.wrap(" ".join(paragraph.split()), 100)


def _grouped(table: str, columns: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(place(table, column), []).append(column)
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
