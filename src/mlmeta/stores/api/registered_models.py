"""The model registry: models, and versions under their own numbers, gaps included.

`restore_tags.VERSION` says which number a version was made for, and `restore_tags.VERSIONS` on the model that a restore
is making versions, so that what a killed one leaves in a gap is known and removed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.stores.api import diagnosis, restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import State
from mlmeta.stores.api.model_sources import DATABASE_HINT, Repointed, is_same_run, is_same_source, obstacle, repoint
from mlmeta.stores.api.name_rules import accepted, alias_obstacle
from mlmeta.stores.api.numbers import Numbers
from mlmeta.stores.api.paging import name_filter
from mlmeta.stores.target import model_key, model_keys

_PAGE = 1000


@dataclass
class Held:
    """What the target holds of a registered model, and gets in the course of a restore.

    Args:
        entity: the model; None: there is none.
        versions: by number.
        numbers: that its versions can still have.
        is_filling: whether `restore_tags.VERSIONS` says that a restore makes versions of it.
        was_filling: whether it said so before, for one that was killed.
    """

    entity: Any = None
    versions: dict[int, Any] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)
    is_filling: bool = False
    was_filling: bool = False


class ModelRestorer:
    """Restores registered models, one after the other.

    Args:
        connection: to the target.
        state: what is known of it; runs are restored.
        timestamp: the snapshot's.
        writes: whether anything is written; if not, `state` says afterwards what would be.
    """

    def __init__(self, connection: Connection, state: State, timestamp: str, *, writes: bool = True) -> None:
        self._connection = connection
        self._state = state
        self._timestamp = timestamp
        self._writes = writes

    def restore(self, model: RegisteredModel) -> None:
        """Bring a model, its versions and its aliases into the target."""
        from mlflow.exceptions import MlflowException

        try:
            held = self._held(model)
            if held.entity is None:
                self._create(model, held)
            else:
                self._state.was_there("models", "registered model", model.name)
        except MlflowException as error:
            self._connection.check()
            hint = diagnosis.advice(error, DATABASE_HINT)
            reason = self._connection.reason(error)
            self._state.refuse("registered model", model.name, reason, hint=hint, records=model_keys(model))
            return
        ours = {v.version for v in model.versions if self._restore_version(model.name, v, held)}
        if count := held.numbers.fillers:
            fillers = "1 version is" if count == 1 else f"{count} versions are"
            self._state.notes.append(
                f"model {model.name!r}: {fillers} created and deleted again, so that the others keep their numbers"
            )
        self._finish(model, held)
        self._set_aliases(model, dict(held.entity.aliases) if held.entity is not None else {}, ours)

    def _held(self, model: RegisteredModel) -> Held:
        entity = find(self._connection, model.name)
        if entity is None:
            return Held()
        is_filling = entity.tags.get(restore_tags.VERSIONS) == restore_tags.filling(self._timestamp)
        versions = self._clean(model.name, is_filling=is_filling)
        return Held(entity, versions, Numbers.of(model, entity, versions, self._timestamp), is_filling, is_filling)

    def _clean(self, name: str, *, is_filling: bool) -> dict[int, Any]:
        """The target's versions by number, without what an interrupted restore left in gaps: that is removed."""
        found = {}
        for entity in versions_of(self._connection, name):
            number = entity._tags.get(restore_tags.VERSION)
            if not is_filling or number is None or number == str(entity.version):
                found[int(entity.version)] = entity
            elif self._writes:
                self._connection.registry.delete_model_version(name, entity.version)
        return found

    def _create(self, model: RegisteredModel, held: Held) -> None:
        from mlflow.entities.model_registry import RegisteredModelTag

        marked = {restore_tags.SNAPSHOT: self._timestamp}
        if model.versions:
            marked[restore_tags.VERSIONS] = restore_tags.filling(self._timestamp)
        tags = accepted("registered model", model.name, restore_tags.without(model.tags), self._state) | marked
        if self._writes:
            self._connection.registry.create_registered_model(
                model.name, [RegisteredModelTag(k, v) for k, v in tags.items()], model.description
            )
        held.is_filling = bool(model.versions)
        self._state.created["models"] += 1

    def _restore_version(self, name: str, version: ModelVersion, held: Held) -> bool:
        """Whether the version is in the target afterwards, and is the snapshot's."""
        from mlflow.exceptions import MlflowException

        where, entity = f"{name} version {version.version}", held.versions.get(version.version)
        wanted, hint = repoint(version, self._state), DATABASE_HINT
        try:
            if entity is None:
                reason = obstacle(version, wanted, self._state) or held.numbers.obstacle(version.version)
                reason = reason or self._make(name, version, wanted, held)
            elif not _is_same(entity, version, self._state):
                reason = f"the target has another version of that number (source {entity.source}); it stays as it is"
            else:
                reason = ""
                self._state.was_there("model versions", "model version", where)
            if not reason:
                self._set_stage(name, version, entity, resumes=held.was_filling)
        except MlflowException as error:
            self._connection.check()
            reason, hint = self._connection.reason(error), diagnosis.advice(error, DATABASE_HINT)
        if reason:
            self._state.refuse("model version", where, reason, hint=hint)
        return not reason

    def _make(self, name: str, version: ModelVersion, wanted: Repointed, held: Held) -> str:
        """Create versions until one has the right number, and delete those before it; what went wrong."""
        tags = self._tags(name, version, wanted)
        number = version.version
        if self._writes:
            self._mark_filling(name, held)
            number = self._create_next(name, version, wanted, tags)
            while number < version.version:
                self._connection.registry.delete_model_version(name, str(number))
                number = self._create_next(name, version, wanted, tags)
        held.numbers.given(number)
        if number > version.version:
            self._connection.registry.delete_model_version(name, str(number))
            return f"the server gave it number {number}, as a later version had been deleted there; it is deleted again"
        self._state.created["model versions"] += 1
        return ""

    def _tags(self, name: str, version: ModelVersion, wanted: Repointed) -> dict[str, str]:
        where = f"{name} version {version.version}"
        tags = accepted("model version", where, restore_tags.without(version.tags), self._state)
        tags |= {restore_tags.SNAPSHOT: self._timestamp, restore_tags.VERSION: str(version.version)}
        if wanted.source != version.source:
            tags[restore_tags.SOURCE_URI] = version.source or ""
        return tags

    def _create_next(self, name: str, version: ModelVersion, wanted: Repointed, tags: dict[str, str]) -> int:
        from mlflow.entities.model_registry import ModelVersionTag

        entity = self._connection.registry.create_model_version(
            name,
            wanted.source,
            wanted.run_id,
            [ModelVersionTag(k, v) for k, v in tags.items()],
            version.run_link,
            version.description,
            **({"model_id": wanted.model_id} if wanted.model_id else {}),
        )
        return int(entity.version)

    def _mark_filling(self, name: str, held: Held) -> None:
        if not held.is_filling:
            self._set_mark(name, restore_tags.filling(self._timestamp))
            held.is_filling = True

    def _finish(self, model: RegisteredModel, held: Held) -> None:
        """Say in the model up to which number it has versions, for the next restore to know."""
        from mlflow.exceptions import MlflowException

        if not self._writes or not held.is_filling:
            return
        try:
            entity = self._connection.registry.get_registered_model(model.name)
            self._set_mark(model.name, restore_tags.filled(held.numbers.last, entity.last_updated_timestamp))
        except MlflowException as error:
            self._connection.check()
            reason = f"not marked as done: {self._connection.reason(error)}"
            self._state.refuse("registered model", model.name, reason, records=model_keys(model))

    def _set_mark(self, name: str, value: str) -> None:
        from mlflow.entities.model_registry import RegisteredModelTag

        self._connection.registry.set_registered_model_tag(name, RegisteredModelTag(restore_tags.VERSIONS, value))

    def _set_stage(self, name: str, version: ModelVersion, entity: Any, *, resumes: bool) -> None:
        """Set the stage of a version that was just made, or that a killed restore left without one."""
        stage = version.current_stage
        cut_short = (
            resumes and entity is not None and restore_tags.SNAPSHOT in entity._tags and entity.current_stage == "None"
        )
        if self._writes and (entity is None or cut_short) and stage not in {None, "None"}:
            self._connection.registry.transition_model_version_stage(name, str(version.version), stage, False)
            self._state.completed.add(("model version", f"{name} version {version.version}", "current_stage"))

    def _set_aliases(self, model: RegisteredModel, there: dict[str, Any], ours: set[int]) -> None:
        from mlflow.exceptions import MlflowException

        for alias, number in model.aliases.items():
            refused = ""
            try:
                if alias not in there and (reason := alias_obstacle(alias)):
                    refused = reason
                elif alias not in there and number in ours:
                    self._set_alias(model.name, alias, number)
                elif alias not in there:
                    refused = f"version {number} is not in the target"
            except MlflowException as error:
                self._connection.check()
                refused = self._connection.reason(error)
            if refused:
                concerned = (model_key(model.name),)
                self._state.refuse("alias", f"{model.name}@{alias}", refused, f"aliases[{alias}]", records=concerned)

    def _set_alias(self, name: str, alias: str, number: int) -> None:
        if self._writes:
            self._connection.registry.set_registered_model_alias(name, alias, str(number))
            self._state.completed.add(("registered model", name, f"aliases[{alias}]"))


def find(connection: Connection, name: str) -> Any:
    """The target's registered model of that name; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return connection.registry.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def versions_of(connection: Connection, name: str) -> list[Any]:
    """All versions of a model or prompt in the target."""
    found: dict[str, Any] = {}
    for prompts in ("", "tags.`mlflow.prompt.is_prompt` = 'true'"):
        condition = " AND ".join(filter(None, (name_filter(name), prompts)))
        token = None
        for _ in itertools.count():
            page = connection.registry.search_model_versions(condition, _PAGE, None, token)
            found.update({entity.version: entity for entity in page if entity.name == name})
            token = page.token
            if not token:
                break
    return list(found.values())


def _is_same(entity: Any, version: ModelVersion, state: State) -> bool:
    """Whether the target's version is the snapshot's: of the same source and run."""
    return is_same_source(entity.source, entity._tags, version, state) and is_same_run(entity.run_id, version, state)
