"""Links of traces to runs and to versions of prompts: rows of a database, for which a server has calls of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from mlmeta.errors import UnknownCallError
from mlmeta.progress import Progress
from mlmeta.schema import ROWS, TRACES
from mlmeta.stores.api.context import RestoreContext

TABLE = "entity_associations"
_TO_RUN = "/api/2.0/mlflow/traces/link-to-run"
_TO_PROMPTS = "/api/2.0/mlflow/traces/link-prompts"
_AT_ONCE = 100
"""Traces that a server links to a run at once, at most."""

Link = tuple[str, str, str, str]
"""Type and id of what is linked, and of what it is linked to."""


def restore(context: RestoreContext, progress: Progress) -> None:
    """Link the traces that the target has by now; `RestoreContext.linked` says of how many rows it has them."""
    tables = context.selected.snapshot.summary.tables
    if TABLE not in tables or not context.selected.selection.means(ROWS):
        return
    progress.phase("linking traces")
    runs: dict[str, list[str]] = defaultdict(list)
    prompts: dict[str, list[str]] = defaultdict(list)
    absent = {refusal.id for refusal in context.refused if refusal.kind == TRACES.one and not refusal.field}
    for source, source_id, destination, destination_id in _links(context):
        if (source, destination) == ("trace", "run") and source_id not in absent:
            runs[destination_id].append(source_id)
        elif (source, destination) == ("trace", "prompt_version") and source_id not in absent:
            prompts[source_id].append(destination_id)
    for run_id, trace_ids in runs.items():
        _to_run(run_id, trace_ids, context)
    for trace_id, versions in prompts.items():
        _to_prompts(trace_id, versions, context)


def _links(context: RestoreContext) -> Iterator[Link]:
    for row in context.selected.records(ROWS):
        if row.table == TABLE:
            found = row.values
            names = ("source_type", "source_id", "destination_type", "destination_id")
            source, source_id, destination, destination_id = (str(found.get(name)) for name in names)
            yield source, source_id, destination, destination_id


def _to_run(run_id: str, trace_ids: list[str], context: RestoreContext) -> None:
    target_id = context.target_run_id(run_id)
    if target_id is None and run_id not in context.coming_runs:
        return
    for start in range(0, len(trace_ids), _AT_ONCE):
        some = trace_ids[start : start + _AT_ONCE]
        _link(_TO_RUN, {"trace_ids": some, "run_id": target_id}, len(some), context)


def _to_prompts(trace_id: str, versions: list[str], context: RestoreContext) -> None:
    named = [version.rpartition("/") for version in versions]
    prompts = [{"name": name, "version": number} for name, _, number in named if name and number.isdecimal()]
    _link(_TO_PROMPTS, {"trace_id": trace_id, "prompt_versions": prompts}, len(prompts), context)


def _link(endpoint: str, body: dict[str, object], count: int, context: RestoreContext) -> None:
    with context.refusing(ROWS.many, f"of {TABLE}", hint=""):
        try:
            if context.writes and count:
                context.connection.call("POST", endpoint, json=body)
        except UnknownCallError:  # a server that has no links: they are named with the rows that stay out
            return
        context.linked += count
