"""The README keeps up with the program."""

import re

import pytest
import typer

from flag_pipeline.cli.app import app
from flag_pipeline.definitions import build_definitions
from flag_pipeline.settings import Settings, load_settings, project_root

README = (project_root() / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def setting_rows() -> list[str]:
    """The rows that the README's table of settings must have."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = f"`{default}`" if default not in (None, []) else ""
        rows.append(f"| `FLAG_{name.upper()}` | {shown} | {field.description} |")
    return rows


@pytest.mark.parametrize("row", setting_rows())
def test_every_setting_is_in_the_readme(row: str) -> None:
    """The table of settings has each one, with its default and meaning."""
    assert row in README.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(command: str) -> None:
    """A command is named in the README, and says what it does."""
    assert f"`flag-pipeline {command}" in README
    assert typer.main.get_command(app).commands[command].help  # type: ignore[attr-defined]


def test_everything_that_dagster_shows_is_in_the_readme() -> None:
    """Assets, jobs, schedules and sensors are in the table of what there is to operate with."""
    defs = build_definitions(load_settings())
    assets = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    named = [job.name for job in defs.jobs or []] + [
        each.name for each in [*(defs.schedules or []), *(defs.sensors or [])]
    ]

    for name in {*assets, *named}:
        assert f"`{name}`" in README, name


def test_the_readme_shows_the_commands_that_ci_runs() -> None:
    """The README's two commands are those of `.ci/run`."""
    script = (project_root() / ".ci" / "run").read_text(encoding="utf-8")

    for command in ("uv run flag-pipeline run", "uv run pytest"):
        assert f"$ pip install uv && {command}" in README
        assert re.search(rf"^{re.escape(command)}$", script, re.MULTILINE)
