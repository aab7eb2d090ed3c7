"""All kinds of record: what a snapshot can hold, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlmeta.schema.auth import AUTH
from mlmeta.schema.evaluation import DATASET_RECORDS, EVALUATION_DATASETS
from mlmeta.schema.experiments import EXPERIMENTS
from mlmeta.schema.kind import Kind, Record
from mlmeta.schema.logged_models import LOGGED_MODELS
from mlmeta.schema.metrics import HistoryLine
from mlmeta.schema.models import MODELS
from mlmeta.schema.rows import ROWS
from mlmeta.schema.runs import METRICS, RUNS
from mlmeta.schema.spans import CheckedSpan, SpanLine
from mlmeta.schema.traces import SPANS, TRACES

FollowerLine = HistoryLine | SpanLine
"""A record that follows another, as the line that a snapshot has of it."""

Line = Record | FollowerLine
"""What can be written as a line of a snapshot."""

KINDS: dict[str, Kind[Record]] = {
    kind.name: kind  # type: ignore[misc]
    for kind in (
        *(EXPERIMENTS, RUNS, METRICS, LOGGED_MODELS, TRACES, SPANS, EVALUATION_DATASETS, DATASET_RECORDS),
        *(MODELS, ROWS, AUTH),
    )
}
"""All kinds that have a file, in the order in which a snapshot's files are published and read."""

SCHEMA_VERSION = "1.2"
"""Major: readers must understand it. Minor: fields and kinds were added; 1.1 brought logged models, 1.2 traces,
evaluation datasets and rows."""

WITH_PARTS: tuple[Kind[Record], ...] = tuple(one for kind in KINDS.values() for one in (kind, *kind.parts.values()))
"""All kinds, each followed by those whose records are parts of its own."""

FOLLOWERS: dict[str, Kind[Record]] = {kind.follows.name: kind for kind in KINDS.values() if kind.follows is not None}
"""The kinds whose records follow others, by the name of the kind that leads them."""

_LINES: dict[type, Kind[Record]] = {HistoryLine: KINDS[METRICS.name], SpanLine: KINDS[SPANS.name]}
FOLLOWING: tuple[Any, ...] = (*_LINES, *(kind.record for kind in FOLLOWERS.values()))
"""The classes of records that follow others: for `isinstance`."""

_BY_RECORD: dict[type, Kind[Record]] = {kind.record: kind for kind in WITH_PARTS} | _LINES
_BY_RECORD[CheckedSpan] = KINDS[SPANS.name]


def kind_of(record: Line) -> Kind[Record]:
    """The kind that a record is of."""
    return _BY_RECORD[type(record)]


def leading_kinds() -> Iterator[Kind[Record]]:
    """The kinds whose records stand by themselves, in the order of `KINDS`; each is followed by those of others."""
    return (kind for kind in KINDS.values() if kind.follows is None)
