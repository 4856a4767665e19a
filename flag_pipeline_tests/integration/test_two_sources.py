"""One source a store: a second one is noticed before it is asked for anything, in every way to launch."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import Result

from flag_pipeline.core.layout import SOURCES_PATH
from flag_pipeline.core.records import load_record
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer, running_flag_server
from flag_pipeline_tests.integration.test_automation import tick
from flag_pipeline_tests.integration.test_fetching_commands import state_of
from flag_pipeline_tests.integration.test_partitions import launch, ranged, retrying
from flag_pipeline_tests.shell import Shell

pytestmark = pytest.mark.timeout(180)

A_TO_AG = ["AD", "AE", "AF", "AG"]


@pytest.fixture
def other_server() -> Iterator[FlagServer]:
    """A second source with the same flags."""
    with running_flag_server() as server:
        yield server


def settings_for(server: FlagServer, store: Path) -> Settings:
    """A deployment that fetches from the server."""
    return load_settings(source=server.url, store=str(store), attempts=1, heal_delay_s=0.000001)


def commands_in(result: Result) -> list[list[str]]:
    """Return the commands that were printed, each at the end of a line, as a shell would take them apart."""
    lines = result.stdout.splitlines()
    found = [line[line.index("flag-pipeline ") :] for line in lines if "flag-pipeline " in line]
    return [shlex.split(command)[1:] for command in found]


def sources_of(store: Path) -> dict[str, str]:
    """Return where each stored flag came from."""
    records = [load_record(path.read_bytes()) for path in (store / "records").glob("*.json")]
    return {record.code: record.image.source_url for record in records if record.image}


def test_the_printed_hint_fetches_the_failed_from_the_source_that_failed(shell: Shell, flag_server: FlagServer) -> None:
    """The hint after a failed run names the source, and pasted it asks that source for the failed country alone."""
    flag_server.break_country("AF", answer(500))
    failed = shell("run", *A_TO_AG, "--source", flag_server.url, expect=1)
    flag_server.break_country("AF")
    flag_server.requests.clear()

    (hint,) = commands_in(failed)
    first_of_hint = hint[0]
    retried = shell("run", "AF", *hint[1:])

    assert first_of_hint == "retry"
    assert hint[1:] == ["--source", flag_server.url]
    assert "1 saved" in retried.stdout
    assert set(flag_server.codes_asked_for()) == {"AF"}
    assert all(url.startswith(flag_server.url) for url in sources_of(shell.store).values())


def test_a_hint_names_the_store_that_is_not_the_environments(
    shell: Shell, flag_server: FlagServer, tmp_path: Path
) -> None:
    """A store whose path has a space is quoted, so that the command works when it is pasted."""
    flag_server.break_country("AF", answer(500))
    other = tmp_path / "an other"

    failed = shell("run", "AF", "--source", flag_server.url, "--store", str(other), expect=1)

    assert commands_in(failed) == [["retry", "--source", flag_server.url, "--store", str(other)]]


def test_retry_uses_the_source_of_the_latest_attempts(shell: Shell, flag_server: FlagServer) -> None:
    """Without an option, countries that failed and those never asked for come from where the latest run asked."""
    flag_server.break_country("AF", answer(500))
    shell("run", "A", "--source", flag_server.url, expect=1)
    flag_server.break_country("AF")

    retried = shell.json("retry")

    assert (retried["source"], retried["requested"], retried["saved"]) == (flag_server.url, 249 - 15, 249 - 15)
    assert len(sources_of(shell.store)) == 249
    assert all(url.startswith(flag_server.url) for url in sources_of(shell.store).values())


@pytest.mark.parametrize("is_of_the_version_before", [False, True])
def test_a_default_source_does_not_fill_the_store_of_another(
    shell: Shell, flag_server: FlagServer, *, is_of_the_version_before: bool
) -> None:
    """The run is refused before anything is asked or written, and each of its two commands does what it says."""
    shell("run", *A_TO_AG, "--source", flag_server.url)
    if is_of_the_version_before:
        (shell.store / SOURCES_PATH).unlink()
    before = state_of(shell.store)
    flag_server.requests.clear()

    refused = shell("run", *A_TO_AG, "CN", expect=1)

    stay, change = commands_in(refused)
    assert f"{flag_server.url} (4)" in refused.stdout
    assert "5 requested: 0 saved, 0 unchanged, 0 not found, 0 failed, 5 not asked" in refused.stdout
    assert flag_server.requests == []
    assert state_of(shell.store) == before
    assert stay == ["run", *A_TO_AG, "CN", "--source", flag_server.url]
    assert "1 saved, 4 unchanged" in shell(*stay).stdout
    assert change == ["run", *A_TO_AG, "CN", "--source", "embedded"]
    assert f"Warning: {shell.store} holds flags of {flag_server.url} (5); this run fetches from embedded" in (
        shell(*change).stdout
    )
    assert "Warning" not in shell("run", *A_TO_AG, "CN").stdout


def test_a_refused_run_leaves_nothing_to_retry(shell: Shell, flag_server: FlagServer) -> None:
    """It asked for nothing, so the countries stand as they did: all 249 are materialized."""
    shell("run", "--source", flag_server.url)
    shell("run", expect=1)

    told = shell.json("status")["flag_image"]

    assert told == {"materialized": 249, "failed": [], "not_found": [], "missing": []}
    assert "Nothing to fetch" in shell("retry").stdout


def test_a_refusal_beside_json_is_whole_lines(shell: Shell, flag_server: FlagServer) -> None:
    """A program reads the object from stdout and the reason, line by line, from stderr."""
    shell("run", "AD", "--source", flag_server.url)

    refused = shell("run", "AD", "--json", expect=1)

    assert json.loads(refused.stdout)["not_asked"] == 1
    assert refused.stderr.startswith("The run failed: ")
    assert refused.stderr.endswith(" --source embedded\n")


def test_a_variable_of_the_command_is_a_choice_too(
    shell: Shell, flag_server: FlagServer, other_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLAG_SOURCE in the environment of the command line is no default: one warning with the counts, and it goes on."""
    shell("run", *A_TO_AG, "--source", flag_server.url)
    monkeypatch.setenv("FLAG_SOURCE", other_server.url)

    chosen = shell("run", *A_TO_AG).stdout

    assert chosen.count("Warning: ") == 1
    assert f"holds flags of {flag_server.url} (4); this run fetches from {other_server.url}" in chosen
    assert "0 saved, 4 unchanged" in chosen


