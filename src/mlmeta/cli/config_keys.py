"""The keys of the configuration file: the commands' own options, so that the two cannot drift apart.

A key is the long name of an option without its dashes. What may stand under it follows from the annotation of the
option's parameter. At the top of the file a key means all commands whose option has the variable of that name, as the
variable does. The whole file is checked whatever command runs: a mistake under `[restore]` must not wait for the day of
the restore.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from importlib import import_module
from types import GenericAlias, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from mlmeta.errors import ConfigurationError

if TYPE_CHECKING:
    from mlmeta.cli.config_file import ConfigFile

PLACES = {"LOCATION", "URI", "FILE.prom"}
"""Metavars of options that name a place; a relative one is relative to the file."""
SECRETS = {"PING-URL"}
"""Metavars of options whose values are shown nowhere."""
_WORDS = {
    "string_type": "a text is expected, in quotes",
    "int_type": "a number is expected, without quotes",
    "bool_type": "true or false is expected, without quotes",
    "list_type": "a list is expected",
    "too_short": "at least one value is expected",
}
"""What Pydantic says in words of its own, by the type of the error."""


@dataclass(frozen=True)
class Key:
    """A key.

    Args:
        name: as it is written in the file.
        parameter: of the command's function.
        shared: whether it may stand at the top, for all commands that have it.
        value: the type of one value.
        is_list: whether it takes several.
        least: the smallest number; None: any.
        most: the largest number; None: any.
        is_place: whether a value names a place, see `PLACES`.
    """

    name: str
    parameter: str
    shared: bool
    value: Any
    is_list: bool
    least: float | None
    most: float | None
    is_place: bool

    @property
    def annotation(self) -> Any:
        """The type of all that may stand in the file."""
        kind = self.value
        if isinstance(kind, type) and issubclass(kind, Enum):
            kind = Literal[tuple(one.value for one in kind)]
        if (self.least, self.most) != (None, None):
            kind = Annotated[kind, Field(ge=self.least, le=self.most)]
        if not self.is_list:
            return kind
        least = Field(min_length=1 if self.is_place else 0)  # nowhere is no place
        return Annotated[GenericAlias(list, (kind,)), BeforeValidator(several), least]


def several(value: Any) -> Any:
    """A list; of a single value where there is one."""
    return value if isinstance(value, list) else [value]


@cache
def commands() -> Mapping[str, Mapping[str, Key]]:
    """The keys of each command."""
    from mlmeta.cli.app import COMMANDS

    return {name: keys_of(import_module(f"mlmeta.cli.{name}").command) for name in COMMANDS}


@cache
def shared() -> Mapping[str, Key]:
    """The keys that may stand at the top. Where a command takes several values, a list may."""
    found: dict[str, Key] = {}
    for keys in commands().values():
        for key in keys.values():
            if key.shared:
                found[key.name] = replace(key, is_list=key.is_list or (key.name in found and found[key.name].is_list))
    return found


def keys_of(command: Callable[..., Any]) -> dict[str, Key]:
    """The keys of a command, by name; its arguments have none."""
    hints = get_type_hints(command, include_extras=True)
    found = (
        _key(name, _without_none(hint)) for name, hint in hints.items()
    )  # Python 3.10 adds a None to defaults of it
    return {key.name: key for key in found if key is not None}


def _key(parameter: str, hint: Any) -> Key | None:
    if get_origin(hint) is not Annotated:
        return None
    kind, info = get_args(hint)[:2]
    names = (info.default, *(info.param_decls or ()))
    long = next((name for name in names if isinstance(name, str) and name.startswith("--")), None)
    if long is None:
        return None
    name = long.partition("/")[0].removeprefix("--")
    variables = [info.envvar] if isinstance(info.envvar, str) else info.envvar or ()
    kind = _without_none(kind)
    is_list = get_origin(kind) is list
    return Key(
        name=name,
        parameter=parameter,
        shared=variable(name) in variables,
        value=get_args(kind)[0] if is_list else kind,
        is_list=is_list,
        least=info.min,
        most=info.max,
        is_place=info.metavar in PLACES,
    )


def variable(key: str) -> str:
    """The environment variable of a key."""
    return f"MLMETA_{key.upper().replace('-', '_')}"


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in {Union, UnionType}:
        return next(one for one in get_args(kind) if one is not type(None))
    return kind


@cache
def _model(command: str) -> type[BaseModel]:
    """The model of a command's section, or of the top (without a name)."""
    keys = commands()[command] if command else shared()
    fields: dict[str, Any] = {
        f"key_{number}": (key.annotation, Field(default=None, alias=name))
        for number, (name, key) in enumerate(keys.items())
    }
    return create_model(command or "top", __config__=ConfigDict(strict=True, extra="ignore"), **fields)


