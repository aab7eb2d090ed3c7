"""Registered models come back through the API, with the numbers of their versions.

Gaps included. A server gives each number once, and counts on from the highest there ever was. So a gap is made by
creating a version and deleting it, a number that was passed can't be had any more, and a version that comes out with
the wrong number has used one up. A server shows no deleted version; but whatever deletes one sets the model's time of
change, as does what creates one.

`restore_tags.VERSION` says which number a version was made for, and `restore_tags.VERSIONS` on the model that a restore
is making versions, so that what a killed one leaves in a gap is known and removed.
"""

from __future__ import annotations

from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import MODEL_VERSIONS, MODELS, ModelVersion, RegisteredModel
from mlmeta.schema.models import IS_PROMPT
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import RestoreContext
from mlmeta.stores.api.links import EXPERIMENT_IDS, tags_in_target
from mlmeta.stores.api.model_sources import DATABASE_HINT, Repointed, is_same_run, is_same_source, obstacle, repoint
from mlmeta.stores.api.name_rules import accepted, alias_obstacle
from mlmeta.stores.api.paging import PAGE, entities_of
from mlmeta.stores.api.registered_models import PROMPT_VERSIONS, unlisted, version_entity, version_filter
from mlmeta.stores.target import model_key, model_keys, moved_alias, version_key

MOST_FILLERS = 100
"""Most versions of a model that are created and deleted again to keep the numbers of others."""


def restore(context: RestoreContext, progress: Progress) -> None:
    """Bring the registered models, with their versions and aliases, into the target; all runs are there by then."""
    progress.phase("restoring registered models")
    for model in context.selected.models():
        _ModelRestorer(model, context).restore()
        progress.advance(MODELS.counted_as)


