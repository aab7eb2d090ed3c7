"""The documents name every command and every option."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import cli_reference

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date() -> None:
    assert cli_reference.PAGE.read_text() == cli_reference.page(), "run `make docs`"


@pytest.mark.parametrize("name", cli_reference.commands())
def test_every_command_and_parameter_has_a_help_text(name: str) -> None:
    command = cli_reference.commands()[name]
    assert command.help
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", cli_reference.commands())
def test_every_option_has_an_environment_variable(name: str) -> None:
    for parameter in cli_reference.commands()[name].params:
        if parameter.opts[0].startswith("-") and parameter.name != "help":
            assert parameter.envvar, f"{name}: {parameter.name}"


def test_the_readme_names_the_commands_a_stranger_needs() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("backup", "list", "restore", "show", "verify", "browse", "copy", "prune", "forget"):
        assert f"mlmeta {name}" in readme
