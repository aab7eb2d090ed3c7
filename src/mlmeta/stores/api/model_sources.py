"""Where a model version's files are, said so that a server with new run ids takes it; and what no server takes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

from mlmeta.schema import ModelVersion
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import State

DATABASE_HINT = "restore into the server's database instead: it keeps ids, version numbers and all sources"

STRICT_SINCE = (3, 17)
"""Since then, MLflow takes ``runs:``, ``models:/m-…`` and ``mlflow-artifacts:`` only with what made them named."""

_LOGGED_MODEL = re.compile(r"/models/(m-[^/]+)(?:/|$)")
_IS_PROMPT = "mlflow.prompt.is_prompt"


@dataclass(frozen=True)
class Repointed:
    """What to register a version with.

    Args:
        source: where its files are.
        run_id: the target's run.
        model_id: the target's logged model, where the server asks for it.
    """

    source: str | None
    run_id: str | None
    model_id: str | None = None


def repoint(version: ModelVersion, state: State) -> Repointed:
    """The source and run to register a version with.

    A ``runs:/`` or ``models:/m-…`` source names a run or logged model by an id that the target does not have, unless it
    is the very server; the place in the bucket it stood for is named instead. A run that was not restored keeps its
    original id: the server takes it, and it is as good as it was.
    """
    source = version.source if _is_native(version.source or "", state) else _located(version, state)
    run_id = version.run_id
    run_id = (state.target_run(run_id) or run_id) if run_id else None
    return Repointed(state.rewritten("model versions", source), run_id, _native_model(source, state))


def is_same_source(source: str | None, tags: dict[str, str], version: ModelVersion, state: State) -> bool:
    """Whether a version in the target has the source of the snapshot's version.

    In the very server that the snapshot is of it is the original one; where a restore registered it, it is what that
    wrote, with or without rewritten locations.

    Args:
        source: of the version in the target.
        tags: of it.
        version: of the snapshot.
        state: what is known of the target.
    """
    located = _located(version, state)
    known = {uri or None for wanted in (version.source, located) for uri in (wanted, state.rewriter.preview(wanted))}
    return (source or None) in known or tags.get(restore_tags.SOURCE_URI) == (version.source or "")


def is_same_run(run_id: str | None, version: ModelVersion, state: State) -> bool:
    """Whether a version in the target is of the same run as the snapshot's, under its own id or its new one."""
    wanted = version.run_id or None
    return (run_id or None) in {wanted, state.target_run(wanted) if wanted else None}


def obstacle(version: ModelVersion, wanted: Repointed, state: State) -> str:
    """Why a server won't register a version with that source; empty: nothing is known that speaks against it."""
    source = wanted.source
    if not source:
        return "it has no source, and a server asks for one"
    if version.tags.get(_IS_PROMPT, "").lower() == "true" or _is_contained(wanted, state):
        return ""
    if _is_local(source) or _is_bound(source, state):
        return f"a server takes {source} only with the very run or logged model that made it: restore into its database"
    if not _is_plain(source):
        return f"a server takes no source with relative parts: {source}"
    return f"a server takes no source on another host: {source}" if is_elsewhere(source, state) else ""


def is_elsewhere(location: str | None, state: State) -> bool:
    """Whether a location is on a web server that is not the target's own store of artifacts."""
    scheme = urlsplit(location or "").scheme
    return state.is_strict and scheme in {"http", "https"} and not state.is_own_host(location or "")


class References(NamedTuple):
    """What versions refer to: ids of runs and of logged models, and other versions as ``name/number``."""

    runs: set[str]
    logged_models: set[str]
    versions: set[str]


def references(versions: Iterable[ModelVersion]) -> References:
    """What the runs and sources of versions refer to."""
    found = References(set(), set(), set())
    for version in versions:
        found.runs.add(version.run_id or "")
        scheme, _, rest = (version.source or "").partition(":/")
        rest = rest.strip("/")
        if scheme == "runs":
            found.runs.add(rest.partition("/")[0])
        elif scheme == "models" and rest.startswith("m-"):
            found.logged_models.add(rest.partition("/")[0])
        elif scheme == "models":
            found.versions.add(rest)
    return found


def _located(version: ModelVersion, state: State) -> str | None:
    """The place in the bucket that a source stands for; the source itself where that is not known."""
    source = version.source
    if not source:
        return source
    scheme, _, rest = source.partition(":/")
    if scheme == "runs":
        return _from_run(source, state) or source
    if scheme == "models" and rest.startswith("m-"):
        return _from_logged_model(source, version, state) or source
    if scheme == "models":
        return version.storage_location or state.version_sources.get(rest.strip("/")) or source
    return source


def _is_native(source: str, state: State) -> bool:
    """Whether a source names a run or logged model that the target has under that very id."""
    scheme, _, rest = source.partition(":/")
    first = rest.strip("/").partition("/")[0]
    return (scheme == "runs" and first in state.native) or (scheme == "models" and first in state.native_models)


def _native_model(source: str | None, state: State) -> str | None:
    """The target's logged model that a source is of, where it has that very one."""
    if not source:
        return None
    if source.startswith("models:/m-"):
        model_id = source.removeprefix("models:/").strip("/").partition("/")[0]
    else:
        found = _LOGGED_MODEL.search(source)
        model_id = found.group(1) if found else ""
    return model_id if model_id in state.native_models else None


def _is_local(source: str) -> bool:
    return urlsplit(source).scheme in {"", "file"}


def _is_bound(source: str, state: State) -> bool:
    """Whether a server asks for the run or logged model that contains a source which is not local."""
    scheme = urlsplit(source).scheme
    through_server = scheme in {"http", "https"} and "/api/2.0/mlflow-artifacts/artifacts" in urlsplit(source).path
    named = scheme in {"runs", "mlflow-artifacts"} or source.startswith("models:/m-")
    return state.is_strict and (named or through_server)


def _is_contained(wanted: Repointed, state: State) -> bool:
    """Whether the run or logged model that is named is the target's own, and the source is in it."""
    source, run_id = wanted.source or "", wanted.run_id or ""
    if source.startswith("models:/"):
        return wanted.model_id is not None
    if source.startswith("runs:/"):
        return run_id in state.native and source.removeprefix("runs:/").strip("/").partition("/")[0] == run_id
    if wanted.model_id is not None:
        return _is_within(source, state.native_models[wanted.model_id])
    return run_id in state.native and _is_within(source, state.artifact_uris.get(run_id, ""))


def _is_within(source: str, root: str) -> bool:
    inner, outer = _parts(source), _parts(root)
    return bool(outer[2]) and inner[:2] == outer[:2] and inner[2][: len(outer[2])] == outer[2]


def _parts(uri: str) -> tuple[str, str, list[str]]:
    split = urlsplit(uri.removeprefix("file://") if uri.startswith("file:///") else uri)
    return split.scheme, split.netloc.lower(), [unquote(part) for part in split.path.split("/") if part]


def _is_plain(source: str) -> bool:
    """Whether a source has no relative parts, as a server sees it."""
    while (unquoted := unquote_plus(source)) != source:
        source = unquoted
    path = re.sub(r"/+", "/", urlsplit(source).path.rstrip("/"))
    return "\0" not in path and ".." not in source.split("/") and path != "" and posixpath.normpath(path) == path


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
