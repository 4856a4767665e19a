"""SVGs in runs: attacks that fail alone, the layouts of flagcdn.com and flag-icons, a real release of flag-icons."""

import json
import os
import re
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.catalog.rows import CatalogRow, load_rows
from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.presets import FLAG_ICONS, FLAG_ICONS_SQUARE, FLAGCDN_SVG
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.defs.statuses import read_country_statuses
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.svgs import ATTACKS, FRANCE, svg

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def settings_for(source: str, store: Path) -> Settings:
    """Settings without second attempts."""
    return load_settings(source=source, store=str(store), attempts=1)


def run(instance: dg.DagsterInstance, settings: Settings, job: str, *codes: str) -> bool:
    """Run the job, and say whether it succeeded."""
    config = {**QUIET, "ops": {"fetch_flags": {"config": {"countries": list(codes)}}}} if codes else QUIET
    job_def = build_definitions(settings).resolve_job_def(job)
    return job_def.execute_in_process(instance=instance, run_config=config, raise_on_error=False).success


def rows_of(store: Path) -> dict[str, CatalogRow]:
    """The rows of the stored catalog."""
    return {row.code: row for row in load_rows((store / "catalog/catalog.json").read_bytes())}


@pytest.mark.timeout(300)
def test_each_attack_among_all_countries_fails_alone(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """All others are saved, as SVG or GIF, also those that are drawn after a process was killed."""
    settings, store = settings_for(flag_server.url, tmp_path / "store"), tmp_path / "store"
    attacked = dict(zip(iso_codes()[::3], ATTACKS.values(), strict=False))
    drawn = [*iso_codes()][1::3]
    assert len(attacked) == len(ATTACKS)
    for code, (content, _) in attacked.items():
        flag_server.script(flag_url_path(code), [answer(200, content)])
    for number, code in enumerate(drawn, 1):
        flag_server.script(flag_url_path(code), [answer(200, svg(FRANCE.replace("e1000f", f"{number:06x}")))])

    assert not run(instance, settings, "refresh_flags", *iso_codes())
    assert run(instance, settings, "rebuild_catalog")

    failed = read_country_statuses(instance, FLAG_IMAGE, [*iso_codes()]).failed
    assert {code: str(miss.kind) for code, miss in failed.items()} == dict.fromkeys(attacked, "contract")
    for code, (_, reason) in attacked.items():
        assert re.search(reason, failed[code].reason), (code, failed[code].reason)
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {*iso_codes()} - attacked.keys()
    rows = rows_of(store)
    assert {(rows[code].width_px, rows[code].height_px, rows[code].mode) for code in drawn} == {(600, 400, "RGBA")}
    # The page shows drawings of them alone.
    page = (store / "catalog/index.html").read_text(encoding="utf-8")
    assert "image/svg" not in page
    assert not re.search(r'<img[^>]+src="?[^\s">]*\.svg', page)


def test_svg_that_replaces_a_gif_has_a_picture_of_both(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """The history keeps the old one, and the file of the new one has its own extension and unchanged bytes."""
    settings, store = settings_for(flag_server.url, tmp_path / "store"), tmp_path / "store"
    run(instance, settings, "refresh_flags", "FR")
    for content in (svg(), svg(FRANCE.replace("000091", "ff0000"))):
        flag_server.script(flag_url_path("FR"), [answer(200, content)])
        assert run(instance, settings, "refresh_flags", "FR")

    assert run(instance, settings, "rebuild_catalog")

    [file] = (store / "flags").iterdir()
    assert (file.name, file.read_bytes()) == ("FR-France.svg", content)
    assert {path.suffix for path in (store / "history/FR").iterdir()} == {".gif", ".svg"}
    changes = json.loads((store / "history/changes.json").read_bytes())
    assert all(isinstance(change["distance_bits"], int) for change in changes)


@pytest.mark.parametrize(
    ("preset", "path", "n_requests"),
    [("flag-icons", "4x3", 2), ("flag-icons-square", "1x1", 2), ("flagcdn-svg", "", 3)],
)
def test_layouts_of_svgs_are_fetched(
    preset: str, path: str, n_requests: int, instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """flag-icons has no names, so nothing is requested for them; a second run writes nothing."""
    settings = settings_for(f"{preset}@{flag_server.url}", tmp_path)
    for code in ("ci", "fr"):
        flag_server.script(f"/{path}/{code}.svg".replace("//", "/"), [answer(200, svg())])
    flag_server.script("/en/codes.json", [answer(200, b'{"ci": "Ivory Coast", "fr": "France"}')])

    assert run(instance, settings, "refresh_flags", "CI", "FR")
    assert len(flag_server.requests) == n_requests
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    assert run(instance, settings, "refresh_flags", "CI", "FR")

    assert {path: path.stat().st_mtime_ns for path in before} == before
    name = json.loads((tmp_path / "metadata/CI.json").read_bytes())["name"]
    assert name == ("Ivory Coast" if preset == "flagcdn-svg" else iso_country("CI").name)
    assert all(file.read_bytes() == svg() for file in (tmp_path / "flags").iterdir())


def test_other_formats_are_not_accepted_and_missing_flags_are_absent(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """A source of SVGs has nothing else, and lacks what it answers with 404."""
    settings = settings_for(f"flag-icons@{flag_server.url}", tmp_path)
    flag_server.script("/4x3/fr.svg", [answer(200, striped("red", kind="GIF"))])
    flag_server.script("/4x3/us.svg", [answer(200, svg())])

    assert not run(instance, settings, "refresh_flags", "CN", "FR", "US")

    statuses = read_country_statuses(instance, FLAG_IMAGE, ["CN", "FR", "US"])
    assert (list(statuses.absent), list(statuses.failed)) == (["CN"], ["FR"])


def test_presets_are_the_documented_layouts() -> None:
    """The addresses of both sites."""
    assert FLAGCDN_SVG.flag_url("CN") == "https://flagcdn.com/cn.svg"
    assert FLAGCDN_SVG.metadata_url("CN") == "https://flagcdn.com/en/codes.json"
    assert FLAG_ICONS.flag_url("CN") == "https://flagicons.lipis.dev/flags/4x3/cn.svg"
    assert FLAG_ICONS_SQUARE.flag_url("CN") == "https://flagicons.lipis.dev/flags/1x1/cn.svg"
    assert not FLAG_ICONS.metadata_url("CN")


@pytest.mark.skipif("REAL_SVGS" not in os.environ, reason="REAL_SVGS names the folder of flag-icons; .ci/run has it")
@pytest.mark.timeout(300)
def test_real_squares_of_flag_icons_are_saved_and_catalogued(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """All countries, byte for byte, each with its colours; `test_all_flags.py` has those of 4:3."""
    real = Path(os.environ["REAL_SVGS"]) / "1x1"
    for file in real.glob("*.svg"):
        flag_server.script(f"/1x1/{file.name}", [answer(200, file.read_bytes())])
    settings = settings_for(f"flag-icons-square@{flag_server.url}", tmp_path)

    assert run(instance, settings, "refresh_flags", *iso_codes())
    assert run(instance, settings, "rebuild_catalog")

    rows = rows_of(tmp_path)
    assert len(rows) == 249
    for code, row in rows.items():
        assert (row.format, row.status, row.aspect_ratio) == ("svg", "ok", "")
        assert (row.width_px, row.height_px) == (512, 512)
        assert row.colours
        assert (tmp_path / row.file).read_bytes() == (real / f"{code.lower()}.svg").read_bytes()
