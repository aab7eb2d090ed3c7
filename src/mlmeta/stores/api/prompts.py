"""What prompts say of experiments and traces, which get or find new ids and links in another server.

A prompt is a registered model: its text and all else are tags of the model and its versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlmeta.errors import UnknownCallError
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import RestoreContext

EXPERIMENT_IDS = "_mlflow_experiment_ids"
"""On a prompt: the experiments that it was registered or used in, such as ``,1,7,`` (MLflow 3.5 on)."""
LINKED_PROMPTS = "mlflow.linkedPrompts"
"""On runs, traces and logged models: the versions of prompts that were used."""
_LINK = "/api/2.0/mlflow/traces/link-prompts"


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
    if prompts := list(_linked(tags.get(LINKED_PROMPTS, ""))):
        try:
            connection.call("POST", _LINK, json={"trace_id": trace_id, "prompt_versions": prompts})
        except UnknownCallError:
            return


def _linked(text: str) -> Iterator[dict[str, str]]:
    """The versions of prompts in a tag; none in one that MLflow did not write."""
    try:
        found: Any = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and {"name", "version"} <= one.keys() and str(one["version"]).isdecimal():
            yield {"name": str(one["name"]), "version": str(one["version"])}
