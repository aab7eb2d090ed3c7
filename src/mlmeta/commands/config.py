"""`mlmeta config`: which value each option has, and where it comes from."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.result import Result


class Setting(BaseModel):
    """An option's value.

    Args:
        option: its long name, without dashes.
        commands: that have this value.
        value: as the command takes it, without credentials; null: none.
        source: what kind of place it comes from.
        variable: of the environment that it comes from; empty: it does not.
        profile: that it comes from; empty: none.
        section: of the configuration file under which it stands; empty: at the top, or not in the file.
    """

    model_config = ConfigDict(frozen=True)

    option: str
    commands: tuple[str, ...]
    value: Any
    source: Literal["option", "environment", "profile", "file", "default"]
    variable: str = ""
    profile: str = ""
    section: str = ""


class ConfigResult(Result):
    """The values of options.

    Args:
        file: the configuration file; empty: there is none.
        profile: that was chosen; empty: none.
        profiles: that the file has.
        command: whose options they are, with their defaults; empty: those of all commands that are set.
        settings: in the order of commands and options.
    """

    file: str
    profile: str
    profiles: tuple[str, ...]
    command: str
    settings: tuple[Setting, ...]

    is_report: ClassVar[bool] = False
