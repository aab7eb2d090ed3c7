"""Where a model version's files are, said so that a server with new run ids takes it; and what no server takes."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus, urlsplit

from mlmeta.schema import LOGGED_MODELS, MODEL_VERSIONS, MODELS, RUNS, ModelVersion
from mlmeta.schema.models import IS_PROMPT
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import RestoreContext

DATABASE_HINT = "restore into the server's database instead: it keeps ids, version numbers and all sources"

STRICT_SINCE = (3, 17)
"""Since then, MLflow takes ``runs:``, ``models:/m-…`` and ``mlflow-artifacts:`` only with what made them named."""

_LOGGED_MODEL = re.compile(r"/models/(m-[^/]+)(?:/|$)")


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


def repoint(version: ModelVersion, context: RestoreContext) -> Repointed:
    """The source and run to register a version with.

    A ``runs:/`` or ``models:/m-…`` source names a run or logged model by an id that the target does not have, unless it
    is the very server; the place in the bucket it stood for is named instead. A run that was not restored keeps its
    original id: the server takes it, and it is as good as it was.
    """
    source = version.source if _is_native(version.source or "", context) else _located(version, context)
    run_id = version.run_id
    run_id = (context.target_run_id(run_id) or run_id) if run_id else None
    return Repointed(context.rewritten(MODEL_VERSIONS, source), run_id, _native_model(source, context))


def is_same_source(source: str | None, tags: dict[str, str], version: ModelVersion, context: RestoreContext) -> bool:
    """Whether a version in the target has the source of the snapshot's version.

    In the very server that the snapshot is of it is the original one; where a restore registered it, it is what that
    wrote, with or without rewritten locations.

    Args:
        source: of the version in the target.
        tags: of it.
        version: of the snapshot.
        context: what is known of the target.
    """
    located = _located(version, context)
    known = {uri or None for wanted in (version.source, located) for uri in (wanted, context.rewriter.preview(wanted))}
    return (source or None) in known or tags.get(restore_tags.SOURCE_URI) == (version.source or "")


def is_same_run(run_id: str | None, version: ModelVersion, context: RestoreContext) -> bool:
    """Whether a version in the target is of the same run as the snapshot's, under its own id or its new one."""
    wanted = version.run_id or None
    return (run_id or None) in {wanted, context.target_run_id(wanted) if wanted else None}


def obstacle(version: ModelVersion, wanted: Repointed, context: RestoreContext) -> str:
    """Why a server won't register a version with that source; empty: nothing is known that speaks against it."""
    source = wanted.source
    if not source:
        return "it has no source, and a server asks for one"
    if version.tags.get(IS_PROMPT, "").lower() == "true" or _is_contained(wanted, context):
        return ""
    if _is_local(source) or _is_bound(source, context):
        return f"a server takes {source} only with the very run or logged model that made it: restore into its database"
    if not _is_plain(source):
        return f"a server takes no source with relative parts: {source}"
    return f"a server takes no source on another host: {source}" if is_elsewhere(source, context) else ""


def is_elsewhere(location: str | None, context: RestoreContext) -> bool:
    """Whether a location is on a web server that is not the target's own store of artifacts."""
    scheme = urlsplit(location or "").scheme
    return context.is_strict and scheme in {"http", "https"} and not context.is_own_host(location or "")


def survey(context: RestoreContext) -> None:
    """Note where the files are of what the snapshot's versions refer to: runs, logged models and other versions."""
    if not context.selected.selection.means(MODELS):
        return
    snapshot, locations = context.selected.snapshot, context.locations
    wanted = set(itertools.chain.from_iterable(_references(version) for _, version in _versions(context)))
    for run in snapshot.records(RUNS):
        if f"runs:/{run.run_id}" in wanted and run.artifact_uri:
            locations[f"runs:/{run.run_id}"] = run.artifact_uri
    to_models = [uri for uri in wanted if uri.startswith("models:/")]
    for made in snapshot.records(LOGGED_MODELS) if any(map(_is_logged_model, to_models)) else ():
        if f"models:/{made.model_id}" in wanted and made.artifact_location:
            locations[f"models:/{made.model_id}"] = made.artifact_location
    for uri, version in _versions(context) if not all(map(_is_logged_model, to_models)) else ():
        if uri in wanted and version.source and not version.source.startswith("models:"):
            locations[uri] = version.source


