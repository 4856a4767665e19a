"""What `dg scaffold defs` adds to a checkout shows up; where it cannot be loaded, an error names it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import flag_pipeline.definitions
from flag_pipeline.defs.scaffolded import scaffolded_definitions
from flag_pipeline.settings import Settings, project_root

pytestmark = pytest.mark.timeout(180)

LIST_ASSETS = """
import sys
from flag_pipeline import definitions
defs = definitions.defs()
print(*sorted(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()))
again = definitions.defs()
assert again.resolve_asset_graph().get_all_asset_keys() == defs.resolve_asset_graph().get_all_asset_keys()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package, with the project file beside it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(flag_pipeline.__file__).parent, tmp_path / "flag_pipeline", ignore=ignored)
    shutil.copy(project_root() / "pyproject.toml", tmp_path)
    return tmp_path


def run(folder: Path, *command: str | Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command with the package of that folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == expect, done.stderr
    return done


def test_a_scaffolded_asset_shows_up(checkout: Path) -> None:
    """`dg` lists it beside the assets of the package, and it can be loaded twice in a process."""
    program = Path(sys.executable).with_name("dg")
    run(checkout, program, "scaffold", "defs", "dagster.asset", "x.py")

    listed = json.loads(run(checkout, program, "list", "defs", "--json").stdout)
    loaded = run(checkout, sys.executable, "-c", LIST_ASSETS).stdout.split()

    assert {"x", "flag_image"} <= {asset["asset_key"] for asset in listed["assets"]}
    assert loaded == [
        "country_metadata",
        "flag_catalog",
        "flag_changes",
        "flag_gallery",
        "flag_image",
        "flag_release",
        "x",
    ]


def test_dg_lists_the_settings(checkout: Path) -> None:
    """`dg list envs` has each variable, and the file that it reads them from is valid."""
    program = Path(sys.executable).with_name("dg")

    listed = run(checkout, program, "list", "envs").stdout
    run(checkout, program, "check", "yaml")

    assert {f"FLAG_{name.upper()}" for name in Settings.model_fields} <= set(listed.split())


def test_a_file_that_cannot_be_loaded_is_named(checkout: Path) -> None:
    """Outside of a dg project an error names the file, because Dagster would ignore it without a word."""
    (checkout / "pyproject.toml").unlink()
    (checkout / "flag_pipeline" / "defs" / "x.py").write_text("import dagster as dg\n\n\n@dg.asset\ndef x(): ...\n")

    done = run(checkout, sys.executable, "-c", LIST_ASSETS, expect=1)

    assert "has files that only a dg project loads (x.py): add them to a checkout" in done.stderr


def test_without_scaffolded_files_nothing_is_loaded() -> None:
    """All files of the folder are imported by name, so that Dagster's slower way of loading has nothing to do."""
    assert scaffolded_definitions() == dg.Definitions()
