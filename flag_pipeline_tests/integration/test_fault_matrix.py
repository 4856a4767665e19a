"""The fault matrix: every fault in every shape of run, with kind, attempts, partition and files as `faults.py` says."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.models import LastFailure
from flag_pipeline.core.records import load_record
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.events import read_event
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.defs.statuses import read_country_statuses
from flag_pipeline.errors import ErrorKind
from flag_pipeline.isolation import RecordedOutcome
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline.stores.atomic_files import TEMPORARY_PREFIX
from flag_pipeline_tests.faults import (
    CODE_OF,
    FAULTS,
    GREEN,
    GREY,
    MAX_BODY_BYTES,
    MAX_PIXELS,
    README,
    RED,
    SHAPES,
    Fault,
    colour_of,
    fault_table,
)
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path, metadata_url_path, running_flag_server

pytestmark = pytest.mark.timeout(240)

COLOURS = {AssetPartitionStatus.MATERIALIZED: GREEN, AssetPartitionStatus.FAILED: RED, None: GREY}
# Between and behind the countries with a fault there are good ones.
FAULTY = list(CODE_OF.values())
GOOD = list(iso_codes()[len(FAULTY) : len(FAULTY) + 20])


@dataclass(slots=True)
class Runs:
    """What the runs of one shape left.

    Attributes:
        seen: what was recorded for each country, as its first event says.
        asked_for: requests for the file of the country that was asked for most.
    """

    shape: str
    store: Path
    instance: dg.DagsterInstance
    seen: dict[str, RecordedOutcome]
    asked_for: dict[str, int]


def settings_for(server: FlagServer, store: Path) -> Settings:
    """There are two attempts, with short waits."""
    return load_settings(
        source=server.url,
        store=str(store),
        attempts=2,
        retry_initial_s=0.001,
        retry_max_s=0.002,
        retry_after_max_s=0.02,
        timeout_s=4.0,
        read_timeout_s=2.0,
        max_body_bytes=MAX_BODY_BYTES,
        max_pixels=MAX_PIXELS,
    )


def arrange(server: FlagServer, store: Path, fault: Fault) -> None:
    """Make the fault happen to its country, from its first answer on."""
    code = CODE_OF[fault.name]
    server.script(flag_url_path(code), fault.flag)
    server.script(metadata_url_path(code), fault.metadata)
    if fault.document:
        server.script(metadata_url_path(code), [answer(200, fault.document(code))])
    if fault.store:
        fault.store(store, code)


def launch(instance: dg.DagsterInstance, settings: Settings, shape: str) -> Iterator[dg.ExecuteInProcessResult]:
    """Run the countries in the given shape: one run, or one each."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    quiet: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

    def run(**how: Any) -> dg.ExecuteInProcessResult:
        how["run_config"] = {**quiet, **how.get("run_config", {})}
        return job.execute_in_process(instance=instance, raise_on_error=False, **how)

    match shape:
        case "ranged":
            tags = {"dagster/asset_partition_range_start": FAULTY[0], "dagster/asset_partition_range_end": GOOD[-1]}
            yield run(tags=tags)
        case "list":
            codes = [*FAULTY[::2], *GOOD, *FAULTY[1::2]]
            yield run(run_config={"ops": {"fetch_flags": {"config": {"countries": codes}}}})
        case _:
            for code in [*FAULTY, GOOD[0]]:
                yield run(partition_key=code)