class _ModelRestorer:
    """Brings one registered model into the target. What the target holds of it is noted, and what it gets."""

    def __init__(self, model: RegisteredModel, context: RestoreContext) -> None:
        self._model = model
        self._whole = context.selected.whole(model)
        self._name = model.name
        self._context = context
        self._entity: Any = None
        self._versions: dict[int, Any] = {}
        self._numbers = VersionNumbers()
        self._is_filling = False
        """Whether `restore_tags.VERSIONS` says in the target that a restore makes versions."""
        self._was_filling = False
        """Whether it said so before, for a restore that was killed."""

    @property
    def _registry(self) -> Any:
        return self._context.connection.registry

    def restore(self) -> None:
        """Bring the model, its versions and its aliases into the target."""
        if not self._has_model():
            return
        ours, along = self._bring_versions()
        if along:
            named = ", ".join(map(str, along))
            what = f"versions that come along, as a server gives each number once and in order: {named}"
            self._context.notes.append(f"model {MODELS.key(self._model)!r}: {what}")
        if count := self._numbers.fillers:
            fillers = "1 version is" if count == 1 else f"{count} versions are"
            what = f"{fillers} created and deleted again, so that the others keep their numbers"
            self._context.notes.append(f"model {MODELS.key(self._model)!r}: {what}")
        newest = max((version.version for version in self._whole.versions), default=0)
        if self._numbers.last < newest and not self._context.selected.has_all_of(self._model):
            what = f"the next version registered there gets number {self._numbers.last + 1}"
            more = f"the snapshot has others up to {newest}, which can't come back then"
            self._context.notes.append(f"model {MODELS.key(self._model)!r}: {what}; {more}")
        self._finish()
        self._set_aliases(ours)

    def _bring_versions(self) -> tuple[set[int], list[int]]:
        """Make the versions that are meant; and those before them, which could never come back after fillers.

        Returns:
            The numbers of those that are meant and in the target, and of those that came along.
        """
        meant = {version.version for version in self._model.versions}
        last = max(meant.difference(self._versions), default=0)
        ours: set[int] = set()
        along: list[int] = []
        for version in self._whole.versions:
            number = version.version
            if number in meant:
                ours.update([number] if self._has_version(version) else ())
            elif number < last and number not in self._versions and self._can_make(version):
                along += [number] if self._has_version(version) else []
        return ours, along

    def _can_make(self, version: ModelVersion) -> bool:
        wanted = repoint(version, self._context)
        return not (obstacle(version, wanted, self._context) or self._numbers.obstacle(version.version))

    def _has_model(self) -> bool:
        """Whether the target has the model, or gets it."""
        context, model = self._context, self._model
        with context.refusing(*model_key(model), hint=DATABASE_HINT, records=model_keys(model)):
            self._entity = _find(context.connection, self._name)
            if self._entity is None:
                self._create()
                return True
            filling = restore_tags.filling(context.timestamp)
            self._is_filling = self._was_filling = self._entity.tags.get(restore_tags.VERSIONS) == filling
            self._versions = self._cleaned()
            self._numbers = VersionNumbers.of(self._whole, self._entity, self._versions, context.timestamp)
            context.was_there(MODELS, MODELS.key(model))
            return True
        return False

    def _cleaned(self) -> dict[int, Any]:
        """The target's versions by number, without what an interrupted restore left in gaps: that is removed."""
        found = {}
        for entity in _versions_of(self._context.connection, self._name):
            number = entity._tags.get(restore_tags.VERSION)
            if not self._is_filling or number is None or number == str(entity.version):
                found[int(entity.version)] = entity
            elif self._context.writes:
                self._registry.delete_model_version(self._name, entity.version)
        return found

    def _create(self) -> None:
        from mlflow.entities.model_registry import RegisteredModelTag

        model, context = self._model, self._context
        marked = {restore_tags.SNAPSHOT: context.timestamp}
        if model.versions:
            marked[restore_tags.VERSIONS] = restore_tags.filling(context.timestamp)
        tags, lost = tags_in_target(restore_tags.without(model.tags), context)
        if lost:
            reason = f"it belongs to experiments that are not in the target: {', '.join(lost)}"
            context.refuse(MODELS.one, model.name, reason, f"tags[{EXPERIMENT_IDS}]")
        tags = accepted(MODELS.one, model.name, tags, context) | marked
        if context.writes:
            entities = [RegisteredModelTag(key, value) for key, value in tags.items()]
            self._registry.create_registered_model(model.name, entities, model.description)
        self._is_filling = bool(model.versions)
        context.created[MODELS.counted_as] += 1

    def _has_version(self, version: ModelVersion) -> bool:
        """Whether the version is in the target afterwards, and is the snapshot's."""
        context, key = self._context, version_key(self._model, version.version)
        with context.refusing(*key, hint=DATABASE_HINT):
            if reason := self._restore_version(version):
                context.refuse(*key, reason, hint=DATABASE_HINT)
                return False
            self._set_stage(version)
            return True
        return False

    def _restore_version(self, version: ModelVersion) -> str:
        """Make a version, unless it is there; what went wrong."""
        entity = self._versions.get(version.version)
        wanted = repoint(version, self._context)  # counted as rewritten, there or not
        if entity is None:
            reason = obstacle(version, wanted, self._context) or self._numbers.obstacle(version.version)
            return reason or self._make(version, wanted)
        if not _is_same(entity, version, self._context):
            return f"the target has another version of that number (source {entity.source}); it stays as it is"
        self._context.was_there(MODEL_VERSIONS, version_key(self._model, version.version)[1])
        return ""

    def _make(self, version: ModelVersion, wanted: Repointed) -> str:
        """Create versions until one has the right number, and delete those before it; what went wrong."""
        tags = self._tags(version, wanted)
        number = version.version
        if self._context.writes:
            self._mark_filling()
            number = self._create_next(version, wanted, tags)
            while number < version.version:
                self._registry.delete_model_version(self._name, str(number))
                number = self._create_next(version, wanted, tags)
        self._numbers.given(number)
        if number > version.version:
            self._registry.delete_model_version(self._name, str(number))
            return f"the server gave it number {number}, as a later version had been deleted there; it is deleted again"
        self._context.created[MODEL_VERSIONS.counted_as] += 1
        return ""

    def _tags(self, version: ModelVersion, wanted: Repointed) -> dict[str, str]:
        key = version_key(self._model, version.version)
        tags = accepted(*key, restore_tags.without(version.tags), self._context)
        tags |= {restore_tags.SNAPSHOT: self._context.timestamp, restore_tags.VERSION: str(version.version)}
        if wanted.source != version.source:
            tags[restore_tags.SOURCE_URI] = version.source or ""
        return tags

    def _create_next(self, version: ModelVersion, wanted: Repointed, tags: dict[str, str]) -> int:
        from mlflow.entities.model_registry import ModelVersionTag

        entity = self._registry.create_model_version(
            self._name,
            wanted.source,
            wanted.run_id,
            [ModelVersionTag(key, value) for key, value in tags.items()],
            version.run_link,
            version.description,
            **({"model_id": wanted.model_id} if wanted.model_id else {}),
        )
        return int(entity.version)

    def _mark_filling(self) -> None:
        if not self._is_filling:
            self._set_mark(restore_tags.filling(self._context.timestamp))
            self._is_filling = True

    def _finish(self) -> None:
        """Say in the model up to which number it has versions, for the next restore to know."""
        context, model = self._context, self._model
        if not context.writes or not self._is_filling:
            return
        with context.refusing(*model_key(model), prefix="not marked as done: ", records=model_keys(model)):
            entity = self._registry.get_registered_model(model.name)
            self._set_mark(restore_tags.filled(self._numbers.last, entity.last_updated_timestamp))

    def _set_mark(self, value: str) -> None:
        from mlflow.entities.model_registry import RegisteredModelTag

        self._registry.set_registered_model_tag(self._name, RegisteredModelTag(restore_tags.VERSIONS, value))

    def _set_stage(self, version: ModelVersion) -> None:
        """Set the stage of a version that was just made, or that a killed restore left without one."""
        stage, entity = version.current_stage, self._versions.get(version.version)
        resumes = self._was_filling and entity is not None and restore_tags.SNAPSHOT in entity._tags
        is_due = entity is None or (resumes and entity.current_stage == "None")
        if self._context.writes and is_due and stage not in {None, "None"}:
            self._registry.transition_model_version_stage(self._name, str(version.version), stage, False)
            self._context.completed.add((*version_key(self._model, version.version), "current_stage"))

    def _set_aliases(self, ours: set[int]) -> None:
        """Set the aliases that the target's model lacks; `ours`: the versions that are in the target."""
        context, key = self._context, model_key(self._model)
        there = dict(self._entity.aliases) if self._entity is not None else {}
        for alias, number in self._model.aliases.items():
            if alias in there:
                if int(there[alias]) != number and alias in context.selected.asked_aliases(self._model):
                    context.refused.append(moved_alias(self._model, alias, there[alias]))
                continue
            what, field = ("alias", f"{key[1]}@{alias}"), f"aliases[{alias}]"
            reason = alias_obstacle(alias)
            if not reason and number not in ours:
                reason = f"version {number} is not in the target"
            if reason:
                context.refuse(*what, reason, field, records=(key,))
                continue
            with context.refusing(*what, field, records=(key,)):
                if context.writes:
                    self._registry.set_registered_model_alias(self._name, alias, str(number))
                    context.completed.add((*key, field))
                context.created["model aliases"] += self._entity is not None


