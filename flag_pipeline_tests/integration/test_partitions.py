"""One run over many countries, each of which succeeds or fails on its own: through Dagster, on a real server."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.freshness import fetched_before
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.defs.partitions import country_partitions
from flag_pipeline.defs.statuses import read_country_statuses
from flag_pipeline.errors import SinkError, error_class
from flag_pipeline.isolation.outcomes import Ended
from flag_pipeline.isolation.recording import Recorder
from flag_pipeline.settings import Settings, load_settings, partition_codes
from flag_pipeline_tests.flag_server import FlagServer, answer

BOTH = (COUNTRY_METADATA, FLAG_IMAGE)
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
A_TO_AR = ["AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR"]


@pytest.fixture
def settings(flag_server: FlagServer, tmp_path: Path) -> Settings:
    """Settings for the test's own server and store, with retries that do not dawdle."""
    return load_settings(
        source=flag_server.url, store=str(tmp_path / "store"), attempts=2, retry_initial_s=0.01, retry_max_s=0.02
    )


def launch(
    instance: dg.DagsterInstance, settings: Settings, *, tags: dict[str, str] | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    """Run refresh_flags and return its result, failed or not."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    return job.execute_in_process(instance=instance, tags=tags, run_config={**QUIET, **config}, raise_on_error=False)


def ranged(first: str, last: str) -> dict[str, str]:
    """The tags by which Dagster asks for a range."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def retrying(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The tags of a re-execution of *run*."""
    return {"dagster/parent_run_id": run.run_id, "dagster/root_run_id": run.run_id}


def listed(*codes: object) -> dict[str, Any]:
    """The configuration that asks for a list."""
    return {"fetch_flags": {"config": {"countries": list(codes)}}}


def test_one_failure_in_a_range_costs_one_country(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """AL answers 500 for ever: the run fails, AL alone is not materialized, for both assets."""
    flag_server.break_country("AL", answer(500))

    result = launch(instance, settings, tags=ranged("AD", "AR"))

    assert not result.success
    for key in BOTH:
        statuses = read_country_statuses(instance, key, A_TO_AR)
        assert instance.get_materialized_partitions(key) == {*A_TO_AR} - {"AL"}
        assert list(statuses.failed) == ["AL"]
        assert statuses.failed["AL"].kind == "server_error"


def test_the_failure_says_how_many_failed_and_why(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The first line counts, the next names the country with kind and reason; the table has the rest."""
    flag_server.break_country("AL", answer(500))

    result = launch(instance, settings, tags=ranged("AD", "AR"))

    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    lines = (failure.user_failure_data.description or "").splitlines()
    assert lines == ["1 of 10 countries failed", f"AL server_error: {flag_server.url}/al/metadata.json answered 500"]
    table: Any = failure.user_failure_data.metadata["failed"].value
    assert [dict(record.data) for record in table.records] == [
        {
            "code": "AL",
            "kind": "server_error",
            "reason": f"{flag_server.url}/al/metadata.json answered 500",
            "attempts": 2,
            "url": f"{flag_server.url}/al/metadata.json",
        }
    ]


def test_a_country_that_the_source_lacks_fails_nothing(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """AQ is 404: the run succeeds, and an observation says that AQ was not found."""
    flag_server.break_country("AQ", answer(404))

    result = launch(instance, settings, tags=ranged("AD", "AR"))

    assert result.success
    assert list(read_country_statuses(instance, FLAG_IMAGE, A_TO_AR).absent) == ["AQ"]
    assert flag_server.codes_asked_for()["AQ"] == 1


@pytest.mark.parametrize("name", ["store", "store/records"])
def test_the_trace_of_a_store_that_cannot_be_used_ends_at_our_message(
    instance: dg.DagsterInstance, settings: Settings, name: str
) -> None:
    """A file in place of a folder: the last of the chained errors is the one that says what to do."""
    file = Path(settings.store).parent / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")

    result = launch(instance, settings, tags=ranged("AD", "AE"))

    errors = [*filter(None, (getattr(event.event_specific_data, "error", None) for event in result.all_events))]
    assert errors
    assert all(issubclass(error_class(innermost(error).cls_name) or Exception, SinkError) for error in errors)


def innermost(error: Any) -> Any:
    """The last of the chained errors that Dagster shows."""
    return innermost(error.cause) if error.cause else error


def test_what_is_recorded_of_a_country_begins_with_its_name(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The UI shows metadata in order, and a name is easier to know than a code: for successes and for failures."""
    flag_server.break_country("AL", answer(500))

    launch(instance, settings, ops=listed("AL", "CN"))

    for key in BOTH:
        (success,) = instance.fetch_materializations(key, limit=9).records
        (failure,) = instance.fetch_observations(key, limit=9).records
        assert success.asset_materialization is not None
        assert failure.asset_observation is not None
        assert next(iter(success.asset_materialization.metadata.items()))[1].value == "China"
        metadata = failure.asset_observation.metadata
        assert [*metadata][:3] == ["name", "reason", "kind"]
        assert metadata["name"].value == "Albania"


def test_scattered_countries_are_one_run(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """A list in the configuration fetches just those, recorded by partition."""
    result = launch(instance, settings, ops=listed("CN", "FR", "us"))

    assert result.success
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {"CN", "FR", "US"}
    assert set(flag_server.codes_asked_for()) == {"CN", "FR", "US"}


def test_one_asset_alone_is_recorded_alone(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Materializing the metadata asset asks for no flag and records no flag."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    result = job.get_subset(asset_selection={COUNTRY_METADATA}).execute_in_process(
        instance=instance, partition_key="CN", run_config=QUIET
    )

    assert result.success
    assert instance.get_materialized_partitions(COUNTRY_METADATA) == {"CN"}
    assert instance.get_materialized_partitions(FLAG_IMAGE) == set()
    assert flag_server.requests == ["/cn/metadata.json"]


def test_a_run_with_the_launchpads_configuration_fetches_every_country(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Neither partitions nor a list mean every country, in one run."""
    flag_server.break_country("FR", answer(500))

    result = launch(instance, settings)

    assert not result.success
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {*partition_codes(settings)} - {"FR"}
    assert "FR" in read_country_statuses(instance, FLAG_IMAGE, ["FR"]).failed


@pytest.mark.parametrize("no", ["NO", False])
def test_norway_needs_no_quotes_in_yaml(instance: dg.DagsterInstance, settings: Settings, no: object) -> None:
    """YAML reads `[CN, NO]` as CN and false: both are fetched."""
    result = launch(instance, settings, ops=listed("CN", no))

    assert result.success
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {"CN", "NO"}


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        ({"tags": ranged("AD", "AE"), "ops": listed("CN")}, "either partitions or a list"),
        # 012 is Algeria, and ten in YAML.
        ({"ops": listed("CN", 10)}, "write 10 in quotes"),
        ({"ops": listed(True)}, "write True in quotes"),
        ({"ops": listed("CN", "XX")}, "'XX' selects no country"),
    ],
)
def test_a_list_that_cannot_be_right_says_what_to_do(
    instance: dg.DagsterInstance, settings: Settings, request_of: dict[str, Any], message: str
) -> None:
    """The failure names what is wrong, its trace ends there, and nothing is fetched."""
    result = launch(instance, settings, **request_of)

    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    assert message in (failure.user_failure_data.description or "")
    assert failure.error is not None
    assert failure.error.cause is None
    assert instance.get_materialized_partitions(FLAG_IMAGE) == set()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (ranged("IT", "FR"), "the range from IT to FR is reversed: choose FR to IT"),
        (ranged("ZW", "AD"), "the range from ZW to AD is reversed: choose AD to ZW"),
        (ranged("", ""), "there is no partition ''"),
        ({"dagster/partition": "XX"}, "there is no partition 'XX'"),
        ({"dagster/partition": "fr"}, "there is no partition 'fr'"),
        ({"dagster/partition": ""}, "there is no partition ''"),
    ],
)
def test_a_range_or_a_partition_that_cannot_be_fails_the_run(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, tags: dict[str, str], message: str
) -> None:
    """A reversed range and an unknown partition are one line in the failed run, and nothing is fetched."""
    result = launch(instance, settings, tags=tags)

    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    said = failure.user_failure_data.description or ""
    assert said.startswith(message)
    assert "\n" not in said
    assert flag_server.requests == []


@pytest.mark.parametrize(("first", "last"), [("XX", "FR"), ("FR", "XX"), ("XX", "XX")])
def test_a_range_of_partitions_that_vanished_since_it_was_launched_fails_the_run(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, first: str, last: str
) -> None:
    """XX was an extra code when the run was stored; Dagster itself refuses to store such a run otherwise."""
    before = build_definitions(settings.model_copy(update={"extra_codes": ["XX"]})).resolve_job_def("refresh_flags")
    run = instance.create_run_for_job(before, run_config=QUIET, tags=ranged(first, last))
    job = build_definitions(settings).resolve_job_def("refresh_flags")

    result = execute_run(InMemoryJob(job), run, instance, raise_on_error=False)

    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    assert (failure.user_failure_data.description or "").startswith("there is no partition 'XX': partitions are")
    assert flag_server.requests == []


def test_embedded_source_has_every_country(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """The default source delivers all 249 countries of ISO 3166-1 and files for each."""
    settings = load_settings(store=str(tmp_path))

    result = launch(instance, settings, tags=ranged("AD", "ZW"))

    assert result.success
    assert len(instance.get_materialized_partitions(FLAG_IMAGE)) == len(partition_codes(settings)) == 249
    assert len(list((tmp_path / "flags").iterdir())) == 249
    assert (tmp_path / "flags" / "CI-Côte_d'Ivoire.gif").is_file()


def test_what_comes_while_events_are_stored_is_stored_together(
    instance: dg.DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first events wait until all others have come: there are at most two transactions for each asset."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    log, record = instance.event_log_storage, Recorder.record
    store_one = log.store_event
    batches: list[list[dg.AssetKey | None]] = []
    coming, all_came = iter(A_TO_AR), threading.Event()

    async def counted_record(recorder: Recorder, outcome: Ended) -> None:
        if next(coming) == A_TO_AR[-1]:
            asyncio.get_running_loop().call_soon(all_came.set)
        await record(recorder, outcome)

    def store_event_batch(events: Sequence[dg.EventLogEntry]) -> None:
        if events[0].dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            assert all_came.wait(timeout=30)
            batches.append([event.get_dagster_event().asset_key for event in events])
        for event in events:
            store_one(event)

    monkeypatch.setattr(Recorder, "record", counted_record)
    monkeypatch.setattr(log, "store_event_batch", store_event_batch)
    monkeypatch.setattr(log, "store_event", lambda event: store_event_batch([event]))

    result = launch(instance, settings, tags=ranged("AD", "AR"))

    assert result.success
    assert len(batches) <= 2 * len(BOTH)
    assert all(len(set(batch)) == 1 for batch in batches)
    assert sum(map(len, batches)) == len(BOTH) * len(A_TO_AR)
    assert all(instance.get_materialized_partitions(key) == {*A_TO_AR} for key in BOTH)


def test_a_reexecution_fetches_only_what_had_failed(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The retry of a partly failed run asks for AL alone, and the others stay materialized although it fails again."""
    flag_server.break_country("AL", answer(500))
    first = launch(instance, settings, tags=ranged("AD", "AR"))
    before = {key: latest_versions(instance, key) for key in BOTH}
    flag_server.requests.clear()

    second = launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(first)})

    assert not second.success
    assert set(flag_server.codes_asked_for()) == {"AL"}
    for key in BOTH:
        recorded = {
            entry.dagster_event.partition
            for entry in instance.all_logs(second.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            if entry.dagster_event and entry.dagster_event.asset_key == key
        }
        assert recorded == {*A_TO_AR} - {"AL"}
        assert latest_versions(instance, key) == before[key]


def test_a_reexecution_fetches_what_has_failed_since(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """AD came in the retried run and failed in a later one: it is asked for, and that it fails is not forgotten."""
    flag_server.break_country("AL", answer(500))
    first = launch(instance, settings, tags=ranged("AD", "AR"))
    flag_server.break_country("AD", answer(500))
    launch(instance, settings, tags=ranged("AD", "AD"))
    flag_server.requests.clear()

    launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(first)})

    assert set(flag_server.codes_asked_for()) == {"AD", "AL"}
    assert [set(read_country_statuses(instance, key, A_TO_AR).failed) for key in BOTH] == [{"AD", "AL"}] * 2


def test_a_reexecution_fetches_what_was_wiped_since(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The flags' materializations were wiped after the retried run: every country is recorded again."""
    flag_server.break_country("AL", answer(500))
    first = launch(instance, settings, tags=ranged("AD", "AR"))
    instance.wipe_assets([FLAG_IMAGE])
    flag_server.break_country("AL")

    second = launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(first)})

    assert second.success
    assert all(instance.get_materialized_partitions(key) == {*A_TO_AR} for key in BOTH)


def test_a_reexecution_makes_no_country_fresh_that_it_did_not_fetch(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """What is carried over, twice even, counts as fetched when it was; AL, fetched in the end, as fetched then."""
    flag_server.break_country("AL", answer(500))
    first = launch(instance, settings, tags=ranged("AD", "AR"))
    then = datetime.now(UTC)
    second = launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(first)})
    flag_server.break_country("AL")

    third = launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(second)})

    assert third.success
    assert fetched_before(instance, FLAG_IMAGE, A_TO_AR, then) == sorted({*A_TO_AR} - {"AL"})
    assert fetched_before(instance, FLAG_IMAGE, A_TO_AR, datetime.now(UTC)) == A_TO_AR


