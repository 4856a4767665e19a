"""The layout of flagcdn.com on a local server: PNGs by width, and the names of all codes in one document."""

import json
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.core.presets import FLAGCDN, find_preset
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.defs.statuses import read_country_statuses
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import Answer, FlagServer, answer
from flag_pipeline_tests.records import striped

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CODES = ["CN", "FR", "GB"]
NAMES = "/en/codes.json"


@pytest.fixture
def settings(flag_server: FlagServer, tmp_path: Path) -> Settings:
    """The preset's layout at the test's own server, which has three countries."""
    for code in CODES:
        flag_server.script(f"/w320/{code.lower()}.png", [answer(200, striped("red", "white", size=(320, 213)))])
    names = {"cn": "China", "fr": "France", "gb": "United Kingdom", "gb-eng": "England", "us-ca": "California"}
    flag_server.script(NAMES, [answer(200, json.dumps(names).encode())])
    return load_settings(
        source=f"flagcdn@{flag_server.url}", store=str(tmp_path), attempts=2, retry_initial_s=0.01, retry_max_s=0.02
    )


def fetch(instance: dg.DagsterInstance, settings: Settings, *codes: str) -> bool:
    """Fetch the countries and say whether the run succeeded."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    config = {**QUIET, "ops": {"fetch_flags": {"config": {"countries": list(codes)}}}}
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False).success


def test_flags_and_names_come_from_the_documented_layout(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, tmp_path: Path
) -> None:
    """One request for all names, one for each flag; files are PNG and named after the country."""
    assert fetch(instance, settings, *CODES)

    assert sorted(path.name for path in (tmp_path / "flags").iterdir()) == [
        "CN-China.png",
        "FR-France.png",
        "GB-United_Kingdom.png",
    ]
    assert flag_server.requests.count(NAMES) == 1
    assert len(flag_server.requests) == 4
    assert json.loads((tmp_path / "metadata" / "GB.json").read_bytes())["tld"] == ".uk"


def test_a_second_run_writes_nothing(instance: dg.DagsterInstance, settings: Settings, tmp_path: Path) -> None:
    """The same names and flags leave every file as it was."""
    fetch(instance, settings, *CODES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}

    assert fetch(instance, settings, *CODES)

    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_country_without_a_name_is_not_found(instance: dg.DagsterInstance, settings: Settings) -> None:
    """The list does not have it, so the source does not: no failure, and the others are saved."""
    assert fetch(instance, settings, "CN", "ZW")

    assert list(read_country_statuses(instance, COUNTRY_METADATA, ["CN", "ZW"]).absent) == ["ZW"]
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {"CN"}


@pytest.mark.parametrize(
    ("broken", "kind", "n_requests"),
    [
        (answer(503), "server_error", 2),
        (answer(404), "contract", 1),
        (answer(200, b"<html>"), "contract", 1),
        (answer(200, b"[]"), "contract", 1),
        (answer(200, b'{"cn": "China", "cn": "Cathay", "fr": "x", "gb": "y"}'), "contract", 1),
        (answer(200, b'{"cn": NaN}'), "contract", 1),
        (answer(200, b'{"cn": ' + b"[" * 100_000), "contract", 1),
    ],
)
def test_a_broken_list_is_asked_for_once_and_told_for_each(
    instance: dg.DagsterInstance,
    settings: Settings,
    flag_server: FlagServer,
    broken: Answer,
    kind: str,
    n_requests: int,
) -> None:
    """However many countries need it, it is not asked for again; each country fails with the reason."""
    flag_server.script(NAMES, [broken])

    assert not fetch(instance, settings, *CODES)

    failed = read_country_statuses(instance, FLAG_IMAGE, CODES).failed
    assert {code: str(miss.kind) for code, miss in failed.items()} == dict.fromkeys(CODES, kind)
    assert flag_server.requests == [NAMES] * n_requests


def test_a_name_that_could_do_harm_fails_its_country(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Names of the shared document are checked like all others."""
    flag_server.script(NAMES, [answer(200, json.dumps({"cn": "../../China", "fr": "France", "gb": [[]]}).encode())])

    assert not fetch(instance, settings, *CODES)

    assert set(read_country_statuses(instance, FLAG_IMAGE, CODES).failed) == {"CN", "GB"}
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {"FR"}


def test_list_may_begin_with_a_byte_order_mark(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Any metadata document may begin with one."""
    names = json.dumps({"cn": "China", "fr": "France", "gb": "United Kingdom"})
    flag_server.script(NAMES, [answer(200, names.encode("utf-8-sig"))])

    assert fetch(instance, settings, *CODES)


def test_other_formats_are_not_accepted(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """What claims to be a PNG and is a GIF breaks the preset's contract."""
    flag_server.script("/w320/fr.png", [answer(200, striped("red", kind="GIF"))])

    assert not fetch(instance, settings, *CODES)

    assert str(read_country_statuses(instance, FLAG_IMAGE, CODES).failed["FR"].kind) == "contract"


def test_preset_is_the_documented_layout() -> None:
    """The addresses that flagcdn.com documents; any layout may be served elsewhere."""
    assert FLAGCDN.flag_url("CN") == "https://flagcdn.com/w320/cn.png"
    assert FLAGCDN.metadata_url("CN") == "https://flagcdn.com/en/codes.json"
    assert find_preset("flagcdn") is FLAGCDN
    assert find_preset("flagcdn@https://mirror.example/x/").flag_url("CN") == "https://mirror.example/x/w320/cn.png"
    with pytest.raises(ConfigurationError, match="unknown source"):
        find_preset("flagcdn@nowhere")
