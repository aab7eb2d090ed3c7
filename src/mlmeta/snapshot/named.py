"""Which registered models of a snapshot a person means, and what of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlmeta.errors import UnknownRecordError, UsageError
from mlmeta.schema import DEFAULT_WORKSPACE, MODELS, ModelVersion, RegisteredModel, Selection
from mlmeta.schema.words import closest
from mlmeta.snapshot.reader import Snapshot


@dataclass(frozen=True)
class _Part:
    """What of a registered model is meant.

    Args:
        model: as the snapshot has it.
        versions: their numbers; None: all.
        aliases: None: all.
        asked: those that were named by themselves, as ``NAME@ALIAS``.
    """

    model: RegisteredModel
    versions: frozenset[int] | None = None
    aliases: frozenset[str] | None = None
    asked: frozenset[str] = frozenset()

    def and_also(self, other: _Part) -> _Part:
        if self.versions is None or self.aliases is None or other.versions is None or other.aliases is None:
            return _Part(self.model, asked=self.asked | other.asked)
        asked = self.asked | other.asked
        return _Part(self.model, self.versions | other.versions, self.aliases | other.aliases, asked)

    def of(self, model: RegisteredModel) -> RegisteredModel:
        if self.versions is None or self.aliases is None:
            return model
        kept = tuple(one for one in model.versions if one.version in self.versions)
        aliases = {alias: number for alias, number in model.aliases.items() if alias in self.aliases}
        return model.model_copy(update={"versions": kept, "aliases": aliases})


class ModelParts:
    """The registered models that are meant, each as a whole or with some versions."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def add(self, part: _Part) -> None:
        """Mean this, too."""
        key = MODELS.key(part.model)
        self._parts[key] = self._parts[key].and_also(part) if key in self._parts else part

    @property
    def keys(self) -> set[str]:
        """Of the models."""
        return {*self._parts}

    def is_whole(self, model: RegisteredModel) -> bool:
        """Whether all of a model is meant."""
        return self._parts[MODELS.key(model)].versions is None

    def snapshot_of(self, model: RegisteredModel) -> RegisteredModel:
        """A model that is meant, with all that the snapshot has of it."""
        return self._parts[MODELS.key(model)].model

    def part_of(self, model: RegisteredModel) -> RegisteredModel:
        """What is meant of a model, which may be another store's."""
        part = self._parts.get(MODELS.key(model))
        return model if part is None else part.of(model)

    def asked_aliases(self, model: RegisteredModel) -> frozenset[str]:
        """The aliases of a model that were named by themselves."""
        return self._parts[MODELS.key(model)].asked

    def versions(self) -> Iterator[ModelVersion]:
        """The versions that are meant."""
        for part in self._parts.values():
            yield from part.of(part.model).versions

    def named(self) -> Iterator[tuple[str, tuple[str, ...] | None]]:
        """What is meant: the key of a model with None, or ``NAME/VERSION`` with its aliases."""
        for key, part in self._parts.items():
            if part.versions is None:
                yield key, None
                continue
            meant = part.of(part.model)
            for version in meant.versions:
                yield (
                    f"{key}/{version.version}",
                    tuple(alias for alias, number in meant.aliases.items() if number == version.version),
                )


def models_named(snapshot: Snapshot, selection: Selection) -> ModelParts:
    """The registered models that a selection names.

    Args:
        snapshot: that has them.
        selection: names them as ``NAME``, ``NAME@ALIAS`` or ``NAME/VERSION``, with ``models:/`` before it or not, or
            with ``prompts:/``: prompts are registered models.

    Raises:
        UnknownRecordError: there is no such model, version or alias.
        UsageError: several workspaces have one of that name.
    """
    parts = ModelParts()
    if not selection.models:
        return parts
    texts = {text: text.removeprefix("models:/").removeprefix("prompts:/") for text in selection.models}
    names = {name for text in texts.values() for name in (text, text.rpartition("@")[0], text.rpartition("/")[0])}
    known, others = [], []
    for model in snapshot.records(MODELS):
        if selection.has_workspace(model.workspace):
            others.append(MODELS.key(model))
            known += [model] if names & {model.name, MODELS.key(model)} else []
    for wanted, text in texts.items():
        part = _part(text, known, snapshot.timestamp, wanted)
        if part is None:
            message = f"snapshot {snapshot.timestamp} has no model {text!r}"
            raise UnknownRecordError(message, hint=f"it has: {closest(text, others)}", wanted=wanted)
        parts.add(part)
    return parts


def _part(text: str, known: Sequence[RegisteredModel], timestamp: str, wanted: str) -> _Part | None:
    if model := _model(text, known):
        return _Part(model)
    name, at, alias = text.rpartition("@")
    if at and (model := _model(name, known)):
        if alias in model.aliases:
            only = frozenset({alias})
            return _Part(model, frozenset({model.aliases[alias]}), only, asked=only)
        raise UnknownRecordError(
            f"model {name!r} of snapshot {timestamp} has no alias {alias!r}",
            hint=f"it has: {closest(alias, model.aliases)}",
            wanted=wanted,
        )
    name, slash, number = text.rpartition("/")
    if slash and (model := _model(name, known)):
        if number in {str(one.version) for one in model.versions}:
            aliases = frozenset(alias for alias, version in model.aliases.items() if str(version) == number)
            return _Part(model, frozenset({int(number)}), aliases)
        raise UnknownRecordError(
            f"model {name!r} of snapshot {timestamp} has no version {number!r}",
            hint=f"it has: {closest(number, (str(one.version) for one in model.versions))}",
            wanted=wanted,
        )
    return None


def _model(name: str, known: Iterable[RegisteredModel]) -> RegisteredModel | None:
    """The model of a name, or of a workspace and a name.

    Raises:
        UsageError: there are several.
    """
    found = [model for model in known if name in {model.name, MODELS.key(model)}]
    if len(found) > 1:
        places = ", ".join(model.workspace or DEFAULT_WORKSPACE for model in found)
        raise UsageError(f"several workspaces have a model {name!r}: {places}", hint="add --workspace NAME")
    return found[0] if found else None
