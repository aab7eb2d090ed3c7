"""Makes one HTML file of the page's parts: it asks the network for nothing, and runs no script but its own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from mlmeta.errors import UsageError
from mlmeta.page.model import Data
from mlmeta.temporary import write_whole

MODULES = (
    "dom",
    "format",
    "data",
    "filter",
    "charts",
    "table",
    "state",
    "explore",
    "curves",
    "history",
    "overview",
    "experiment",
    "run",
    "registry",
    "main",
)
"""The page's scripts, each after those that it imports from."""
_FILE_MODE = 0o600

_IMPORT = re.compile(r"^import (\{[^}]*\}) from \"\./([a-z]+)\.js\";$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|const|class) ([A-Za-z]+))", re.MULTILINE)


def page(timestamp: str, data: str, curves: str) -> bytes:
    """The HTML file.

    Args:
        timestamp: of the snapshot, for the title.
        data: all that is on it, but for the curves; packed.
        curves: of metric histories; packed.
    """
    parts = {
        "policy": policy(),
        "title": re.sub(r"[^0-9A-Za-z_-]", "", timestamp),
        "style": style(),
        "app": app(),
        "echarts": _packed(vendored()),
        "data": data,
        "curves": curves,
    }
    return re.sub(r"{{ ([a-z]+) }}", lambda found: parts[found[1]], _text("index.html")).encode()


def packed(data: Data) -> str:
    """Data as the page has it: JSON, gzip, base64."""
    return _packed(data.model_dump_json().encode())


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


@cache
def app() -> str:
    """The page's scripts as one: each module a function that gives what it exports, as there is no file to import."""
    return '"use strict";\n(() => {\n' + "\n".join(map(_as_function, MODULES)) + "\n})();\n"


def _as_function(name: str) -> str:
    text = _text(f"{name}.js")
    exported = ", ".join(found[2] for found in _EXPORT.finditer(text))
    body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = module_\2;", text))
    return f"const module_{name} = (() => {{\n{body}return {{ {exported} }};\n}})();"


@cache
def style() -> str:
    """The page's style sheet."""
    return _text("style.css")


@cache
def vendored() -> bytes:
    """Apache ECharts: see `vendor/build.sh`."""
    return files("mlmeta.page").joinpath("vendor", "echarts.js").read_bytes()


@cache
def policy() -> str:
    """The Content-Security-Policy: no network, no script or style but these very ones, and no HTML made of texts."""
    scripts = f"{_hashed(app().encode())} {_hashed(vendored())}"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {_hashed(style().encode())}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types default",
        )
    )


def _hashed(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


def _text(name: str) -> str:
    return files("mlmeta.page").joinpath("web", name).read_text(encoding="utf-8")


def check_file(path: Path, *, force: bool) -> None:
    """See that a file can be written, before there is work.

    Args:
        path: of the file.
        force: whether it may take the place of one that is there.

    Raises:
        UsageError: it can't.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file, such as {path / 'report.html'}")
    if path.exists() and not path.is_file():  # /dev/null would be gone
        raise UsageError(f"{path} is not a regular file", hint="name another one, or write to stdout with --output -")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint="make it first, or choose another one")
    if not force and os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> UsageError:
    return UsageError(
        f"{path} is there already", hint="choose another name with --output, or overwrite it with --force"
    )


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that appears as a whole, or not at all; readable by its owner only.

    Args:
        path: of the file; its folder exists.
        content: of the file.
        force: take the place of one that is there.

    Raises:
        UsageError: there is one, and it stays.
        OSError: it can't be written.
    """
    if force and path.is_symlink():
        path = path.resolve()
    if not write_whole(path, content, mode=_FILE_MODE, replaces=force):
        raise _taken(path)