def test_a_flag_that_another_source_confirms_is_recorded_as_of_that_source(
    shell: Shell, flag_server: FlagServer, other_server: FlagServer
) -> None:
    """Address and time of the fetch change together; the flag itself has not changed."""
    shell("run", "AD", "--source", flag_server.url)
    before = load_record((shell.store / "records/AD.json").read_bytes()).image

    shell("run", "AD", "--source", f"{other_server.url.upper().replace('HTTP', 'http')}/")

    after = load_record((shell.store / "records/AD.json").read_bytes()).image
    assert before is not None
    assert after is not None
    assert after.source_url == f"{other_server.url}/ad/ad.gif"
    assert after.fetched_at > before.fetched_at
    assert after.changed_at == before.changed_at


def test_one_source_in_two_spellings_is_one_source(shell: Shell, flag_server: FlagServer) -> None:
    """A slash at the end and another case of the scheme make no second source."""
    shell("run", "AD", "--source", flag_server.url)

    again = shell("run", "AD", "--source", f"{flag_server.url.replace('http', 'HTTP')}/")

    assert "Warning" not in again.stdout
    assert "1 unchanged" in again.stdout


def test_run_configuration_names_a_source_and_the_environment_does_not(
    instance: dg.DagsterInstance, flag_server: FlagServer, other_server: FlagServer, tmp_path: Path
) -> None:
    """A schedule's run is refused with the two commands; the launchpad's run that names the source goes on."""
    assert launch(instance, settings_for(flag_server, tmp_path), tags=ranged("AD", "AG")).success
    changed = settings_for(other_server, tmp_path)
    config = {"flag_source": {"config": {"source": other_server.url}}}

    refused = launch(instance, changed, tags=ranged("AD", "AG"))
    n_requests = len(other_server.requests)
    chosen = launch(instance, changed, tags=ranged("AD", "AG"), resources=config)

    said = next(event for event in refused.all_events if event.is_step_failure).step_failure_data.user_failure_data
    assert said is not None
    for server in (flag_server, other_server):
        assert f"\nflag-pipeline run AD AE AF AG --source {server.url} --store {tmp_path}" in (said.description or "")
    assert (n_requests, chosen.success) == (0, True)
    assert set(other_server.codes_asked_for()) == {*A_TO_AG}


