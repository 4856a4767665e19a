"""The sensors and the schedule, evaluated on a real instance after real runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.events import DagsterEvent

from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.freshness import fetched_before
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY, FLAG_IMAGE
from flag_pipeline.defs.sensors import has_skipped_catalog, why_not_rebuild
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer
from flag_pipeline_tests.integration.test_partitions import QUIET, launch, listed, ranged, retrying
from flag_pipeline_tests.records import striped


@pytest.fixture
def settings(flag_server: FlagServer, tmp_path: Path) -> Settings:
    """Settings for the test's own server and store; healing starts at once."""
    return load_settings(source=flag_server.url, store=str(tmp_path), attempts=1, heal_delay_s=0.000001)


def tick(name: str, instance: dg.DagsterInstance, settings: Settings, cursor: str | None = None) -> SensorExecutionData:
    """Evaluate a sensor once."""
    definitions = build_definitions(settings)
    context = dg.build_sensor_context(instance, cursor=cursor, definitions=definitions)
    return definitions.resolve_sensor_def(name).evaluate_tick(context)


def test_healing_asks_for_all_that_failed_in_one_run(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Scattered failures become one request; once mended, there is nothing to ask for."""
    scattered = ["AD", "CN", "FR"]
    for code in scattered:
        flag_server.break_country(code, answer(500))
    launch(instance, settings, ops=listed("AD", "CN", "DE", "FR"))

    (request,) = tick("healing", instance, settings).run_requests or []

    assert request.run_config["ops"] == listed(*scattered)
    for code in scattered:
        flag_server.break_country(code)
    assert launch(instance, settings, **request.run_config).success
    assert not tick("healing", instance, settings).run_requests
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {*scattered, "DE"}


def test_healing_gives_up_and_says_so(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """After as many attempts as the settings allow, FR is left alone and named."""
    flag_server.break_country("FR", answer(500))
    launch(instance, settings, ops=listed("FR"))
    cursor = None
    for _ in range(settings.heal_attempts):
        ticked = tick("healing", instance, settings, cursor)
        assert ticked.run_requests
        cursor = ticked.cursor

    last = tick("healing", instance, settings, cursor)

    assert not last.run_requests
    assert "FR" in (last.skip_message or "")


def test_healing_goes_on_after_a_run_that_recorded_nothing(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The next tick asks for a new run, and without its cursor for the one that has ended."""
    flag_server.break_country("FR", answer(500))
    launch(instance, settings, ops=listed("FR"))
    first = tick("healing", instance, settings)

    second, lost = (tick("healing", instance, settings, cursor) for cursor in (first.cursor, None))

    keys = [request.run_key for ticked in (first, second, lost) for request in ticked.run_requests or []]
    assert keys[0] == keys[2] != keys[1]


def test_healing_leaves_what_will_not_pass_by_itself(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """An HTML page instead of a flag breaks the contract, a 404 is no failure: neither is asked for again."""
    flag_server.script("/fr/fr.gif", [answer(200, b"<html>maintenance</html>")])
    flag_server.break_country("DE", answer(404))
    launch(instance, settings, ops=listed("DE", "FR"))

    ticked = tick("healing", instance, settings)

    assert not ticked.run_requests
    assert "FR" in (ticked.skip_message or "")
    assert "DE" not in (ticked.skip_message or "")


def test_healing_waits_for_a_run_that_is_under_way(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Two runs of the job never run at once."""
    flag_server.break_country("FR", answer(500))
    launch(instance, settings, ops=listed("FR"))
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)

    ticked = tick("healing", instance, settings)

    assert not ticked.run_requests
    assert "never two at once" in (ticked.skip_message or "")


def follow(instance: dg.DagsterInstance, settings: Settings, result: dg.ExecuteInProcessResult) -> dg.RunRequest | None:
    """What the sensor that watches such runs makes of it."""
    ended = dg.DagsterEventType.RUN_SUCCESS if result.success else dg.DagsterEventType.RUN_FAILURE
    event = next(event for event in result.all_events if event.event_type is ended)
    return follow_end(instance, settings, result.dagster_run, event)


def follow_end(
    instance: dg.DagsterInstance, settings: Settings, run: dg.DagsterRun, event: dg.DagsterEvent
) -> dg.RunRequest | None:
    """What the sensor that watches for such an *event* makes of it."""
    name = f"catalog_follows_{event.event_type.value.removeprefix('PIPELINE_').lower()}"
    sensor = build_definitions(settings).resolve_sensor_def(name)
    context = dg.build_run_status_sensor_context(
        sensor_name=name, dagster_event=event, dagster_instance=instance, dagster_run=run
    )
    answered = sensor(context)
    assert answered is None or isinstance(answered, dg.RunRequest)
    return answered


def test_catalog_follows_states_where_no_content_changed(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """A new failure and its end are each followed once."""
    first = follow(instance, settings, launch(instance, settings, tags=ranged("AD", "AF")))
    flag_server.break_country("AE", answer(500))
    failed = follow(instance, settings, launch(instance, settings, tags=ranged("AD", "AF")))
    again = follow(instance, settings, launch(instance, settings, tags=ranged("AD", "AF")))
    flag_server.break_country("AE")
    healed = follow(instance, settings, launch(instance, settings, tags=ranged("AD", "AF")))

    assert first is None
    assert isinstance(failed, dg.RunRequest)
    assert again is None
    assert isinstance(healed, dg.RunRequest)


def test_catalog_does_not_follow_what_a_reexecution_carries_over(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """AE's recovery was followed with the run in which AD failed; the retry of that run brings nothing new."""
    launch(instance, settings, tags=ranged("AD", "AF"))
    flag_server.break_country("AE", answer(500))
    launch(instance, settings, tags=ranged("AE", "AE"))
    flag_server.break_country("AE")
    flag_server.break_country("AD", answer(500))
    retried = launch(instance, settings, tags=ranged("AD", "AF"))

    first = follow(instance, settings, retried)
    again = follow(instance, settings, launch(instance, settings, tags={**ranged("AD", "AF"), **retrying(retried)}))

    assert isinstance(first, dg.RunRequest)
    assert again is None


def test_catalog_is_left_to_the_automation_where_content_changed_too(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """A new failure in a run that also saved a country."""
    launch(instance, settings, tags=ranged("AD", "AF"))
    flag_server.break_country("AE", answer(500))

    run = launch(instance, settings, tags=ranged("AD", "AI"))

    assert follow(instance, settings, run) is None
    assert "Content changed" in why_not_rebuild(instance, run.run_id)


def test_catalog_follows_a_new_failure_although_a_damaged_file_was_mended(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """AF's metadata is written as it was before the damage: no data version changes, so the automation does nothing."""
    launch(instance, settings, tags=ranged("AD", "AF"))
    (Path(settings.store) / "metadata" / "AF.json").write_bytes(b"damaged")
    flag_server.break_country("AE", answer(500))

    followed = follow(instance, settings, launch(instance, settings, tags=ranged("AD", "AF")))

    assert isinstance(followed, dg.RunRequest)


def test_catalog_follows_a_run_that_was_to_build_it_and_failed_before(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """A country fails again with "Materialize all": nothing changes, and Dagster shows the catalog as failed."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    everything = job.get_subset(
        asset_selection={COUNTRY_METADATA, FLAG_IMAGE, FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY}
    )
    flag_server.break_country("AE", answer(500))

    results = []
    for _ in range(2):
        result = everything.execute_in_process(
            instance=instance, partition_key="AE", run_config=QUIET, raise_on_error=False
        )
        results.append(result)
    followed = follow(instance, settings, results[1])
    flag_server.break_country("AE")
    built = everything.execute_in_process(instance=instance, partition_key="AE", run_config=QUIET)

    assert isinstance(followed, dg.RunRequest)
    assert not has_skipped_catalog(instance, built.run_id)
    assert not has_skipped_catalog(instance, launch(instance, settings, ops=listed("AE")).run_id)


def test_catalog_follows_a_run_that_was_canceled(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """What it had recorded by then stands, and later runs that meet the same failure say nothing new."""
    launch(instance, settings, tags=ranged("AD", "AF"))
    flag_server.break_country("AE", answer(500))
    run = launch(instance, settings, tags=ranged("AD", "AF")).dagster_run

    followed = follow_end(instance, settings, run, instance.report_run_canceled(run))

    assert isinstance(followed, dg.RunRequest)


def start(instance: dg.DagsterInstance, run: dg.DagsterRun, *, at: float) -> None:
    """Record that the run started at that time, in seconds since the epoch."""
    event = DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name)
    entry = dg.EventLogEntry(None, 20, "", run.run_id, at, dagster_event=event)  # type: ignore[no-untyped-call]
    instance.handle_new_event(entry)


def test_catalog_is_rebuilt_once_for_runs_that_end_during_a_rebuild(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """A rebuild that starts after the run's end reads what it stored; one that started before, or failed, does not."""
    launch(instance, settings, tags=ranged("AD", "AF"))
    flag_server.break_country("AE", answer(500))
    failed = launch(instance, settings, tags=ranged("AD", "AF"))
    record = instance.get_run_record_by_id(failed.run_id)
    assert record is not None
    assert record.end_time is not None
    job = build_definitions(settings).resolve_job_def("rebuild_catalog")

    early = instance.create_run_for_job(job)
    assert follow(instance, settings, failed) is None
    start(instance, early, at=record.end_time - 60)
    assert follow(instance, settings, failed) is not None
    late = instance.create_run_for_job(job)
    start(instance, late, at=record.end_time + 60)
    assert follow(instance, settings, failed) is None
    instance.report_run_failed(late)
    assert follow(instance, settings, failed) is not None


@pytest.mark.parametrize(("most", "n_runs"), [(None, 1), (100, 3)])
def test_schedule_covers_every_country(
    instance: dg.DagsterInstance, settings: Settings, most: int | None, n_runs: int
) -> None:
    """One ranged run, or as many as the largest allowed run takes."""
    definitions = build_definitions(settings.model_copy(update={"max_partitions_per_run": most}))
    context = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 1, 2, 3, 15, tzinfo=UTC))

    requests = definitions.resolve_schedule_def("daily_refresh").evaluate_tick(context).run_requests or []

    assert len(requests) == n_runs
    assert ranged("AD", requests[0].tags["dagster/asset_partition_range_end"]).items() <= requests[0].tags.items()
    assert requests[-1].tags["dagster/asset_partition_range_end"] == "ZW"


def test_checks_name_the_countries(instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer) -> None:
    """A damaged file and a missing flag are found by the catalog's checks."""
    for code, colour in {"mc": "red", "td": "navy"}.items():  # the drawings are those of ID and RO
        flag_server.script(f"/{code}/{code}.gif", [answer(200, striped(colour, "white", "gold", kind="GIF"))])
    flag_server.break_country("FR", answer(500))
    launch(instance, settings, tags=ranged("AD", "ZW"))
    (Path(settings.store) / "flags" / "CN-China.gif").write_bytes(b"damaged")

    job = build_definitions(settings).resolve_job_def("rebuild_catalog")
    result = job.execute_in_process(instance=instance)

    evaluations = {each.check_name: each for each in result.get_asset_check_evaluations()}
    found = {
        name: each.metadata["countries"].value for name, each in evaluations.items() if "countries" in each.metadata
    }
    assert (evaluations["files_match_their_hashes"].passed, found["files_match_their_hashes"]) == (False, "CN")
    assert (evaluations["complete"].passed, found["complete"]) == (False, "FR")
    assert evaluations["no_unexpected_duplicates"].passed
    assert evaluations["few_changed_at_once"].passed
    assert evaluations["fresh"].passed


def test_old_countries_are_found_by_when_they_were_recorded(instance: dg.DagsterInstance) -> None:
    """The latest fetch counts; a country that was never fetched is left to another check."""
    moments = []
    for code in ("BR", "CN", "FR", "BR"):
        instance.report_runless_asset_event(dg.AssetMaterialization(FLAG_IMAGE, partition=code))
        (latest,) = instance.fetch_materializations(FLAG_IMAGE, limit=1).records
        # An event's time is finer than a moment's.
        moments.append(datetime.fromtimestamp(latest.timestamp, UTC) - timedelta(microseconds=1))
    codes = ["BR", "CN", "DE", "FR"]

    before = [fetched_before(instance, FLAG_IMAGE, codes, moment) for moment in moments]

    assert before == [[], [], ["CN"], ["CN", "FR"]]
    assert fetched_before(instance, FLAG_IMAGE, codes, datetime.now(UTC)) == ["BR", "CN", "FR"]
