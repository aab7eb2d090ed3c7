"""What there is to see of `mlmeta show --traces` and `--datasets`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlmeta.cli import text
from mlmeta.cli.text import Elastic, Pairs, Styled, Table

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Cell, Piece
    from mlmeta.commands.show_genai import DatasetDetail, DatasetList, DatasetRow, SpanNode, TraceDetail, TraceList
    from mlmeta.schema import Assessment, DatasetRecord, Trace

_TOKENS = "mlflow.trace.tokenUsage"
_COST = "mlflow.trace.cost"
_SHOWN = {"session": "mlflow.trace.session", "user": "mlflow.trace.user", "run": "mlflow.sourceRun"}
_NAME = "mlflow.traceName"
_MOST_SPANS = 200
_EMPTY: tuple[Any, ...] = (None, {}, [], "")


def trace_list(result: TraceList, **_: object) -> list[Block]:
    """A row for each trace."""
    if not result.total:
        return ["No traces."]
    columns = ("TRACE", "EXPERIMENT", "NAME", "STATE", "STARTED (UTC)", "DURATION", "TOKENS", "ASSESSED")
    most = text.shortest([_bare(trace) for trace in result.traces])
    rows = [_trace_row(trace, result.experiments, most) for trace in result.traces]
    return [
        Table(
            columns,
            rows,
            right=("DURATION", "TOKENS", "ASSESSED"),
            whole=("TRACE", "STATE", "STARTED (UTC)"),
            spare=("ASSESSED", "TOKENS", "EXPERIMENT"),
        ),
        *text.more(result.total, len(result.traces)),
    ]


def _bare(trace: Trace) -> str:
    return trace.trace_id.removeprefix("tr-")


def _trace_row(trace: Trace, experiments: Mapping[str, str], most: int) -> tuple[Cell, ...]:
    total = _numbers(trace, _TOKENS).get("total_tokens")
    return (
        Elastic(trace.trace_id, _bare(trace)[:most]),
        experiments.get(trace.experiment_id, trace.experiment_id),
        trace.tags.get(_NAME, "-"),
        Styled(trace.state, "red" if trace.state == "ERROR" else ""),
        text.when(trace.timestamp),
        text.duration(trace.duration),
        f"{total:,}" if total is not None else "-",
        str(len(trace.assessments) or "-"),
    )


def trace_detail(result: TraceDetail, *, verbose: bool, **_: object) -> list[Block]:
    """Everything of a trace: what it is, its spans, what people and judges think of it."""
    trace = result.trace
    told = {
        "trace id": trace.trace_id,
        "name": trace.tags.get(_NAME, "-"),
        "experiment": f"{result.experiment} ({trace.experiment_id})",
        "state": trace.state,
        "started": text.moment(trace.timestamp),
        "duration": text.duration(trace.duration),
        "tokens": _listed(_numbers(trace, _TOKENS), "_tokens"),
        "cost": _listed(_numbers(trace, _COST), "_cost"),
        **{word: trace.metadata.get(key, "") for word, key in _SHOWN.items()},
        "request": trace.request_preview or "",
        "response": trace.response_preview or "",
    }
    blocks: list[Block] = [Pairs("", {key: value for key, value in told.items() if value})]
    blocks += _spans(result, verbose=verbose)
    if trace.assessments:
        columns = ("ASSESSMENT", "TYPE", "VALUE", "BY", "RATIONALE")
        blocks += ["", Table(columns, [_assessment(one) for one in trace.assessments])]
    for title, pairs in {"tags": trace.tags, "metadata": trace.metadata}.items():
        if pairs:
            blocks.append(Pairs(title, pairs))
    return blocks


def _spans(result: TraceDetail, *, verbose: bool) -> Iterator[Block]:
    if not result.spans:
        yield Styled(f"no spans in this snapshot: they are in {result.trace.spans_location}", "dim")
        return
    shown = result.spans if verbose else result.spans[:_MOST_SPANS]
    begin = min((node.start for node in result.spans if node.start is not None), default=0)
    rows = [_span(node, begin) for node in shown]
    yield ""
    yield Table(("SPAN", "TYPE", "STATUS", "AFTER", "DURATION"), rows, right=("AFTER", "DURATION"))
    if more := len(result.spans) - len(shown):
        yield Styled(f"… and {more:,} more: --verbose shows them", "dim")
    if verbose:
        yield from (Pairs(node.name, told) for node in result.spans if (told := _attributes(node)))


def _span(node: SpanNode, begin: int) -> tuple[Piece, ...]:
    after = (node.start - begin) / 1e6 if node.start is not None else None
    took = (node.end - node.start) / 1e6 if node.start is not None and node.end is not None else None
    return (
        "  " * node.depth + node.name,
        node.type,
        Styled(node.status, "red" if node.status == "ERROR" else ""),
        text.duration(after),
        text.duration(took),
    )


def _attributes(node: SpanNode) -> dict[str, str]:
    """What a span was given, and what it gave back."""
    found = node.content.get("attributes") if isinstance(node.content, dict) else None
    attributes = found if isinstance(found, dict) else {}
    words = {"inputs": "mlflow.spanInputs", "outputs": "mlflow.spanOutputs"}
    return {word: str(attributes[key]) for word, key in words.items() if attributes.get(key)}


def _assessment(one: Assessment) -> tuple[Piece, ...]:
    value = f"error: {one.error.error_code}" if one.error else json.dumps(one.value, ensure_ascii=False)
    name = one.name if one.valid else f"{one.name} (replaced)"
    return name, one.type, value, f"{one.source_type.lower()} {one.source_id or ''}".strip(), one.rationale or "-"


def _numbers(trace: Trace, key: str) -> dict[str, Any]:
    """Numbers that MLflow keeps as JSON in a trace's metadata; none where they are something else."""
    try:
        found = json.loads(trace.metadata.get(key, "{}"))
    except (ValueError, RecursionError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in items if type(value) in {int, float}}


def _listed(numbers: Mapping[str, Any], suffix: str) -> str:
    return ", ".join(f"{value:,} {name.removesuffix(suffix).replace('_', ' ')}" for name, value in numbers.items())


def dataset_list(result: DatasetList, **_: object) -> list[Block]:
    """A row for each dataset."""
    if not result.total:
        return ["No evaluation datasets."]
    columns = ("DATASET", "NAME", "RECORDS", "EXPERIMENTS", "UPDATED (UTC)")
    most = text.shortest([row.dataset.dataset_id.removeprefix("d-") for row in result.datasets])
    rows = [_dataset_row(row, result.experiments, most) for row in result.datasets]
    return [
        Table(columns, rows, right=("RECORDS",), whole=("DATASET", "UPDATED (UTC)")),
        *text.more(result.total, len(result.datasets)),
    ]


def _dataset_row(row: DatasetRow, names: Mapping[str, str], most: int) -> tuple[Cell, ...]:
    dataset = row.dataset
    return (
        Elastic(dataset.dataset_id, dataset.dataset_id.removeprefix("d-")[:most]),
        dataset.name,
        f"{row.records:,}",
        ", ".join(names.get(number, number) for number in dataset.experiment_ids) or "-",
        text.when(dataset.last_update_time),
    )


def dataset_detail(result: DatasetDetail, **_: object) -> list[Block]:
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
    return (*("-" if part in _EMPTY else _plain(part) for part in parts), record.source_type or "-")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
