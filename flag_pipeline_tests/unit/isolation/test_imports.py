"""The isolation is of use to pipelines that are not about flags: it brings nothing of them along."""

import subprocess
import sys
from pathlib import Path

import pytest

import flag_pipeline.isolation
from flag_pipeline import isolation
from flag_pipeline.isolation import dagster_private

FOLDER = Path(flag_pipeline.isolation.__file__).parent


def test_importing_it_loads_no_http_no_images_and_nothing_of_the_flags() -> None:
    """It loads the project's package, whose `__init__` is one line, and nothing else of the project."""
    program = "import sys, flag_pipeline.isolation\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert not {"aiohttp", "PIL", "aiofiles", "pyarrow", "pydantic_settings"} & {name.split(".")[0] for name in loaded}
    own = [name for name in loaded if name.startswith("flag_pipeline")]
    assert [name for name in own if not name.startswith("flag_pipeline.isolation")] == ["flag_pipeline"]


def test_the_public_names_are_sorted_and_exist() -> None:
    """Classes last, as the linter sorts them."""
    names = isolation.__all__

    assert names == sorted(names, key=lambda name: (name[0].islower(), name))
    assert all(getattr(isolation, name).__doc__ for name in names)


@pytest.mark.parametrize("name", dagster_private.__all__)
def test_dagster_still_has_the_private_name(name: str) -> None:
    """An upgrade that moves one of them fails here."""
    assert getattr(dagster_private, name) is not None


def test_private_names_are_in_one_module_only() -> None:
    """An upgrade of Dagster changes one file."""
    users = [path.name for path in FOLDER.glob("*.py") if "dagster._" in path.read_text(encoding="utf-8")]

    assert users == ["dagster_private.py"]
