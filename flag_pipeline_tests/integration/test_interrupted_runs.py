"""Runs that end before they asked for every country, and stores that lost their files: `retry` fetches the rest."""

import os
import shlex
import shutil
import signal
from pathlib import Path

import dagster as dg
import pytest
from aiohttp import web

from flag_pipeline.cli.runs import open_instance
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.settings import load_settings
from flag_pipeline_tests.flag_server import FlagServer, hang
from flag_pipeline_tests.integration.test_lost_source import A_CODES
from flag_pipeline_tests.integration.test_partitions import launch, ranged, retrying
from flag_pipeline_tests.shell import Shell

pytestmark = pytest.mark.timeout(180)


async def interrupt_and_hang(request: web.Request) -> web.StreamResponse:
    """Send Ctrl-C to the process that asks, which is this one, and answer nothing."""
    os.kill(os.getpid(), signal.SIGINT)
    return await hang(request)


def test_the_numbers_of_an_interrupted_refresh_add_up_and_its_hint_fetches_the_rest(
    shell: Shell, flag_server: FlagServer
) -> None:
    """Ctrl-C while AR is asked for, one country at a time: 9 of 249 are unchanged, 240 were not asked."""
    source = ("--source", flag_server.url)
    shell("run", *source)
    flag_server.script("/ar/metadata.json", [interrupt_and_hang])

    interrupted = shell("run", *source, "-m", "1", expect=130).stdout

    flag_server.script("/ar/metadata.json", [])
    flag_server.requests.clear()
    hint = interrupted.splitlines()[-1].partition("Fetch the rest: ")[2]
    told = shell.json("status")["flag_image"]
    rest = shell(*shlex.split(hint)[1:])
    n_done = 249 - len(told["not_asked"])
    assert f"249 requested: 0 saved, {n_done} unchanged, 0 not found, 0 failed, interrupted: " in interrupted
    assert f"interrupted: {249 - n_done} not asked\n" in interrupted
    assert 0 < n_done < 10
    assert told["materialized"] == 249
    assert f"{249 - n_done} requested: 0 saved, {249 - n_done} unchanged" in rest.stdout
    assert set(flag_server.codes_asked_for()) == {*told["not_asked"]}
    assert "Nothing to fetch" in shell("retry").stdout


@pytest.mark.parametrize("is_terminated", [False, True])
def test_an_interrupted_run_says_how_many_it_fetched(
    shell: Shell, flag_server: FlagServer, *, is_terminated: bool
) -> None:
    """Ctrl-C and a termination in the UI cancel the run; its step says "n of 16", without a trace."""

    async def terminate(request: web.Request) -> web.StreamResponse:
        if is_terminated:
            with open_instance() as instance:
                instance.report_run_canceling(instance.get_runs()[0])
        os.kill(os.getpid(), signal.SIGTERM if is_terminated else signal.SIGINT)
        return await hang(request)

    flag_server.script("/ar/metadata.json", [terminate])

    shell("run", "A", "--source", flag_server.url, "-m", "1", expect=130)

    with open_instance() as instance:
        run = instance.get_runs()[0]
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
        fetched = instance.get_materialized_partitions(FLAG_IMAGE)
    (failure,) = [event.step_failure_data for event in events if event.is_step_failure]
    (end,) = [event for event in events if event.event_type == dg.DagsterEventType.PIPELINE_CANCELED]
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert 0 < len(fetched) < 10
    assert failure.user_failure_data is not None
    assert (failure.user_failure_data.description or "").startswith(f"{len(fetched)} of 16 countries fetched when ")
    assert not any("KeyboardInterrupt" in repr(event) for event in (failure, end))


