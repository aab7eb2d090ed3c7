"""Options that may be given several times, where they come from the environment: one value a line.

Typer splits at blanks, which are part of folders and names; so the variable is read once more.
"""

from __future__ import annotations

import os

import typer


def one_a_line(context: typer.Context, parameter: typer.CallbackParam, value: list[str] | None) -> list[str]:
    """For an option that is repeatable: the lines of its variable that are not empty."""
    text = _variable(context, parameter)
    return value or [] if text is None else _lines(text)  # Typer before 0.20 takes no None


def first_line(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """For an option with one value, whose variable another command takes several from: the first of them."""
    text = _variable(context, parameter)
    return value if text is None else next(iter(_lines(text)), value)


def _variable(context: typer.Context, parameter: typer.CallbackParam) -> str | None:
    """The environment variable that gave a parameter its value; None: something else did."""
    source = context.get_parameter_source(parameter.name or "")
    if source is None or source.name != "ENVIRONMENT":
        return None
    names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
