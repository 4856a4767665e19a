"""A source that has nothing, or suddenly lacks many flags: the run fails, and the good flags stay."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.settings import load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer
from flag_pipeline_tests.integration.test_partitions import launch, listed, ranged
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.shell import Shell

pytestmark = pytest.mark.timeout(180)

A_CODES = ["AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ"]


def lose(flag_server: FlagServer, codes: Iterable[str]) -> None:
    """Let the source have none of the countries."""
    for code in codes:
        flag_server.break_country(code, answer(404))


def rows_of(store: Path) -> dict[str, dict[str, str]]:
    """Return the catalog's rows by code."""
    with (store / "catalog/catalog.csv").open(newline="", encoding="utf-8") as file:
        return {row["code"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("codes", [[], ["CN", "FR", "US"], ["CN"]])
def test_a_mistyped_address_fails_each_time(shell: Shell, flag_server: FlagServer, codes: list[str]) -> None:
    """Every country is 404 there: exit code 1 and one line with an address to try, at the second try too."""
    source = ("--source", f"{flag_server.url}/flgs")
    first = codes[0].lower() if codes else "ad"

    for _ in range(2):
        said = shell("run", *codes, *source, expect=1).stdout

        lines = [line for line in said.splitlines() if "that the run asked for" in line]
        assert len(lines) == 1
        assert f"try {flag_server.url}/flgs/{first}/metadata.json" in lines[0]
    assert {row["status"] for row in rows_of(shell.store).values()} == {"missing"}


def test_a_mistyped_address_leaves_good_flags_stale(shell: Shell, flag_server: FlagServer) -> None:
    """The flags of the right address stay in the catalog, with the reason; the right address heals them."""
    shell("run", "A", "--source", flag_server.url)

    shell("run", "A", "--source", f"{flag_server.url}/flgs", expect=1)

    rows = rows_of(shell.store)
    assert {rows[code]["status"] for code in A_CODES} == {"stale"}
    assert all(rows[code]["reason"].startswith("unavailable: the source does not have any") for code in A_CODES)
    assert all((shell.store / rows[code]["file"]).is_file() for code in A_CODES)
    assert shell.json("run", "A", "--source", flag_server.url)["unchanged"] == 16


@pytest.mark.parametrize(("n_lost", "is_failure"), [(13, True), (12, False)])
def test_more_than_the_allowed_share_is_a_failure(
    shell: Shell, flag_server: FlagServer, n_lost: int, *, is_failure: bool
) -> None:
    """Five percent of 249 are 12.45: 13 that are suddenly absent fail the run and are stale, 12 are not found."""
    source = ("--source", flag_server.url)
    shell("run", *source)
    lose(flag_server, A_CODES[:n_lost])

    report = shell.json("run", *source, expect=int(is_failure))

    statuses = {code: row["status"] for code, row in rows_of(shell.store).items() if row["status"] != "ok"}
    assert statuses == dict.fromkeys(A_CODES[:n_lost], "stale" if is_failure else "not_found")
    assert len(report["failed"]) == (n_lost if is_failure else 0)
    assert len(list((shell.store / "flags").iterdir())) == 249
    if is_failure:
        told = shell("status").stdout
        assert "suddenly lacks 13 of 249 stored flags; try " in told
        assert "raise FLAG_MAX_LOST_SHARE" in told
        assert len(shell.json("run", *source, expect=1)["failed"]) == n_lost


@pytest.mark.parametrize(("n_lost", "share", "is_failure"), [(3, 0.05, False), (4, 0.05, True), (4, 0.25, False)])
def test_a_few_flags_and_the_setting(
    shell: Shell,
    flag_server: FlagServer,
    monkeypatch: pytest.MonkeyPatch,
    n_lost: int,
    share: float,
    *,
    is_failure: bool,
) -> None:
    """Three flags are never too many; four of sixteen are, unless the setting allows a quarter."""
    monkeypatch.setenv("FLAG_MAX_LOST_SHARE", str(share))
    shell("run", "A", "--source", flag_server.url)
    lose(flag_server, A_CODES[:n_lost])

    shell("run", "A", "--source", flag_server.url, expect=int(is_failure))


def test_what_is_known_to_be_absent_may_be_asked_for_again(shell: Shell, flag_server: FlagServer) -> None:
    """A run of nothing but known absences is normal: `retry` of AQ and AZ ends with exit code 0."""
    lose(flag_server, ["AQ", "AZ"])
    source = ("--source", flag_server.url)
    shell("run", *source)

    again = shell.json("retry", *source)

    assert (again["requested"], again["not_found"], again["failed"]) == (2, ["AQ", "AZ"], {})


def test_countries_that_are_newly_absent_and_alone_fail_the_run_once(shell: Shell, flag_server: FlagServer) -> None:
    """The source has other countries, so these are not found; but a run that found nothing is no success."""
    lose(flag_server, ["AQ", "AZ"])
    source = ("--source", flag_server.url)

    said = shell("run", "AQ", "AZ", *source, expect=1).stdout

    assert "The run failed: the source does not have any of the 2 countries that the run asked for; try http" in said
    assert shell.json("status")["flag_image"]["not_found"] == ["AQ", "AZ"]
    assert rows_of(shell.store)["AQ"]["status"] == "not_found"
    shell("run", "AQ", "AZ", *source)


def test_a_single_country_that_the_source_lacks_is_an_answer(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """Its partition may be materialized by itself: the source has others, and the run succeeds."""
    lose(flag_server, ["AQ"])
    settings = load_settings(source=flag_server.url, store=str(tmp_path))

    assert launch(instance, settings, ops=listed("AQ")).success


def test_a_single_good_flag_that_is_gone_is_stale(shell: Shell, flag_server: FlagServer) -> None:
    """A run of AD alone finds nothing of what it asked for, and AD has a good flag."""
    shell("run", "AD", "AE", "--source", flag_server.url)
    lose(flag_server, ["AD"])

    shell("run", "AD", "--source", flag_server.url, expect=1)

    assert rows_of(shell.store)["AD"]["status"] == "stale"


def test_a_codes_document_with_upper_case_keys_fails_the_run(shell: Shell, flag_server: FlagServer) -> None:
    """No country is named in it: the message has the document's address."""
    for code in ("CN", "FR", "US"):
        flag_server.script(f"/w320/{code.lower()}.png", [answer(200, striped("red", "white", size=(320, 213)))])
    flag_server.script("/en/codes.json", [answer(200, json.dumps({"CN": "China", "FR": "France", "US": "x"}).encode())])

    for codes in (["CN", "FR"], ["CN"], []):
        said = shell("run", *codes, "--source", f"flagcdn@{flag_server.url}", expect=1).stdout

        assert f"try {flag_server.url}/en/codes.json" in said


def test_a_source_that_lost_everything_fails_a_run_of_dagster(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """The step's failure says so, and its table names each country."""
    settings = load_settings(source=flag_server.url, store=str(tmp_path))
    launch(instance, settings, tags=ranged("AD", "AR"))
    lose(flag_server, [*A_CODES, "US", "CN", "FR"])

    result = launch(instance, settings, tags=ranged("AD", "AR"))

    said = next(event for event in result.all_events if event.is_step_failure).step_failure_data.user_failure_data
    assert said is not None
    assert (said.description or "").startswith(
        "10 of 10 countries failed\nAD unavailable: the source does not have any"
    )