def test_a_scattered_run_that_is_interrupted_before_its_step_is_picked_up(
    shell: Shell, flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster plans no partitions of a list: the command line does, when it stores the run."""
    source = ("--source", flag_server.url)
    shell("run", *source)
    with monkeypatch.context() as interrupted:
        interrupted.setattr("flag_pipeline.cli.runs.execute_run", _interrupt)
        shell("run", "CN", "FR", *source, expect=130)

    again = shell.json("retry")

    assert again["requested"] == 2


def _interrupt(*_given: object, **_named: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("end", ["report_run_canceled", "report_run_failed"])
def test_a_run_that_was_ended_from_outside_is_picked_up(shell: Shell, flag_server: FlagServer, end: str) -> None:
    """Terminated in the UI, or dead: what it had planned and not recorded is asked for again, and nothing else."""
    shell("run", "--source", flag_server.url)
    with open_instance() as instance:
        settings = load_settings(source=flag_server.url)
        job = build_definitions(settings).resolve_job_def("refresh_flags")
        run = instance.create_run_for_job(job, tags=ranged("AD", "AR"), status=dg.DagsterRunStatus.STARTED)
        underway = shell.json("status")["flag_image"]
        getattr(instance, end)(run)

    told = shell("status").stdout

    assert "not_asked" not in underway
    assert "A run was ended before it asked for AD AE AF AG AI AL AM AO AQ AR" in told
    assert "Fetch them: flag-pipeline retry" in told
    assert shell.json("retry")["requested"] == 10


def test_an_interrupted_run_is_picked_up_although_another_was_refused_since(
    shell: Shell, flag_server: FlagServer
) -> None:
    """A refused run has planned the same countries later, and asked for none."""
    shell("run", "--source", flag_server.url)
    with open_instance() as instance:
        job = build_definitions(load_settings(source=flag_server.url)).resolve_job_def("refresh_flags")
        run = instance.create_run_for_job(job, tags=ranged("AD", "AR"), status=dg.DagsterRunStatus.STARTED)
        instance.report_run_canceled(run)
    shell("run", expect=1)

    again = shell.json("retry")

    assert (again["requested"], again["source"]) == (10, flag_server.url)


@pytest.mark.parametrize("lost", ["the store", "flags", "metadata", "records", "one flag"])
def test_what_the_store_lacks_is_fetched_again(shell: Shell, flag_server: FlagServer, lost: str) -> None:
    """Dagster has every country as materialized, and the files are gone: `status` says so, `retry` brings them back."""
    shell("run", "--source", flag_server.url)
    gone = {"the store": shell.store, "one flag": next((shell.store / "flags").glob("CN-*"))}.get(
        lost, shell.store / lost
    )
    gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    lacking = ["CN"] if lost == "one flag" else None

    told = shell.json("status")
    said = shell("status").stdout
    again = shell.json("retry")

    asset = told["country_metadata" if lost == "metadata" else "flag_image"]
    assert asset["materialized"] == 249 - len(asset["missing"])
    assert asset["lacking"] == asset["missing"]
    assert lacking in (None, asset["lacking"])
    assert f"{shell.store} lacks files that Dagster has as materialized: " in said
    assert (again["requested"], again["source"]) == (len(asset["missing"]), flag_server.url)
    assert len(list((shell.store / "flags").iterdir())) == 249
    assert len(list((shell.store / "metadata").iterdir())) == 249
    assert "lacking" not in shell.json("status")["flag_image"]
    assert "Nothing to fetch" in shell("retry").stdout


def test_status_makes_no_store(shell: Shell) -> None:
    """It only looks."""
    shell("status")

    assert not shell.store.exists()


def test_a_store_that_cannot_be_listed_is_said(shell: Shell) -> None:
    """A file stands in its place: one line on stderr, and what Dagster has is still shown."""
    shell.store.write_bytes(b"")

    said = shell("status")

    assert "flag_image" in said.stdout
    assert "the files in the store are not checked" in said.stderr


def test_a_reexecution_fetches_what_the_store_has_lost(flag_server: FlagServer, tmp_path: Path) -> None:
    """AD came in the retried run and its flag is gone: it is not recorded again without being asked for."""
    settings = load_settings(source=flag_server.url, store=str(tmp_path), attempts=1)
    flag_server.break_country("AL", *[hang_up])
    with dg.DagsterInstance.ephemeral() as instance:
        first = launch(instance, settings, tags=ranged("AD", "AR"))
        next((tmp_path / "flags").glob("AD-*")).unlink()
        flag_server.break_country("AL")
        flag_server.requests.clear()

        second = launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(first)})

    assert second.success
    assert set(flag_server.codes_asked_for()) == {"AD", "AL"}
    assert len(list((tmp_path / "flags").iterdir())) == len(A_CODES[:10])


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()
