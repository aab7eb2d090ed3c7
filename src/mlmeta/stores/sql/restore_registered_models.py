"""What happens to each registered model of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.stores.sql.changes import changes, compared, others
from mlmeta.stores.sql.limits import Names
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.tables import MODEL_TABLE, NO_STAGE
from mlmeta.stores.sql.writer import Missing, RowWriter
from mlmeta.stores.target import Key, model_key, model_keys, version_key

_NO_STAGE = {None, "", NO_STAGE}


class ModelStep(Step[RegisteredModel]):
    """Decides about registered models: one that is there gets what it lacks of versions, tags, aliases and stages."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(MODEL_TABLE, context)
        self._collation = context.limits.column("registered_models", "name").collation
        self._taken: Names[str] = Names(self._collation)

    def take(self, records: Sequence[RegisteredModel]) -> None:
        """See `Step.take`."""
        suffix = self._context.suffix
        names = [name for model in records for name in (model.name, model.name + suffix)]
        wanted = names if self._context.renames else names[::2]
        there = self._existing.keys(MODEL_TABLE, wanted) if self._collation else wanted
        found: Names[RegisteredModel] = Names(self._collation)
        found.update(self._existing.records(MODEL_TABLE, there).items())
        for model in records:
            self._take(self._context.form.of(model), found)

    def _take(self, model: RegisteredModel, found: Names[RegisteredModel]) -> None:
        there = found.get(model.name)
        if (other := self._equal_name(model.name, there)) != model.name:
            self._take_equal(model, other, found)
        elif there is None:
            self._create(model)
        elif compared(model, there).is_same:
            self._all_present(model)
        elif self._context.renames and is_other(model, there):
            self._rename(model, found.get(model.name + self._context.suffix))
        else:
            self._join(model, there)

    def _equal_name(self, name: str, there: RegisteredModel | None) -> str:
        """What the target's collation takes for a name: itself, but where another model has one that is equal to it."""
        other = there.name if there is not None else self._taken.get(name, name)
        if other == name:
            self._taken[name] = name
        return other or name

    def _take_equal(self, model: RegisteredModel, other: str, found: Names[RegisteredModel]) -> None:
        if self._context.renames:
            self._rename(model, found.get(model.name + self._context.suffix))
            return
        reason = f"its name equals {other!r} in the target's collation"
        self._tally.conflict("model", model.name, reason, *model_keys(model))

    def _rename(self, model: RegisteredModel, there: RegisteredModel | None) -> None:
        renamed = model.model_copy(update={"name": model.name + self._context.suffix})
        if there is not None:
            self._join(renamed, there, own=model.name)
            return
        self._tally.notes.append(f"model {model.name!r} gets the name {renamed.name!r}, as its own is taken")
        self._create(renamed)

    def _create(self, model: RegisteredModel) -> None:
        self._tally.created["models"] += 1
        self._tally.created["model versions"] += len(model.versions)
        self._do(RowWriter.record, model)

    def _all_present(self, model: RegisteredModel) -> None:
        self._present(model)
        for version in model.versions:
            self._tally.was_there("model versions", version_key(model.name, version.version))

    def _join(self, model: RegisteredModel, there: RegisteredModel, own: str = "") -> None:
        """Add what the target's model of that name lacks. What it has stays, also where people changed it since.

        Args:
            model: of the snapshot, under the name it has in the target.
            there: the target's.
            own: its name in the snapshot, where that is another one.
        """
        own = own or model.name
        found = changes(model, there)
        if reason := others(found):
            reason = f"the target has a model of that name with other content: {reason}"
            self._tally.conflict("model", own, reason, *model_keys(model.model_copy(update={"name": own})))
            return
        missing = Missing(tags={k: v for k, v in model.tags.items() if k not in there.tags})
        kept = self._versions(model, there, own, missing)
        new = {a: n for a, n in model.aliases.items() if a not in there.aliases and n in kept}
        missing.aliases.update(new)
        added = {*(f"tags[{key}]" for key in missing.tags), *(f"aliases[{alias}]" for alias in new)}
        self._tally.created["model aliases"] += len(new)
        self._complete(model_key(own), added)
        self._tally.was_there("models", model_key(own), [change for change in found if change.field not in added])
        if missing != Missing():
            self._do(RowWriter.complete_model, model, missing)

    def _versions(self, model: RegisteredModel, there: RegisteredModel, own: str, missing: Missing) -> set[int]:
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
        self, own: str, version: ModelVersion, found: ModelVersion, stages: set[str | None], missing: Missing
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
        self._tally.was_there("model versions", key, left)

    def _complete(self, key: Key, fields: set[str]) -> None:
        self._tally.created["model tags"] += sum(field.startswith("tags[") for field in fields)
        self._tally.completed.update((*key, field) for field in fields)


def is_other(model: RegisteredModel, there: RegisteredModel) -> bool:
    """Whether the target has another model of that name, or another version under one of its numbers."""
    theirs = {version.version: version for version in there.versions}
    pairs = [(version, theirs[version.version]) for version in model.versions if version.version in theirs]
    return any(others(changes(*pair)) for pair in [(model, there), *pairs])
