"""What the tables of a configuration file say, checked: keys, types, profiles.

The whole file is checked whatever command runs: a mistake under `[restore]` must not wait for the day of the restore.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlmeta.cli.config_keys import checked, commands, nearest, shared
from mlmeta.errors import ConfigurationError

if TYPE_CHECKING:
    from mlmeta.cli.config_file import ConfigFile

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
