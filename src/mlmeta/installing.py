"""How a package gets to where mlmeta runs, in words for a hint."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

_CACHES = ("archive-v", "environments-v")
"""How the folders begin in which uvx keeps environments."""


def how_to_install(package: str) -> str:
    """The command that adds a package to the environment that mlmeta runs in.

    A bare ``pip install`` would often reach another one: pipx and uv keep an environment for each tool, in which there
    may be no pip, and a command that is called by its path does not make its environment the shell's.

    Args:
        package: as pip takes it, such as ``psycopg[binary]``.
    """
    home = Path(sys.prefix)
    wanted = shlex.quote(package)
    if any(part.startswith(_CACHES) for part in home.parts):  # not to be changed
        return f"uvx --with {wanted} …"
    if (home / "pipx_metadata.json").exists():
        return f"pipx inject mlmeta {wanted}" if home.parent.name == "venvs" else f"pipx run --with {wanted} …"
    python = shlex.quote(sys.executable or "python")  # there is none where Python is part of another program
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {python} {wanted}"
    return f"{python} -m pip install {wanted}"