@pytest.fixture(scope="module", params=SHAPES)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All the faults at once, in one shape of run."""
    shape, store = request.param, tmp_path_factory.mktemp("store")
    for folder in ("flags", "metadata", "records"):
        (store / folder).mkdir()
    (store / "precious").write_bytes(b"nobody's business")
    with running_flag_server() as server, dg.DagsterInstance.ephemeral() as instance:
        for fault in FAULTS.values():
            arrange(server, store, fault)
        seen: dict[str, RecordedOutcome] = {}
        for result in launch(instance, settings_for(server, store), shape):
            for entry in instance.all_logs(result.run_id):
                country = read_event(entry.dagster_event) if entry.dagster_event else None
                if country is not None:
                    seen.setdefault(country.partition_key, country)
        asked_for = {
            code: max(server.requests.count(path(code)) for path in (flag_url_path, metadata_url_path))
            for code in FAULTY
        }
        yield Runs(shape, store, instance, seen, asked_for)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_costs_its_country_alone(runs: Runs, name: str) -> None:
    """Kind, attempts, partition and files are as the matrix says."""
    fault, code = FAULTS[name], CODE_OF[name]
    seen = runs.seen[code]

    assert (seen.kind or None, seen.metadata.get("attempts")) == (fault.kind, fault.attempts)
    assert seen.reason.isprintable()
    assert (code in runs.instance.get_materialized_partitions(FLAG_IMAGE)) is (fault.kind is None)
    if fault.kind is None:
        check_saved(runs.store, code)
    else:
        check_missed(runs.store, code, LastFailure(fault.kind, seen.reason))


@pytest.mark.parametrize("key", [COUNTRY_METADATA, FLAG_IMAGE], ids=str)
def test_partitions_have_the_colours_of_the_matrix(runs: Runs, key: dg.AssetKey) -> None:
    """Dagster computes the same colours for its UI."""
    partitions = dg.StaticPartitionsDefinition(list(iso_codes()))
    statuses = runs.instance.get_status_by_partition(key, FAULTY, partitions) or {}

    shown = {name: COLOURS[statuses.get(code)] for name, code in CODE_OF.items()}

    assert shown == {name: colour_of(fault, runs.shape) for name, fault in FAULTS.items()}


def check_saved(store: Path, code: str) -> None:
    """The record names a flag that is there."""
    stored = load_record((store / f"records/{code}.json").read_bytes())

    assert stored.last_failure is None
    assert stored.image is not None
    assert (store / stored.image.file).read_bytes().startswith((b"GIF8", b"\x89PNG\r\n", b"\xff\xd8\xff"))
    assert not (store / stored.image.file).is_symlink()
    assert (store / f"metadata/{code}.json").is_file()


def check_missed(store: Path, code: str, failure: LastFailure) -> None:
    """The record has the reason, and there is no flag."""
    stored = load_record((store / f"records/{code}.json").read_bytes())

    assert (stored.last_failure, stored.image) == (failure, None)
    assert list(store.glob(f"flags/{code}-*")) == []


def test_requests_are_as_many_as_are_counted(runs: Runs) -> None:
    """No fault makes anybody ask more often than twice, behind the retry policy's back."""
    circle = CODE_OF["redirect in a circle"]
    more = {code: count for code, count in runs.asked_for.items() if count > 2 and code != circle}

    assert more == {}


def test_good_countries_are_saved(runs: Runs) -> None:
    """All of them, whatever happens to the others."""
    good = GOOD if runs.shape != "single" else GOOD[:1]

    for key in (COUNTRY_METADATA, FLAG_IMAGE):
        assert set(good) <= runs.instance.get_materialized_partitions(key)
    for code in good:
        check_saved(runs.store, code)


def test_statuses_tell_failed_from_not_found(runs: Runs) -> None:
    """The status comes from the recorded outcome."""
    statuses = read_country_statuses(runs.instance, FLAG_IMAGE, FAULTY)
    kinds = {CODE_OF[name]: fault.kind for name, fault in FAULTS.items()}

    assert set(statuses.absent) == {code for code, kind in kinds.items() if kind is ErrorKind.NOT_FOUND}
    assert {code: miss.kind for code, miss in statuses.failed.items()} == {
        code: kind for code, kind in kinds.items() if kind not in {None, ErrorKind.NOT_FOUND}
    }


def test_nothing_is_left_and_nothing_leaves(runs: Runs) -> None:
    """No temporary file, no other folder, and what a link led to is as it was."""
    assert list(runs.store.rglob(f"{TEMPORARY_PREFIX}*")) == []
    assert {path.name for path in runs.store.iterdir()} == {
        "flags",
        "metadata",
        "records",
        "catalog",
        "history",
        "precious",
    }
    assert (runs.store / "precious").read_bytes() == b"nobody's business"


def test_matrix_has_at_least_forty_faults_and_is_in_the_readme() -> None:
    """`python -m flag_pipeline_tests.faults` writes it."""
    assert len(FAULTS) == len(CODE_OF) >= 40
    assert fault_table() in README.read_text(encoding="utf-8")