def expected(own: RegisteredModel, found: RegisteredModel, context: RestoreContext) -> RegisteredModel:
    """A registered model of the snapshot as the target should give it back."""
    theirs = {version.version: version for version in found.versions}
    versions = tuple(
        _expected_version(version, theirs[version.version], context) if version.version in theirs else version
        for version in own.versions
    )
    update = {"aliases": {**found.aliases, **own.aliases}, "versions": versions}
    own = own.model_copy(update={"tags": tags_in_target(own.tags, context)[0]})
    return restore_tags.with_those_of(found, own).model_copy(update=update)


def _expected_version(own: ModelVersion, found: ModelVersion, context: RestoreContext) -> ModelVersion:
    """References are compared as they were re-pointed."""
    update: dict[str, object] = {}
    if is_same_source(found.source, found.tags, own, context):
        update["source"] = found.source
    if is_same_run(found.run_id, own, context):
        update["run_id"] = found.run_id
    return restore_tags.with_those_of(found, own).model_copy(update=update)


class VersionNumbers:
    """Which numbers of a model can still be had.

    Args:
        last: the highest number that is known to have been given.
        is_certain: whether no higher one was.
    """

    def __init__(self, last: int = 0, *, is_certain: bool = True) -> None:
        self.last = last
        self._is_certain = is_certain
        self.fillers = 0

    @classmethod
    def of(cls, model: RegisteredModel, entity: Any, versions: dict[int, Any], timestamp: str) -> VersionNumbers:
        """What the target tells.

        Args:
            model: in the snapshot.
            entity: in the target.
            versions: of the target, by number.
            timestamp: the snapshot's.
        """
        highest, changed = max(versions, default=0), entity.last_updated_timestamp
        mark = entity.tags.get(restore_tags.VERSIONS, "")
        if mark == restore_tags.filling(timestamp):  # a killed restore went no further than the next number it wanted
            return cls(highest)
        marked, _, moment = mark.partition(" ")
        known = [highest, int(marked) if marked.isdigit() else 0]
        newest = versions[highest].creation_timestamp if versions else entity.creation_timestamp
        if changed in {newest, int(moment) if moment.isdigit() else None}:  # so nothing was deleted since
            return cls(max(known))
        if entity.creation_timestamp == model.creation_timestamp:  # the very model that the snapshot is of
            known += [version.version for version in model.versions]
        return cls(max(known), is_certain=False)

    def obstacle(self, number: int) -> str:
        """Why a version can't get a number; empty: it can."""
        gap = number - self.last - 1
        if gap < 0:
            return f"the model's next number is {self.last + 1} or higher: a number is given once, deleted or not"
        if not gap and not self._is_certain:
            return (
                "the model was changed since its newest version was made, so a later one may have been deleted and "
                f"number {number} used up; trying would use up another"
            )
        if self.fillers + gap > MOST_FILLERS:
            return (
                f"{self.fillers + gap} versions would have to be made and deleted to get number {number}, and a "
                f"restore makes at most {MOST_FILLERS} a model"
            )
        return ""

    def given(self, number: int) -> None:
        """Note a number that the server gave, or will give, after those before it."""
        self.fillers += max(number - self.last - 1, 0)
        self.last = max(number, self.last)
        self._is_certain = True


def _find(connection: Connection, name: str) -> Any:
    """The target's registered model of that name; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return connection.registry.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _versions_of(connection: Connection, name: str) -> list[Any]:
    """All versions of a model or prompt in the target."""
    found: dict[str, Any] = {}
    for prompts in ("", PROMPT_VERSIONS):
        text = version_filter(name, prompts)

        def ask(token: str | None, text: str = text) -> Any:
            return connection.registry.search_model_versions(text, PAGE, None, token)

        entities = entities_of(ask, key=lambda entity: (entity.name, entity.version))
        found.update({entity.version: entity for entity in entities if entity.name == name})
    if any(entity._tags.get(IS_PROMPT) == "true" for entity in found.values()) and (model := _find(connection, name)):
        others = (version_entity(connection, name, number) for number in unlisted({*map(int, found)}, model))
        found.update({entity.version: entity for entity in others if entity is not None})
    return list(found.values())


def _is_same(entity: Any, version: ModelVersion, context: RestoreContext) -> bool:
    """Whether the target's version is the snapshot's: of the same source and run."""
    return is_same_source(entity.source, entity._tags, version, context) and is_same_run(
        entity.run_id, version, context
    )