def test_healing_leaves_what_another_source_failed_to_give(
    instance: dg.DagsterInstance, flag_server: FlagServer, other_server: FlagServer, tmp_path: Path
) -> None:
    """It names the command that fetches the country from there; what failed at its own source is healed."""
    flag_server.break_country("AF", answer(500))
    launch(instance, settings_for(flag_server, tmp_path), tags=ranged("AF", "AF"))
    elsewhere = tick("healing", instance, settings_for(other_server, tmp_path))

    at_home = tick("healing", instance, settings_for(flag_server, tmp_path))

    assert not elsewhere.run_requests
    assert f"flag-pipeline run AF --source {flag_server.url}" in (elsewhere.skip_message or "")
    (request,) = at_home.run_requests or []
    assert request.run_config["ops"]["fetch_flags"]["config"]["countries"] == ["AF"]


def test_healing_goes_on_in_a_store_that_was_mixed_on_purpose(
    instance: dg.DagsterInstance, flag_server: FlagServer, other_server: FlagServer, tmp_path: Path
) -> None:
    """Its run asks the source that was asked before, and is not refused."""
    launch(instance, settings_for(flag_server, tmp_path), tags=ranged("AD", "AE"))
    other_server.break_country("AF", answer(500))
    settings = settings_for(other_server, tmp_path)
    config = {"flag_source": {"config": {"source": other_server.url, "attempts": 1}}}
    launch(instance, settings, tags=ranged("AF", "AF"), resources=config)
    other_server.break_country("AF")
    (request,) = tick("healing", instance, settings).run_requests or []

    healed = launch(instance, settings, tags=dict(request.tags), **request.run_config)

    assert healed.success
    assert sources_of(tmp_path)["AF"].startswith(other_server.url)


def test_a_reexecution_does_not_ask_another_source(
    instance: dg.DagsterInstance, flag_server: FlagServer, other_server: FlagServer, tmp_path: Path
) -> None:
    """What the repeated run had fetched stays green; the message names the command that fetches the rest."""
    flag_server.break_country("AF", answer(500))
    first = launch(instance, settings_for(flag_server, tmp_path), tags=ranged("AD", "AG"))

    second = launch(instance, settings_for(other_server, tmp_path), tags={**ranged("AD", "AG"), **retrying(first)})

    said = next(event for event in second.all_events if event.is_step_failure).step_failure_data.user_failure_data
    assert said is not None
    assert f"Set FLAG_SOURCE={flag_server.url}, or run:\nflag-pipeline retry --source {flag_server.url}" in (
        said.description or ""
    )
    assert other_server.requests == []


def test_a_check_of_the_catalog_warns_of_a_mixed_store(
    shell: Shell, flag_server: FlagServer, other_server: FlagServer
) -> None:
    """It passes for one source, and counts the flags of each when there are two."""
    shell("run", *A_TO_AG, "--source", flag_server.url)
    one = shell.check("one_source")

    shell("run", "AD", "--source", other_server.url)

    two = shell.check("one_source")
    assert one.passed
    assert (two.passed, two.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert two.metadata["sources"].value == f"{flag_server.url} (3), {other_server.url} (1)"


def test_sources_are_written_down_once(shell: Shell, flag_server: FlagServer) -> None:
    """The file that spares reading every record names the source as an option takes it."""
    shell("run", "AD", "--source", flag_server.url)

    assert json.loads((shell.store / SOURCES_PATH).read_bytes()) == [flag_server.url]
