"""What the options of a command are, and where each value comes from.

option > environment > profile > configuration file > default: Click asks the command line and the environment first,
and then `default_map`, which is made here of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from mlmeta.errors import ConfigurationError, MlmetaError

if TYPE_CHECKING:
    import typer

    from mlmeta.cli.config_file import ConfigFile
    from mlmeta.cli.config_keys import Key, Layer

META = "mlmeta.settings"
"""Under this key of a context's `meta` are the `Settings`."""
_SQLITE = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?:///)(?P<path>[^/:].*)", re.DOTALL)
_WORDS = {"databricks", "databricks-uc", "uc", "same"}
"""URIs that look like a folder's name, and are not; the last one is a word of --auth-uri."""


@dataclass(frozen=True)
class Value:
    """A value from the file, and where it stands.

    Args:
        value: as Click takes it.
        section: the heading that it stands under; empty: none.
        profile: that it belongs to; empty: none.
    """

    value: Any
    section: str
    profile: str = ""


@dataclass
class Settings:
    """The configuration that the command line asks for. It is read when it is needed, so that help needs none.

    Args:
        named: the file that was named; empty: look for one.
        without: whether there shall be none.
        profile: the name of one; empty: none.
        chosen_by: ``option`` or a variable: what chose the profile.
    """

    named: str = ""
    without: bool = False
    profile: str = ""
    chosen_by: str = "option"

    @cached_property
    def file(self) -> ConfigFile | None:
        """The file; None: there is none.

        Raises:
            ConfigurationError: it can't be used.
        """
        from mlmeta.cli import config_file

        if self.without:
            return None
        return config_file.named(self.named) if self.named else config_file.search()

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        """The file's own values (under an empty name), and each profile's, all checked."""
        if self.file is None:
            return {}
        from mlmeta.cli.config_keys import layers

        return layers(self.file)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the file's profiles, in its order."""
        return tuple(name for name in self._layers if name)

    def check(self) -> None:
        """See that the file can be used, and has the profile.

        Raises:
            ConfigurationError: it can't, or hasn't.
        """
        if not self.profile or self.profile in self.profiles:
            return
        from mlmeta.cli.config_keys import nearest

        asked = "" if self.chosen_by == "option" else f" (from {self.chosen_by})"
        if self.file is None:
            message, hint = "there is no configuration file", "write a mlmeta.toml, or name one with --config"
        else:
            known = ", ".join(self.profiles) or "none"
            message, hint = (
                f"{self.file} has none of that name",
                nearest(self.profile, self.profiles) or f"there are: {known}",
            )
        raise ConfigurationError(f"no profile {self.profile!r}{asked}: {message}", hint=hint)

    def of(self, command: str) -> dict[str, Value]:
        """What the file says for a command, by the parameters of its function.

        Raises:
            ConfigurationError: the file can't be used.
        """
        self.check()
        if self.file is None:
            return {}
        from mlmeta.cli.config_keys import commands

        found = ((key, self._value(self.file, command, key)) for key in commands()[command].values())
        return {key.parameter: value for key, value in found if value is not None}

    def _value(self, file: ConfigFile, command: str, key: Key) -> Value | None:
        from mlmeta.cli.config_keys import PROFILE

        for profile in dict.fromkeys((self.profile, "")):
            layer, names = self._layers[profile], (PROFILE, profile) if profile else ()
            for values, section in (
                (layer.commands.get(command, {}), (*names, command)),
                (layer.common if key.shared else {}, names),
            ):
                if key.name in values and (value := _one(key, values[key.name])) is not None:
                    return Value(_placed(key, value, file), file.section(*section), profile)
        return None


def _one(key: Key, value: Any) -> Any:
    """What a command takes of a value at the top: of a list the first one, where it takes no more."""
    if isinstance(value, list):
        return value if key.is_list else next(iter(value), None)
    return value


def _placed(key: Key, value: Any, file: ConfigFile) -> Any:
    if not key.is_place or file.is_here:
        return value
    folder = file.path.parent
    return [_absolute(one, folder) for one in value] if isinstance(value, list) else _absolute(value, folder)


def _absolute(place: str, folder: Any) -> str:
    """A place that is relative to a folder, in full."""
    if match := _SQLITE.fullmatch(place):
        return f"{match['scheme']}{folder / match['path']}"
    if not place or "://" in place or place.startswith("~") or place in _WORDS or re.match(r"\w{2,}:", place):
        return place
    return str(folder / place)


class Defaults(Mapping[str, Any]):
    """What Click takes for `default_map` of a command: its values from the file, read at the first question."""

    def __init__(self, settings: Settings, command: str, *, quietly: bool) -> None:
        self._settings = settings
        self._command = command
        self._quietly = quietly

    @cached_property
    def values_of_file(self) -> dict[str, Value]:
        """By parameter; none where the file is not to be used, and only a completion asks."""
        try:
            return self._settings.of(self._command)
        except MlmetaError:
            if not self._quietly:
                raise
            return {}

    def __getitem__(self, parameter: str) -> Any:
        return self.values_of_file[parameter].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of_file)

    def __len__(self) -> int:
        return len(self.values_of_file)


class DefaultsOfCommands(Mapping[str, Defaults]):
    """The same for the group of all commands."""

    def __init__(self, settings: Settings, *, quietly: bool) -> None:
        self._settings = settings
        self._quietly = quietly

    def __getitem__(self, command: str) -> Defaults:
        return Defaults(self._settings, command, quietly=self._quietly)

    def __iter__(self) -> Iterator[str]:
        from mlmeta.cli.config_keys import commands

        return iter(commands())

    def __len__(self) -> int:
        from mlmeta.cli.config_keys import commands

        return len(commands())


Source = Literal["option", "environment", "profile", "file", "default"]


@dataclass(frozen=True)
class Origin:
    """Where a value comes from.

    Args:
        source: what kind of place.
        name: of the variable, or of the profile.
        section: of the file.
    """

    source: Source
    name: str = ""
    section: str = ""


def plain(value: Any) -> Any:
    """A parameter's value as it stands in a file: choices as their words, several as a list."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.value if isinstance(value, Enum) else value


def origin(context: typer.Context, parameter: Any) -> Origin:
    """Where the value of a parameter comes from.

    Args:
        context: of the command.
        parameter: Click's, of that command.
    """
    from mlmeta.cli.options import variable_of

    source = context.get_parameter_source(parameter.name or "")
    match source.name if source else "":
        case "COMMANDLINE" | "PROMPT":
            return Origin("option")
        case "ENVIRONMENT":
            return Origin("environment", variable_of(parameter) or "")
        case "DEFAULT_MAP":
            value = context.default_map.values_of_file[parameter.name]  # type: ignore[union-attr]
            return Origin("profile" if value.profile else "file", value.profile, value.section)
    return Origin("default")
