"""Filters of MLflow's searches."""

from __future__ import annotations


def name_filter(name: str) -> str:
    """A filter for a name. MLflow's filters know no escapes: an odd name is looked for among all."""
    if "\\" in name:
        return ""
    if "'" not in name:
        return f"name = '{name}'"
    return f'name = "{name}"' if '"' not in name else ""