def _versions(context: RestoreContext) -> Iterator[tuple[str, ModelVersion]]:
    """All versions in a workspace of a snapshot, with the URIs by which sources name them."""
    models = (one for one in context.selected.snapshot.records(MODELS) if one.workspace == context.workspace)
    return ((f"models:/{m.name}/{version.version}", version) for m in models for version in m.versions)


def _references(version: ModelVersion) -> tuple[str, str]:
    """What the run and the source of a version refer to."""
    return f"runs:/{version.run_id or ''}", _referred(version.source or "")[0]


def _referred(source: str) -> tuple[str, str]:
    """What a source refers to, as in `RestoreContext.locations`, and the path in it; empty: it says itself where."""
    scheme, _, rest = source.partition(":/")
    rest = rest.strip("/")
    if scheme == "models" and not rest.startswith("m-"):
        return f"models:/{rest}", ""
    name, _, path = rest.partition("/")
    return (f"{scheme}:/{name}", path) if scheme in {"runs", "models"} else ("", "")


def _is_logged_model(uri: str) -> bool:
    return uri.startswith("models:/m-")


def _located(version: ModelVersion, context: RestoreContext) -> str | None:
    """The place in the bucket that a source stands for; the source itself where that is not known."""
    source = version.source or ""
    uri, path = _referred(source)
    root = context.locations.get(uri)
    if _is_logged_model(uri):
        root = root or _folder_beside_run(uri, version, context)
    elif uri.startswith("models:/"):
        return version.storage_location or root or source
    return f"{root.rstrip('/')}/{path}".rstrip("/") if root else version.source


def _folder_beside_run(uri: str, version: ModelVersion, context: RestoreContext) -> str | None:
    """MLflow 3 keeps a logged model's files in its experiment's ``models/<id>/artifacts``."""
    root = context.locations.get(f"runs:/{version.run_id or ''}")
    if not root or "/artifacts" not in root:
        return None
    experiment = root.rstrip("/").removesuffix("/artifacts").rpartition("/")[0]
    return f"{experiment}/models/{uri.removeprefix('models:/')}/artifacts"


def _is_native(source: str, context: RestoreContext) -> bool:
    """Whether a source names a run or logged model that the target has under that very id."""
    scheme, _, name = _referred(source)[0].partition(":/")
    return name in (context.native if scheme == "runs" else context.native_models)


def _native_model(source: str | None, context: RestoreContext) -> str | None:
    """The target's logged model that a source is of, where it has that very one."""
    if not source:
        return None
    if source.startswith("models:/m-"):
        model_id = source.removeprefix("models:/").strip("/").partition("/")[0]
    else:
        found = _LOGGED_MODEL.search(source)
        model_id = found.group(1) if found else ""
    return model_id if model_id in context.native_models else None


def _is_local(source: str) -> bool:
    return urlsplit(source).scheme in {"", "file"}


def _is_bound(source: str, context: RestoreContext) -> bool:
    """Whether a server asks for the run or logged model that contains a source which is not local."""
    scheme = urlsplit(source).scheme
    through_server = scheme in {"http", "https"} and "/api/2.0/mlflow-artifacts/artifacts" in urlsplit(source).path
    named = scheme in {"runs", "mlflow-artifacts"} or source.startswith("models:/m-")
    return context.is_strict and (named or through_server)


def _is_contained(wanted: Repointed, context: RestoreContext) -> bool:
    """Whether the run or logged model that is named is the target's own, and the source is in it."""
    source, run_id = wanted.source or "", wanted.run_id or ""
    if source.startswith("models:/"):
        return wanted.model_id is not None
    if source.startswith("runs:/"):
        return run_id in context.native and source.removeprefix("runs:/").strip("/").partition("/")[0] == run_id
    if wanted.model_id is not None:
        return _is_within(source, context.native_models[wanted.model_id])
    return run_id in context.native and _is_within(source, context.locations.get(f"runs:/{run_id}", ""))


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
