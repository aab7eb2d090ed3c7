"""The workspaces of a snapshot and those of a target: each is restored by itself, into the one of its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlmeta.schema import DEFAULT_WORKSPACE, EXPERIMENTS, MODELS, ROWS, Selection, leading_kinds
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.workspaces import TABLE, Workspaces, create
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.target import Refusal, model_keys

WORKSPACE = "workspace"
"""The word for one."""
_ENABLE = "start the server with --enable-workspaces (MLflow 3.10 on), or restore into a database"


@dataclass(frozen=True)
class Part:
    """What a selection means of one workspace of a snapshot.

    Args:
        workspace: as records have it.
        selected: the part.
    """

    workspace: str | None
    selected: Selected


@dataclass(frozen=True)
class Destination:
    """Where a part goes.

    Args:
        part: of the snapshot.
        connection: to the target, for calls about the workspace that it goes into.
        has_workspaces: whether the target has any: it says itself then where artifacts go.
        is_planned: whether that one has still to be made.
    """

    part: Part
    connection: Connection
    has_workspaces: bool
    is_planned: bool = False


class Destinations:
    """Where each workspace of a snapshot goes in a target, and what can't go anywhere.

    Args:
        connection: to the target.
        snapshot: to be restored.
        selection: the part of it that is.
        rewriter: for the artifact roots of these.
        writes: whether workspaces that are missing are made.
    """

    def __init__(
        self, connection: Connection, snapshot: Snapshot, selection: Selection, rewriter: Rewriter, *, writes: bool
    ) -> None:
        self._connection = connection
        self._writes = writes
        whole = Selected(snapshot, selection)
        self._parts = _parts(whole)
        self._active = connection.workspace
        found = Workspaces.of(connection).found
        self._has_any = bool(self._active) or found is not None
        self._there = {self._active} if self._active else {one["name"] for one in found or ()}
        self._rows = {row.key.get("name"): row for row in snapshot.records(ROWS) if row.table == TABLE}
        self._rewriter = rewriter
        self.refused = list(_elsewhere(whole, self._parts))
        self.notes: list[str] = []
        self.all = list(self._found())

    def _found(self) -> Iterator[Destination]:
        for part in self._parts:
            name = part.workspace or DEFAULT_WORKSPACE
            if self._active:
                goes = name == self._active or (part.workspace is None and not self._has(self._active))
                reason = "" if goes else f"MLFLOW_WORKSPACE limits the target to the workspace {self._active}"
                hint = "unset MLFLOW_WORKSPACE to restore each workspace into the one of its name"
                name = self._active
            else:
                reason, hint = self._obstacle(part)
            if reason:
                self._refuse(part, reason, hint)
            else:
                place = None if name == DEFAULT_WORKSPACE else name
                planned = self._has_any and name not in self._there
                yield Destination(part, self._connection.within(place), self._has_any, planned)

    def _has(self, workspace: str) -> bool:
        return any(part.workspace == workspace for part in self._parts)

    def _obstacle(self, part: Part) -> tuple[str, str]:
        """Why a workspace can't be in the target, and what to do about it; empty: it is there, or it is made."""
        name = part.workspace or DEFAULT_WORKSPACE
        if name in self._there or (part.workspace is None and not self._has_any):
            return "", ""
        if not self._has_any:
            return "the target has no workspaces", _ENABLE
        if part.workspace is None:
            return "the user may not see it in the target", "restore as a user who may"
        row = self._rows.get(name)
        attributes = self._rewriter.row(row).row if row is not None else {}
        reason = self._make(name, attributes) if self._writes else ""
        if reason:
            return f"it is not in the target, and can't be made: {reason}", "have an administrator make it, then again"
        known = "" if row is not None else ": without a description and an artifact root of its own"
        self.notes.append(f"workspace {name} is new there{known}")
        return "", ""

    def _make(self, name: str, attributes: dict[str, Any]) -> str:
        """Make a workspace with its attributes, or at least its description; why that can't be done, or empty."""
        plain = {key: value for key, value in attributes.items() if key == "description"}
        reason = create(self._connection, name, attributes)
        if reason and any(value is not None for key, value in attributes.items() if key not in plain):
            refused, reason = reason, create(self._connection, name, plain)
            self.notes.append(f"workspace {name} goes by the server's artifact root: {refused}")
        if not reason:
            self._there.add(name)
        return reason

    def _refuse(self, part: Part, reason: str, hint: str) -> None:
        kinds = [kind for kind in leading_kinds() if kind.in_api and not kind.on_request]
        counts = [(sum(1 for _ in part.selected.records(kind)), kind) for kind in kinds]
        lost = ", ".join(f"{count:,} {kind.one if count == 1 else kind.many}" for count, kind in counts if count)
        name = part.workspace or DEFAULT_WORKSPACE
        reason = f"{reason}; what is in it was not restored ({lost})"
        self.refused.append(Refusal(kind=WORKSPACE, id=name, reason=reason, hint=hint))


def _parts(whole: Selected) -> list[Part]:
    """What a selection means, workspace by workspace; all of it, where a snapshot has but the default one."""
    snapshot, selection = whole.snapshot, whole.selection
    is_limited = selection.means(EXPERIMENTS) or selection.names_records
    experiments = list(whole.experiments() if is_limited else snapshot.records(EXPERIMENTS))
    workspaces = {one.workspace for one in experiments}
    registry = snapshot if selection.experiments else whole  # to select models by experiments takes reading all runs
    of_models = {model.workspace for model in registry.records(MODELS)}
    if workspaces | of_models <= {None}:
        return [Part(None, whole)]
    if not selection.experiments:
        workspaces |= of_models
    parts = []
    for workspace in sorted(workspaces, key=lambda name: name or ""):
        names = {one.name for one in experiments if one.workspace == workspace}
        parts.append(Part(workspace, Selected(snapshot, _within(selection, workspace, names), whole.picked)))
    return parts


def _elsewhere(whole: Selected, parts: Sequence[Part]) -> Iterator[Refusal]:
    """Name the models with a version from a run of a selected experiment that lies in another workspace than they do.

    Each workspace is restored by itself, and none of the selected experiments has such a model.
    """
    if not whole.selection.experiments or any(part.selected is whole for part in parts):
        return
    found = {MODELS.key(model) for part in parts for model in part.selected.models()}
    for model in whole.models():
        if MODELS.key(model) not in found:
            reason = f"it is in workspace {model.workspace or DEFAULT_WORKSPACE}, and its runs are in another one"
            hint = f"`--model {MODELS.key(model)}` restores it, or restore into the server's database"
            yield Refusal(kind=MODELS.one, id=MODELS.key(model), reason=reason, hint=hint, records=model_keys(model))


def _within(selection: Selection, workspace: str | None, names: set[str]) -> Selection:
    """A selection of a workspace: of the experiments that are wanted, it may have some."""
    wanted: Sequence[str] = [name for name in selection.experiments if name in names]
    return replace(selection, experiments=tuple(wanted), workspaces=(workspace or DEFAULT_WORKSPACE,))
