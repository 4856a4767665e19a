"""What a command imports before it needs it."""

import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

SLOW = ("dagster", "sqlalchemy", "aiohttp", "PIL", "rich")
BEYOND_ONE_MACHINE = ("obstore", "celery", "dagster_celery", "dagster_postgres", "psycopg2", "redis")


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["--help"], 0), (["run", "--help"], 0), (["run", "nowhere"], 2), (["run", "-m", "0"], 2)],
)
def test_help_and_usage_errors_do_not_wait_for_dagster(arguments: list[str], exit_code: int) -> None:
    """What the arguments alone decide is answered without importing anything that takes long."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flag_pipeline", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == exit_code
    assert "typer" in imported
    assert imported.isdisjoint(SLOW)


def test_run_on_one_machine_imports_nothing_of_a_fleet(tmp_path: Path) -> None:
    """A command without bucket and fleet does not import their clients, installed or not."""
    settings = {"DAGSTER_HOME": str(tmp_path / "home"), "FLAG_STORE": str(tmp_path / "store")}
    (tmp_path / "home").mkdir()
    (tmp_path / "home/dagster.yaml").write_text("telemetry: {enabled: false}")

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flag_pipeline", "run", "CN"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "flag_pipeline.stores.local_folder" in imported
    assert imported.isdisjoint(BEYOND_ONE_MACHINE)


def test_programs_do_not_wait_for_what_draws_tables(tmp_path: Path) -> None:
    """`--json` has no use for it."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flag_pipeline", "run", "CN", "--json"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "FLAG_STORE": str(tmp_path / "store")},
    )

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "flag_pipeline.cli.runs" in imported
    assert imported.isdisjoint({"flag_pipeline.cli.rendering", "pygments"})


def test_pictures_load_no_decoder_that_nothing_needs() -> None:
    """Pillow has forty, and would load them all at the first WebP: that takes long, and each can be attacked."""
    program = """
import sys
from flag_pipeline.catalog.contact_sheet import render_mosaic
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.samples import picture
kinds = ("webp", "gif", "png", "jpeg")
for kind in kinds:
    image = inspect_image(picture(kind.upper()), formats=kinds, limits=Limits(max_pixels=999))
    assert image.format == kind
render_mosaic([], {})
print(*sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    plugins = {name for name in done.stdout.split() if name.endswith("ImagePlugin")}
    needed = {f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "WebP")}
    assert plugins == needed


def test_nothing_of_a_fleet_has_to_be_installed() -> None:
    """What buckets and fleets need comes with the extras alone."""
    needed = {re.split(r"[^\w-]", line)[0] for line in requires("flag-pipeline") or [] if "extra ==" not in line}

    assert "dagster" in needed
    assert needed.isdisjoint({name.replace("_", "-") for name in BEYOND_ONE_MACHINE})
