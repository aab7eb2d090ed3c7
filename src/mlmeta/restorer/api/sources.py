"""Where a model version's files are, said so that a server with new run ids takes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlmeta.restorer.api.state import State
from mlmeta.schema import ModelVersion


@dataclass(frozen=True)
class Repointed:
    """What to register a version with."""

    source: str | None
    run_id: str | None


def repoint(version: ModelVersion, state: State) -> Repointed:
    """The source and run to register a version with.

    A ``runs:/`` or ``models:/m-…`` source names a run or logged model by an id that the target does not have; the
    place in the bucket it stood for is named instead. A run that was not restored keeps its original id: the server
    takes it, and it is as good as it was.
    """
    source = version.source
    if source and source.startswith("runs:/"):
        source = _from_run(source, state) or source
    elif source and source.startswith("models:/m-"):
        source = _from_logged_model(source, version, state) or source
    source = state.rewritten("model versions", source)
    run_id = version.run_id
    return Repointed(source, (state.target_run(run_id) or run_id) if run_id else None)


def references(versions: Iterable[ModelVersion]) -> tuple[set[str], set[str]]:
    """The ids of the runs and of the logged models that versions refer to."""
    runs: set[str] = set()
    logged: set[str] = set()
    for version in versions:
        runs.add(version.run_id or "")
        scheme, _, rest = (version.source or "").partition(":/")
        if scheme in {"runs", "models"}:
            (runs if scheme == "runs" else logged).add(rest.strip("/").partition("/")[0])
    return runs, logged


def _from_run(source: str, state: State) -> str | None:
    run_id, _, path = source.removeprefix("runs:/").strip("/").partition("/")
    root = state.artifact_uris.get(run_id)
    return f"{root.rstrip('/')}/{path}".rstrip("/") if root else None


def _from_logged_model(source: str, version: ModelVersion, state: State) -> str | None:
    """MLflow 3 keeps a logged model's files in its experiment's ``models/<id>/artifacts``."""
    model_id, _, path = source.removeprefix("models:/").strip("/").partition("/")
    if model_id in state.model_locations:
        return f"{state.model_locations[model_id].rstrip('/')}/{path}".rstrip("/")
    root = state.artifact_uris.get(version.run_id or "")
    if not root or "/artifacts" not in root:
        return None
    experiment = root.rstrip("/").removesuffix("/artifacts").rpartition("/")[0]
    return f"{experiment}/models/{model_id}/artifacts/{path}".rstrip("/")