def test_a_reexecution_that_succeeds_records_only_what_it_fetched(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Recorded again, the other countries would make automation run for them although nothing changed."""
    flag_server.break_country("AL", answer(500))
    first = launch(instance, settings, tags=ranged("AD", "AR"))
    flag_server.break_country("AL")

    second = launch(instance, settings, tags={**ranged("AD", "AR"), **retrying(first)})

    assert second.success
    recorded = instance.all_logs(second.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert [entry.dagster_event.partition for entry in recorded if entry.dagster_event] == ["AL", "AL"]


def test_downstream_steps_of_a_run_in_which_all_succeeded_follow(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    """An asset that is made of the flags may be materialized with them in one run."""
    ran: list[str] = []

    @dg.asset(deps=[FLAG_IMAGE], partitions_def=country_partitions(settings))
    def colour_count() -> None:
        ran.append("colour_count")

    merged = dg.Definitions.merge(build_definitions(settings), dg.Definitions([colour_count]))
    job = merged.resolve_implicit_global_asset_job_def().get_subset(asset_selection={*BOTH, colour_count.key})

    result = job.execute_in_process(instance=instance, tags=ranged("AD", "AE"), run_config=QUIET)

    assert result.success
    assert ran == ["colour_count"]
    assert instance.get_materialized_partitions(colour_count.key) == {"AD", "AE"}


def test_a_flag_names_the_event_of_the_metadata_that_it_was_made_with(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    """Dagster compares storage ids: without one, a flag never becomes stale when its country is renamed."""
    launch(instance, settings, tags=ranged("AD", "AE"))

    upstream = {record.partition_key: record for record in instance.fetch_materializations(COUNTRY_METADATA, 9).records}
    for record in instance.fetch_materializations(FLAG_IMAGE, limit=9).records:
        assert record.asset_materialization is not None
        tags = record.asset_materialization.tags or {}
        metadata = upstream[record.partition_key]
        assert tags["dagster/input_event_pointer/country_metadata"] == str(metadata.storage_id)
        assert metadata.asset_materialization is not None
        version = (metadata.asset_materialization.tags or {})["dagster/data_version"]
        assert tags["dagster/input_data_version/country_metadata"] == version


def latest_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The data version of the latest materialization of each partition."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    return {code: found["dagster/data_version"] for code, found in tags.items()}
