"""Ways in which a stored file goes bad."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def flip(position: int) -> Damage:
    """Change one bit at a position (taken modulo the size)."""

    def apply(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= 1
        path.write_bytes(content)

    return apply


def cut(position: int) -> Damage:
    """Keep the bytes before a position (taken modulo the size)."""

    def apply(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: position % len(content)])

    return apply


def rewritten(old: bytes, new: bytes) -> Damage:
    """Valid JSON, but other content."""

    def apply(path: Path) -> None:
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    return apply


def delete(path: Path) -> None:
    path.unlink()


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def not_json(path: Path) -> None:
    path.write_bytes(b"<html>no</html>")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def line_lost(path: Path) -> None:
    """Remove the record in the middle; the rest is a valid array still."""
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[1]
    path.write_bytes(b"".join(lines))


def swapped_with(other: Callable[[Path], Path]) -> Damage:
    """Exchange the content with another file's."""

    def apply(path: Path) -> None:
        second = other(path)
        first = path.read_bytes()
        shutil.copyfile(second, path)
        second.write_bytes(first)

    return apply


NAMED: dict[str, Damage] = {
    "deleted": delete,
    "cut to nothing": cut(0),
    "cut in the middle": cut(150),
    "last byte cut": cut(-1),
    "appended to": append,
    "not JSON": not_json,
    "a folder": folder_instead,
    "first byte flipped": flip(0),
    "last byte flipped": flip(-1),
    "a record lost": line_lost,
}


def positions(size: int, count: int, seed: int = 0) -> list[int]:
    """Positions in a file: the first, the last, and a sample in between."""
    chance = random.Random(seed)
    return sorted({0, size - 1, *(chance.randrange(size) for _ in range(count))})
