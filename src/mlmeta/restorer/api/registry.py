"""The model registry: models, and versions under their own numbers, gaps included.

The server gives a new version the number after the highest there ever was. So a gap is made by creating a version and
deleting it; `marks.VERSION` says which number a version was made for, so that what a killed restore leaves in a gap
is known and removed.
"""

from __future__ import annotations

import itertools
from typing import Any

from mlmeta.restorer.api import marks
from mlmeta.restorer.api.sources import Repointed, repoint
from mlmeta.restorer.api.state import State
from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.tracking.connection import Connection

_PAGE = 1000


class ModelRestorer:
    """Restores registered models, one after the other.

    Args:
        connection: to the target.
        state: what is known of it; runs are restored.
        timestamp: the snapshot's.
    """

    def __init__(self, connection: Connection, state: State, timestamp: str) -> None:
        self._connection = connection
        self._state = state
        self._timestamp = timestamp

    def restore(self, model: RegisteredModel) -> None:
        """Bring a model, its versions and its aliases into the target."""
        from mlflow.exceptions import MlflowException

        try:
            entity = find(self._connection, model.name)
            if entity is None:
                self._create(model)
            else:
                self._state.was_there("models", "registered model", model.name)
            versions = self._clean(model.name)
        except MlflowException as error:
            self._connection.check()
            self._state.refuse("registered model", model.name, self._connection.reason(error))
            return
        ours = {v.version for v in model.versions if self._restore_version(model.name, v, versions.get(v.version))}
        self._set_aliases(model, dict(entity.aliases) if entity is not None else {}, ours)

    def _create(self, model: RegisteredModel) -> None:
        from mlflow.entities.model_registry import RegisteredModelTag

        tags = {**marks.without(model.tags), marks.SNAPSHOT: self._timestamp}
        self._connection.registry.create_registered_model(
            model.name, [RegisteredModelTag(k, v) for k, v in tags.items()], model.description
        )
        self._state.created["models"] += 1

    def _clean(self, name: str) -> dict[int, Any]:
        """The target's versions by number, after removing what an interrupted restore left in gaps."""
        found = {}
        for entity in versions_of(self._connection, name):
            number = entity._tags.get(marks.VERSION)
            if number is not None and number != str(entity.version):
                self._connection.registry.delete_model_version(name, entity.version)
            else:
                found[int(entity.version)] = entity
        return found

    def _restore_version(self, name: str, version: ModelVersion, entity: Any) -> bool:
        """Whether the version is in the target afterwards, and is the snapshot's."""
        from mlflow.exceptions import MlflowException

        where = f"{name} version {version.version}"
        wanted = repoint(version, self._state)
        try:
            if entity is None:
                if not self._create_version(name, version, wanted):
                    return False
                self._state.created["model versions"] += 1
            elif not _is_same(entity, wanted):
                reason = f"the target has another version of that number (source {entity.source}); it stays as it is"
                self._state.refuse("model version", where, reason)
                return False
            else:
                self._state.was_there("model versions", "model version", where)
            self._set_stage(name, version, entity)
        except MlflowException as error:
            self._connection.check()
            reason = f"{self._connection.reason(error)}{_way_out(version)}"
            self._state.refuse("model version", where, reason)
            return False
        return True

    def _create_version(self, name: str, version: ModelVersion, wanted: Repointed) -> bool:
        """Create versions until one has the right number, and delete those before it."""
        while True:
            number = int(self._create_next(name, version, wanted).version)
            if number == version.version:
                return True
            self._connection.registry.delete_model_version(name, str(number))
            if number > version.version:
                reason = f"the target's next number is {number} already: versions were deleted there"
                self._state.refuse("model version", f"{name} version {version.version}", reason)
                return False

    def _create_next(self, name: str, version: ModelVersion, wanted: Repointed) -> Any:
        from mlflow.entities.model_registry import ModelVersionTag

        tags = {
            **marks.without(version.tags),
            marks.SNAPSHOT: self._timestamp,
            marks.VERSION: str(version.version),
        }
        if wanted.source != version.source:
            tags[marks.SOURCE_URI] = version.source or ""
        return self._connection.registry.create_model_version(
            name,
            wanted.source,
            wanted.run_id,
            [ModelVersionTag(k, v) for k, v in tags.items()],
            version.run_link,
            version.description,
        )

    def _set_stage(self, name: str, version: ModelVersion, entity: Any) -> None:
        """Set the stage of a version that was just made, or that a killed restore left without one."""
        stage = version.current_stage
        fresh = entity is None or (marks.SNAPSHOT in entity._tags and entity.current_stage == "None")
        if fresh and stage not in {None, "None"}:
            self._connection.registry.transition_model_version_stage(name, str(version.version), stage, False)

    def _set_aliases(self, model: RegisteredModel, there: dict[str, Any], ours: set[int]) -> None:
        from mlflow.exceptions import MlflowException

        for alias, number in model.aliases.items():
            refused = ""
            try:
                if alias not in there and number in ours:
                    self._connection.registry.set_registered_model_alias(model.name, alias, str(number))
                elif alias not in there:
                    refused = f"version {number} is not in the target"
                elif int(there[alias]) != number:
                    refused = f"it names version {there[alias]} there, and stays as it is"
            except MlflowException as error:
                self._connection.check()
                refused = self._connection.reason(error)
            if refused:
                self._state.refuse("alias", f"{model.name}@{alias}", refused, f"aliases[{alias}]")


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
        condition = " AND ".join(filter(None, (_name_filter(name), prompts)))
        token = None
        for _ in itertools.count():
            page = connection.registry.search_model_versions(condition, _PAGE, None, token)
            found.update({entity.version: entity for entity in page if entity.name == name})
            token = page.token
            if not token:
                break
    return list(found.values())


def _name_filter(name: str) -> str:
    """A filter for a name. MLflow's filters know no escapes: a name with both kinds of quotes is looked for in all."""
    if "'" not in name:
        return f"name = '{name}'"
    return f'name = "{name}"' if '"' not in name else ""


def _is_same(entity: Any, wanted: Repointed) -> bool:
    """Whether the target's version is the snapshot's: of the same source and run."""
    return (entity.source or None) == wanted.source and (entity.run_id or None) == wanted.run_id


def _way_out(version: ModelVersion) -> str:
    source = version.source or ""
    if source.startswith(("mlflow-artifacts:", "models:", "runs:", "/", "file:", "./")):
        return (
            "; a server takes this source only from the very run that made it: restore into the server's "
            "database instead (it keeps ids)"
        )
    return ""
