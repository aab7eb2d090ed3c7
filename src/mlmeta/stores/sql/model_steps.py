"""Steps of a restore for registered models: one that is there gets what it lacks, its versions one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.stores.sql.changes import TargetChange, changes, is_same, others
from mlmeta.stores.sql.joining import Joined, join
from mlmeta.stores.sql.limits import Names
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.tables import MODEL_TABLE, NO_STAGE
from mlmeta.stores.sql.writer import Missing, RowWriter
from mlmeta.stores.target import Key, model_key, model_keys, moved_alias, version_key

M = TypeVar("M", RegisteredModel, ModelVersion)

_NO_STAGE = {None, "", NO_STAGE}


class ModelStep(Step[RegisteredModel]):
    """Decides about registered models: one that is there gets what it lacks of versions, tags, aliases and stages."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(MODEL_TABLE, context)
        self._collation = context.limits.column("registered_models", "name").collation
        self._taken: dict[str | None, Names[str]] = {}

    def take(self, records: Sequence[RegisteredModel]) -> None:
        """See `Step.take`."""
        for workspace, some in groupby(records, attrgetter("workspace")):
            self._take_of(workspace, list(some))

    def _take_of(self, workspace: str | None, models: Sequence[RegisteredModel]) -> None:
        """Decide about models of a workspace."""
        suffix = self._context.suffix
        names = [name for model in models for name in (model.name, model.name + suffix)]
        wanted = names if self._context.renames else names[::2]
        there: Collection[str] = self._existing.model_names(workspace, wanted) if self._collation else wanted
        found: Names[RegisteredModel] = Names(self._collation)
        found.update(self._existing.models(workspace, there).items())
        for model in models:
            self._take(self._context.form.of(model), found)

    def _take(self, model: RegisteredModel, found: Names[RegisteredModel]) -> None:
        there = found.get(model.name)
        if problem := self._workspace_problem(model):
            self._misfit(model, problem, *model_keys(model))
        elif (other := self._equal_name(model, there)) != model.name:
            self._take_equal(model, other, found)
        elif there is None:
            self._create(model)
        elif is_same(model, self._meant(there)):
            self._all_present(model)
        elif self._context.renames and is_other(model, there):
            self._rename(model, found.get(model.name + self._context.suffix))
        else:
            self._join(model, there)

    def _meant(self, there: RegisteredModel) -> RegisteredModel:
        """What is there of the versions and aliases that are restored."""
        return self._context.part.limited(self._kind, there)

    def _equal_name(self, model: RegisteredModel, there: RegisteredModel | None) -> str:
        """What the target's collation takes for a name: itself, but where another model has one that is equal to it."""
        taken = self._taken.setdefault(model.workspace, Names(self._collation))
        other = there.name if there is not None else taken.get(model.name, model.name)
        if other == model.name:
            taken[model.name] = model.name
        return other or model.name

    def _take_equal(self, model: RegisteredModel, other: str, found: Names[RegisteredModel]) -> None:
        if self._context.renames:
            self._rename(model, found.get(model.name + self._context.suffix))
            return
        reason = f"its name equals {other!r} in the target's collation"
        self._tally.conflict("model", self._kind.key(model), reason, *model_keys(model))

    def _rename(self, model: RegisteredModel, there: RegisteredModel | None) -> None:
        renamed = model.model_copy(update={"name": model.name + self._context.suffix})
        if there is not None:
            self._join(renamed, there, own=model)
            return
        shown, new = self._kind.key(model), self._kind.key(renamed)
        self._tally.notes.append(f"model {shown!r} gets the name {new!r}, as its own is taken")
        self._create(renamed, own=model)

    def _create(self, model: RegisteredModel, own: RegisteredModel | None = None) -> None:
        self._tally.created["models"] += 1
        self._tally.created["model versions"] += len(model.versions)
        self._do(RowWriter.record, model)
        self._keep_numbers(model, own or model)

    def _keep_numbers(self, model: RegisteredModel, own: RegisteredModel) -> None:
        """Where just some versions are restored, have MLflow give no new one the number of another.

        Args:
            model: under the name it has in the target, with the versions that are meant.
            own: the same under its name in the snapshot.
        """
        newest = max(self._context.part.whole(own).versions, key=attrgetter("version"), default=None)
        if newest is not None and newest.version not in {version.version for version in model.versions}:
            self._do(RowWriter.keep_number, model, newest)

    def _all_present(self, model: RegisteredModel) -> None:
        self._present(model)
        for version in model.versions:
            self._tally.was_there("model versions", version_key(model, version.version))

    def _join(self, model: RegisteredModel, there: RegisteredModel, own: RegisteredModel | None = None) -> None:
        """Add what the target's model of that name lacks. What it has stays, also where people changed it since.

        Args:
            model: of the snapshot, under the name it has in the target.
            there: the target's.
            own: the same under its name in the snapshot, where that is another one.
        """
        own = own or model
        found = changes(model, self._meant(there))
        if (reason := others(found)) and not self._context.merges:
            reason = f"the target has a model of that name with other content: {reason}"
            self._tally.conflict("model", self._kind.key(own), reason, *model_keys(own))
            return
        is_whole = self._context.part.has_all_of(own)
        missing = Missing(tags={k: v for k, v in model.tags.items() if k not in there.tags} if is_whole else {})
        kept = self._versions(model, there, own, missing)
        new = {a: n for a, n in model.aliases.items() if a not in there.aliases and n in kept}
        missing.aliases.update(new)
        added = {*(f"tags[{key}]" for key in missing.tags), *(f"aliases[{alias}]" for alias in new)}
        self._tally.created["model aliases"] += len(new)
        self._complete(model_key(own), added)
        left = [change for change in found if change.field not in added]
        if self._context.merges:
            left, more = self._merge_rest(model_key(own), model, there, left if is_whole else [])
            self._tally.merged["models"] += bool(added or more or missing.versions)
        self._moved_aliases(own, there)
        self._tally.was_there("models", model_key(own), left)
        if missing != Missing():
            self._do(RowWriter.complete_model, model, missing)
            self._keep_numbers(model, own)

    def _moved_aliases(self, own: RegisteredModel, there: RegisteredModel) -> None:
        """Name the aliases that somebody asked for, and that name other versions in the target."""
        for alias in sorted(self._context.part.asked_aliases(own)):
            if (number := there.aliases.get(alias, own.aliases[alias])) != own.aliases[alias]:
                self._tally.left_out.append(moved_alias(own, alias, number))

    def _versions(
        self, model: RegisteredModel, there: RegisteredModel, own: RegisteredModel, missing: Missing
    ) -> set[int]:
        """Decide about the versions; the numbers of those that are, or will be, in the target."""
        theirs = {version.version: version for version in there.versions}
        stages = {version.current_stage for version in there.versions} - {"Archived"}  # where many can be at once
        kept = set()
        for version in model.versions:
            found = theirs.get(version.version)
            if found is None:
                self._tally.created["model versions"] += 1
                missing.versions.add(version.version)
            elif reason := others(changes(version, found)):
                key = version_key(own, version.version)
                self._tally.conflict(*key, f"the target has another version of that number: {reason}", key)
                continue
            else:
                self._version(own, version, found, stages, missing)
            kept.add(version.version)
        return kept

    def _version(
        self,
        own: RegisteredModel,
        version: ModelVersion,
        found: ModelVersion,
        stages: set[str | None],
        missing: Missing,
    ) -> None:
        """Add the tags that a version lacks, and its stage where no version has that now."""
        tags = {key: value for key, value in version.tags.items() if key not in found.tags}
        added = {f"tags[{key}]" for key in tags}
        if tags:
            missing.version_tags[version.version] = tags
        stage = version.current_stage
        if stage and stage not in _NO_STAGE and found.current_stage in _NO_STAGE and stage not in stages:
            missing.stages[version.version] = stage
            self._tally.created["model stages"] += 1
            added.add("current_stage")
        key = version_key(own, version.version)
        self._complete(key, added)
        left = [change for change in changes(version, found) if change.field not in added]
        if self._context.merges:
            left, more = self._merge_rest(key, version, found, left, *MODEL_TABLE.row(own)[: MODEL_TABLE.key])
            self._tally.merged["model versions"] += bool(added) or more
        self._tally.was_there("model versions", key, left)

    def _merge_rest(
        self, key: Key, stored: M, found: M, left: Sequence[TargetChange], *owner: Any
    ) -> tuple[list[TargetChange], bool]:
        """Fill what is empty in a model or version, and name what both have and is not the same.

        Args:
            key: of the record.
            stored: the stored form of the snapshot's.
            found: the target's.
            left: what differs.
            owner: the key of the model that a version is of.

        Returns:
            What still differs, and whether anything is written.
        """
        joined: Joined[M] = join(stored, found, left, {"aliases"})
        if joined.written:
            self._do(RowWriter.merge, found, joined.record, *owner)
        self._complete(key, {*joined.written})
        self._note_joined(key, joined)
        left = [change for change in left if change.field not in joined.written]
        for change in left:
            if change.name == "aliases" and not change.is_more:
                self._tally.kept(key, change)
        return left, bool(joined.written)

    def _complete(self, key: Key, fields: set[str]) -> None:
        self._tally.created["model tags"] += sum(field.startswith("tags[") for field in fields)
        self._tally.completed.update((*key, field) for field in fields)


def is_other(model: RegisteredModel, there: RegisteredModel) -> bool:
    """Whether the target has another model of that name, or another version under one of its numbers."""
    theirs = {version.version: version for version in there.versions}
    pairs = [(version, theirs[version.version]) for version in model.versions if version.version in theirs]
    return any(others(changes(*pair)) for pair in [(model, there), *pairs])
