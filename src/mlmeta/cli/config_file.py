"""The configuration file: where it is, whether it may be used, and what is in it.

Looked for in the working directory and in each folder above: `mlmeta.toml`, or a `pyproject.toml` with a table
`[tool.mlmeta]`. The nearest one counts, alone. One that belongs to another user is refused unless it was named: who
may write into a folder above must not choose where backups go.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlmeta.errors import ConfigurationError

NAME = "mlmeta.toml"
PYPROJECT = "pyproject.toml"
_TABLE = ("tool", "mlmeta")
_MOST = 1 << 20
"""Bytes: a file for people."""
_WITHOUT = "--no-config (or MLMETA_NO_CONFIG=1) does without it"


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file.

    Args:
        path: of the file.
        content: its tables and values, not checked yet.
        table: the table that they are in; empty: the whole file.
    """

    path: Path
    content: dict[str, Any]
    table: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Its path, from the working directory where it is there."""
        return self.path.name if self.is_here else str(self.path)

    @property
    def is_here(self) -> bool:
        """Whether it is in the working directory."""
        try:
            return self.path.parent == Path.cwd()
        except OSError:
            return False

    def section(self, *names: str) -> str:
        """The heading of a table, such as ``[profile.prod]``; empty for what stands above all headings."""
        words = (*self.table, *names)
        return f"[{'.'.join(words)}]" if words else ""


def named(path: str) -> ConfigFile:
    """The file that a person named, whoever owns it.

    Raises:
        ConfigurationError: it can't be read, or has no configuration.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            data = _bounded(place, file)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration file {path} can't be read: {os.strerror(error.errno or 0)}",
            hint="check --config and MLMETA_CONFIG",
        ) from error
    found = _parsed(Path(os.path.abspath(place)), data)  # noqa: PTH100 - links stay as they are
    if found is None:
        raise ConfigurationError(f"{path} has no table [{'.'.join(_TABLE)}]", hint="check --config and MLMETA_CONFIG")
    return found


def search() -> ConfigFile | None:
    """The nearest file, from the working directory upwards; None: there is none.

    Raises:
        ConfigurationError: it can't be read, is not TOML, or belongs to another user.
    """
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return None
    places = (folder / name for folder in (here, *here.parents) for name in (NAME, PYPROJECT))
    return next((found for place in places if (found := _usable(place)) is not None), None)


def _usable(path: Path) -> ConfigFile | None:
    """The configuration in a file that was not asked for; None where it has none."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                _refuse_odd(path)
                return None
            data = _bounded(path, file)
            owners = (status.st_uid, os.lstat(path).st_uid)  # a link's own, too
    except OSError as error:
        _refuse_unreadable(path, error)
        return None
    if path.name == PYPROJECT and b"mlmeta" not in data:
        return None  # as nearly all of them; a mistake in one is none of our business
    if path.name == NAME:
        _require_trusted(path, owners)
    found = _parsed(path, data)
    if found is not None:
        _require_trusted(path, owners)
    return found


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer


def _refuse_unreadable(path: Path, error: OSError) -> None:
    """Go on where there is no such file, or where the user may not look at all."""
    try:
        there = path.name == NAME and path.exists()
    except OSError:
        there = False
    if there:
        raise ConfigurationError(
            f"the configuration file {path} can't be read: {os.strerror(error.errno or 0)}", hint=_WITHOUT
        ) from error


def _refuse_odd(path: Path) -> None:
    """Go on where a folder or a pipe has the name of a file that is not ours alone."""
    if path.name == NAME:
        raise ConfigurationError(f"{path} is not a file", hint=_WITHOUT)


def _bounded(path: Path, file: BinaryIO) -> bytes:
    data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise ConfigurationError(f"{path} has more than {_MOST >> 20} MiB: that is no configuration", hint=_WITHOUT)
    return data


def _require_trusted(path: Path, owners: tuple[int, ...]) -> None:
    """See that nobody else put it there.

    Raises:
        ConfigurationError: it belongs neither to this user, nor to root, nor to who called sudo.
    """
    mine = {0, os.geteuid()}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        mine.add(int(os.environ["SUDO_UID"]))
    for owner in owners:
        if owner not in mine:
            raise ConfigurationError(
                f"the configuration file {path} belongs to another user, {_name(owner)}: it is not used unasked",
                hint=f"look at it; then MLMETA_CONFIG={path} (or --config) uses it, and {_WITHOUT}",
            )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"number {user}"


def _parsed(path: Path, data: bytes) -> ConfigFile | None:
    """What is in it for mlmeta; None: nothing, as in most files named pyproject.toml."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or thousands of brackets
        raise ConfigurationError(f"{path} is not TOML: {error}", hint=f"mend it; {_WITHOUT}") from error
    if path.name != PYPROJECT:
        return ConfigFile(path, content)
    for name in _TABLE:
        content = content.get(name, {})
        if not isinstance(content, dict):
            raise ConfigurationError(f"{path}: {name} is not a table", hint=f"mend it; {_WITHOUT}")
    return ConfigFile(path, content, _TABLE) if content else None
