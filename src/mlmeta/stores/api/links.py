"""What a restore links in a server: traces to runs and prompts, prompts to experiments. Other rows of tables stay out.

A prompt is a registered model: its text and all else are tags of the model and its versions. They name experiments and
traces, which get or find new ids and links in another server.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from mlmeta.errors import UnknownCallError
from mlmeta.progress import Progress
from mlmeta.schema import ROWS, TRACES
from mlmeta.schema.rows import LINKS
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import RestoreContext
from mlmeta.stores.api.workspaces import TABLE as WORKSPACES
from mlmeta.stores.target import Refusal

_TO_RUN = "/api/2.0/mlflow/traces/link-to-run"
_TO_PROMPTS = "/api/2.0/mlflow/traces/link-prompts"
_AT_ONCE = 100
"""Traces that a server links to a run at once, at most."""

EXPERIMENT_IDS = "_mlflow_experiment_ids"
"""On a prompt: the experiments that it was registered or used in, such as ``,1,7,`` (MLflow 3.5 on)."""
LINKED_PROMPTS = "mlflow.linkedPrompts"
"""On runs, traces and logged models: the versions of prompts that were used."""

_NO_WAY = "MLflow's API has no way to restore them as they were"
_MADE = frozenset({WORKSPACES, "trace_metrics", "span_metrics"})
"""Workspaces are restored by themselves; the others, of MLflow before 3.17, a server makes of its traces."""
_INSTEAD = "restore into the server's database instead: `--tracking-uri postgresql://…`"

Link = tuple[str, str, str, str]
"""Type and id of what is linked, and of what it is linked to."""


def restore(context: RestoreContext, progress: Progress) -> None:
    """Link the traces that the target has by now; `RestoreContext.linked` says of how many rows it has them."""
    tables = context.selected.snapshot.summary.tables
    if LINKS not in tables or not context.selected.selection.means(ROWS):
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
        if row.table == LINKS:
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
    with context.refusing(ROWS.many, f"of {LINKS}", hint=""):
        try:
            if context.writes and count:
                context.connection.call("POST", endpoint, json=body)
        except UnknownCallError:  # a server that has no links: they are named with the rows that stay out
            return
        context.linked += count


def name_others(context: RestoreContext, _: Progress) -> None:
    """Name the tables whose rows stay out."""
    selected = context.selected
    if selected.selection.means(ROWS):
        tables: Mapping[str, int] = selected.snapshot.summary.tables
        if selected.selection.is_limited and tables:
            tables = Counter(row.table for row in selected.records(ROWS))
        for table, total in ((name, tables[name]) for name in tables if name not in _MADE):
            count = total - context.linked if table == LINKS else total
            if count <= 0:
                continue
            refusal = Refusal(
                kind=ROWS.many, id=f"of {table}", reason=f"{count:,}: {_NO_WAY}", code="not_through_api", hint=_INSTEAD
            )
            context.refused.append(refusal)


def tags_in_target(tags: Mapping[str, str], context: RestoreContext) -> tuple[dict[str, str], list[str]]:
    """The tags of a registered model with the target's ids of experiments, and the ids that the target has none for."""
    if EXPERIMENT_IDS not in tags:
        return dict(tags), []
    ids, lost = [], []
    for own in filter(None, (part.strip() for part in tags[EXPERIMENT_IDS].split(","))):
        experiment = context.referred(own)
        if experiment is None:
            lost.append(own)
        else:
            ids.append(experiment.target_id)
    rest = {key: value for key, value in tags.items() if key != EXPERIMENT_IDS}
    return ({**rest, EXPERIMENT_IDS: f",{','.join(ids)},"} if ids else rest), lost


def link_to_trace(connection: Connection, trace_id: str, tags: Mapping[str, str]) -> None:
    """Have a trace found by the prompts that its tag names. Servers before MLflow 3.5 have the tag alone.

    Raises:
        MlflowException: the server refuses.
    """
    if prompts := list(_prompts_in(tags.get(LINKED_PROMPTS, ""))):
        try:
            connection.call("POST", _TO_PROMPTS, json={"trace_id": trace_id, "prompt_versions": prompts})
        except UnknownCallError:
            return


def _prompts_in(text: str) -> Iterator[dict[str, str]]:
    """The versions of prompts in a tag; none in one that MLflow did not write."""
    try:
        found: Any = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and {"name", "version"} <= one.keys() and str(one["version"]).isdecimal():
            yield {"name": str(one["name"]), "version": str(one["version"])}
