"""Folders of a file store, read without leaving it: links and what is not a plain file are named, never opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlmeta.redaction import in_brief

MOST_BYTES = 32 * 1024 * 1024
"""Of a param, a tag or a meta.yaml."""
META = "meta.yaml"


class OddFileError(ValueError):
    """A file of a store that can't be read, or must not be."""


def text_of(path: Path, most: int | None = MOST_BYTES) -> str:
    """A plain file's text.

    Raises:
        OddFileError: it is a link, a pipe, a device, too large, or no text.
        OSError: it can't be read.
    """
    if path.is_symlink():
        raise OddFileError(f"{path.name} is a link, which is not followed")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OddFileError(f"{path.name} is not a plain file")
        content = file.read(-1 if most is None else most + 1)
    if most is not None and len(content) > most:
        raise OddFileError(f"{path.name} is larger than {most >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise OddFileError(f"{path.name} is not UTF-8") from error


def meta_of(folder: Path) -> dict[str, Any]:
    """What the meta.yaml of an experiment or a run says.

    Raises:
        OddFileError: there is none, or it is cut.
        OSError: it can't be read.
    """
    import yaml  # type: ignore[import-untyped]

    if not os.path.lexists(folder / META):
        raise OddFileError(f"it has no {META}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(text_of(folder / META, 1 << 20), loader)  # noqa: S506 - a safe one, in C
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise OddFileError(f"its {META} can't be read: {in_brief(str(error), 200)}") from error
    if not isinstance(found, dict):
        raise OddFileError(f"its {META} is empty or cut")
    return found


def folders_in(parent: Path) -> list[Path]:
    """Folders, and links to some; none where there is no such parent, or it is a link itself."""
    if not parent.is_dir() or parent.is_symlink():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir())


def files_below(folder: Path) -> Iterator[Path]:
    """All that is below a folder and no folder itself; what is a link, as it is."""
    if folder.is_symlink():
        yield folder
    elif folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from files_below(path)
            else:
                yield path


def must_be_plain(folder: Path, *, but: frozenset[str] = frozenset()) -> None:
    """See that there is nothing below a folder that must not be opened.

    Args:
        folder: to look through.
        but: names of folders right below it that nobody will read.

    Raises:
        OddFileError: there is.
    """
    if folder.is_symlink():
        raise OddFileError("it is a link, which is not followed")
    for child in folder.iterdir() if folder.is_dir() else ():
        for path in files_below(child) if child.is_dir() and child.name not in but else [child]:
            if not stat.S_ISREG(path.lstat().st_mode) and path.name not in but:
                raise OddFileError(f"{path.relative_to(folder)} is a link, or no plain file, and is not read")
