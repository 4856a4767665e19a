"""The README and the pages of docs/ keep up with the program."""

import re
from pathlib import Path

import pytest
import typer

from flag_pipeline.cli.app import app
from flag_pipeline.definitions import build_definitions
from flag_pipeline.settings import load_settings, project_root
from flag_pipeline_tests.settings_page import ENVIRONMENT, PAGE, environment_file, settings_page

ROOT = project_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for folder in ("docs", "deploy", "benchmarks") for page in (ROOT / folder).rglob("*.md")),
    ]
)
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_the_page_of_settings_is_up_to_date() -> None:
    """docs/settings.md has each setting with its default, its limits and its meaning; `dg list envs` has each name."""
    command = "uv run python -m flag_pipeline_tests.settings_page"

    assert PAGE.read_text(encoding="utf-8") == settings_page(), f"out of date; write it again with: {command}"
    assert ENVIRONMENT.read_text(encoding="utf-8") == environment_file(), f"out of date; write it again with: {command}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(command: str) -> None:
    """A command is named in the README, and its help says what it does."""
    assert f"`flag-pipeline {command}" in README
    assert typer.main.get_command(app).commands[command].help  # type: ignore[attr-defined]


def test_everything_that_dagster_shows_is_in_the_docs() -> None:
    """Assets, jobs, schedules and sensors are in the table of docs/operating.md."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    defs = build_definitions(load_settings())
    assets = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    named = [job.name for job in defs.jobs or []] + [
        each.name for each in [*(defs.schedules or []), *(defs.sensors or [])]
    ]

    for name in {*assets, *named}:
        assert f"`{name}`" in page, name


def test_the_readme_shows_the_commands_that_ci_runs() -> None:
    """The README's two commands are those of `.ci/run`."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    for command in ("uv run flag-pipeline run", "uv run pytest"):
        assert f"$ pip install uv && {command}" in README
        assert re.search(rf"^{re.escape(command)}$", script, re.MULTILINE)


def test_the_readme_is_short() -> None:
    """The README has at most 120 lines: what is longer belongs in docs/."""
    assert len(README.splitlines()) <= 120


def headings_of(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file, and a heading if it has a fragment."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not fragment or fragment in headings_of(linked), target