def checked(command: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section; a single one of a repeatable option as a list.

    Args:
        command: whose section it is; empty: the top of the file, or of a profile.
        values: by key; all of them known.

    Raises:
        ValueError: with the key and what is wrong with it.
    """
    try:
        return _model(command).model_validate(values).model_dump(by_alias=True, exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        words = _WORDS.get(first["type"]) or first["msg"].replace("Input should", "it should")
        raise ValueError(f"{first['loc'][0]}: {words}") from error


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names what was probably meant; empty: nothing is near."""
    found = difflib.get_close_matches(word.lower().replace("_", "-"), list(known), n=1)
    return f"did you mean {found[0]}?" if found else ""


PROFILE = "profile"
"""The table that has a table for each profile."""
_TYPES = 'the values that an option takes are in docs/reference/cli.md; lists are written ["one", "two"]'


@dataclass
class Layer:
    """The file without its profiles, or one profile.

    Args:
        common: values for all commands, by key.
        commands: values for one command.
    """

    common: dict[str, Any] = field(default_factory=dict)
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)


def layers(file: ConfigFile) -> dict[str, Layer]:
    """The file's own values, under an empty name, and each profile's, by its name.

    Raises:
        ConfigurationError: a key is unknown, or a value is not one that the option takes.
    """
    profiles = file.content.get(PROFILE, {})
    heading = f"write {file.section(PROFILE, 'NAME')} above the keys of a profile"
    if not isinstance(profiles, dict):
        raise _refusal(file, (), f"{PROFILE} is not a table", f"{heading}; --profile chooses one")
    found = {"": _layer(file, file.content, ())}
    for name, content in profiles.items():
        if not isinstance(content, dict) or not name:
            raise _refusal(file, (PROFILE,), f"{name or 'an empty name'} is no profile", heading)
        found[name] = _layer(file, content, (PROFILE, name))
    return found


def _layer(file: ConfigFile, content: Mapping[str, Any], names: tuple[str, ...]) -> Layer:
    """What stands in the file, or in a profile: tables are commands, the rest are options."""
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    if not names:
        tables.pop(PROFILE, None)
    layer = Layer(_section(file, "", names, {k: v for k, v in content.items() if not isinstance(v, dict)}))
    for name, values in tables.items():
        if name not in commands():
            if name in shared():
                raise _refusal(file, names, f"{name} is an option, not a table", f"write {name} = …")
            known = (*commands(), *(() if names else (PROFILE,)))
            raise _refusal(file, names, f"there is no command {name}", _meant(name, known))
        layer.commands[name] = _section(file, name, (*names, name), values)
    return layer


def _section(file: ConfigFile, command: str, names: tuple[str, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """The checked values of a table."""
    known = commands()[command] if command else shared()
    for key in values:
        if key in commands() and key not in known and not command:
            heading = file.section(*names, key)
            raise _refusal(file, names, f"{key} is a command, not an option", f"write {heading} above its keys")
        if key not in known:
            raise _refusal(file, names, f"unknown key {key}", _hint(key, command, known))
    try:
        return checked(command, values)
    except ValueError as error:
        raise _refusal(file, names, str(error), _TYPES) from error


def _hint(key: str, command: str, known: Mapping[str, Any]) -> str:
    """What may be meant: a key that is near, or a command that has it."""
    others = [name for name, keys in commands().items() if key in keys]
    if others and command:
        return f"{command} has no option --{key}; {', '.join(others)} {'has' if len(others) == 1 else 'have'}"
    if others:
        return f"write it under the command that it is for: [{'], ['.join(others)}]"
    return _meant(key, (*known, *(() if command else (PROFILE, *commands()))))


def _meant(word: str, known: tuple[str, ...]) -> str:
    return nearest(word, known) or "a key is the name of an option without its dashes, a table that of a command"


def _refusal(file: ConfigFile, names: tuple[str, ...], what: str, hint: str) -> ConfigurationError:
    section = file.section(*names)
    return ConfigurationError(f"{file}: {section} {what}" if section else f"{file}: {what}", hint=hint)
