"""Whether a server answers already."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request

_PATIENCE = 1.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the child itself, whatever proxy the environment names."""


def answers(url: str) -> bool:
    """Whether a URL answers, be it with a refusal: then whoever is behind it is at work. It takes a second at most."""
    try:
        with _DIRECT.open(url, timeout=_PATIENCE):
            return True
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            return error.code < 500
    except (OSError, ValueError):
        return False
