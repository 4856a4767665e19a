"""A source that sends a response that no request asked for: no country ends with another country's flag."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import dagster as dg
import pytest

from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.flag_source import open_source
from flag_pipeline.core.models import FlagRecord, Outcome, StoredMetadata
from flag_pipeline.core.records import country_sha256, load_record
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sink import FileSink
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.defs.statuses import read_country_statuses
from flag_pipeline.fetching.desync import CheckedConnector
from flag_pipeline.fetching.models import Validators
from flag_pipeline.isolation.status import latest_materializations
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.samples import gif, picture
from flag_pipeline_tests.surplus_server import SurplusServer, response, running_surplus_server
from flag_pipeline_tests.sweeping import SweepSummary, sweep

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
THROTTLED = {"requests_per_second": 100, "max_requests": 8}
FEW = ["AD", "AE", "AF", "AG", "BR", "CN"]
# On one connection, so that a test knows what follows what.
IN_TURN = {"max_requests": 1, "first_requests": 1}
# In the words: throttled or not, answer after, surplus after, chunked or not. All of it runs on request.
MATRIX = list(
    itertools.product(
        (False, True), (0.0003, 0.01, 0.06), (0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06), (False, True)
    )
)
SAMPLE = [
    (False, 0.01, 0.005, True),
    (False, 0.06, 0.03, False),
    (True, 0.0003, 0.005, True),
    (True, 0.06, 0.001, False),
]


async def save_metadata(server: SurplusServer, store: Path, codes: Sequence[str]) -> None:
    """Store the metadata of *codes*, so that a run for their flags asks for nothing else."""
    async with FileSink(str(store)) as sink:
        for code in codes:
            country = iso_country(code)
            url = f"{server.url}/{code.lower()}/metadata.json"
            metadata = StoredMetadata(country_sha256(country), url, Validators())
            await sink.save(FlagRecord(code, metadata=metadata, country=country), country=country)


def flag_of(code: str) -> str:
    """The path of a country's flag."""
    return f"/{code.lower()}/{code.lower()}.gif"


def records_in(store: Path) -> dict[str, FlagRecord]:
    """Every record of the store, by code."""
    return {path.stem: load_record(path.read_bytes()) for path in (store / "records").glob("*.json")}


def swapped(store: Path, server: SurplusServer) -> list[str]:
    """The countries whose stored flag is not what the server has for them."""
    flags = {code: image.file for code, record in records_in(store).items() if (image := record.image)}
    named = {*flags.values()}
    assert {f"flags/{path.name}" for path in (store / "flags").iterdir() if not path.name.startswith(".")} == named
    return [code for code, file in flags.items() if (store / file).read_bytes() != server.file(flag_of(code))]


@contextmanager
def flags_run(
    instance: dg.DagsterInstance, server: SurplusServer, store: Path, **changed: Any
) -> Iterator[dg.ExecuteInProcessResult]:
    """Run the flags of all countries through Dagster."""
    with running_surplus_server(server):
        asyncio.run(save_metadata(server, store, iso_codes()))
        settings = load_settings(source=server.url, store=str(store), **changed)
        job = build_definitions(settings).resolve_job_def("refresh_flags")
        codes = iso_codes()
        tags = {"dagster/asset_partition_range_start": codes[0], "dagster/asset_partition_range_end": codes[-1]}
        yield job.execute_in_process(
            instance=instance, asset_selection=[FLAG_IMAGE], tags=tags, run_config=QUIET, raise_on_error=False
        )


def check_run(
    instance: dg.DagsterInstance, store: Path, *, throttled: bool, answer_s: float, surplus_s: float, chunked: bool
) -> None:
    """Run the flags of all countries, of which one is followed by a surplus response, and check what came of it."""
    server = SurplusServer(answer_s=answer_s, surplus_s=surplus_s, is_chunked=chunked)
    with flags_run(instance, server, store, **(THROTTLED if throttled else {})) as result:
        statuses = read_country_statuses(instance, FLAG_IMAGE, iso_codes())
        recorded = latest_materializations(instance, FLAG_IMAGE, statuses.materialized)

    assert swapped(store, server) == []
    assert len(statuses.failed) <= 1
    assert len(statuses.materialized) + len(statuses.failed) == 249
    stored = {code: record.image.sha256 for code, record in records_in(store).items() if record.image}
    versions = {
        code: event.asset_materialization.tags["dagster/data_version"]
        for code, event in recorded.items()
        if event.asset_materialization and event.asset_materialization.tags
    }
    assert versions == stored
    # Some were fetched twice, and each counts once.
    assert server.asked_for()["BR"] >= 2
    lines = [entry.user_message for entry in instance.all_logs(result.run_id) if "requested=" in entry.user_message]
    failed = len(statuses.failed)
    assert lines == [f"requested=249 saved={249 - failed} unchanged=0 not_found=0 failed={failed}"]


@pytest.mark.parametrize(("throttled", "answer_s", "surplus_s", "chunked"), SAMPLE)
def test_no_country_ends_with_the_flag_of_another(
    instance: dg.DagsterInstance, store: Path, *, throttled: bool, answer_s: float, surplus_s: float, chunked: bool
) -> None:
    """A full run against one bad country stores, records and names the right flag for each country."""
    check_run(instance, store, throttled=throttled, answer_s=answer_s, surplus_s=surplus_s, chunked=chunked)


@pytest.mark.matrix
@pytest.mark.parametrize(("throttled", "answer_s", "surplus_s", "chunked"), MATRIX)
def test_no_country_ends_with_the_flag_of_another_whatever_the_delays(
    instance: dg.DagsterInstance, store: Path, *, throttled: bool, answer_s: float, surplus_s: float, chunked: bool
) -> None:
    """The same holds for all combinations of delays, pace and framing."""
    check_run(instance, store, throttled=throttled, answer_s=answer_s, surplus_s=surplus_s, chunked=chunked)


async def fetch(
    server: SurplusServer,
    store: Path,
    codes: list[str] = FEW,
    *,
    source: str = "{url}",
    metadata: bool = True,
    **changed: Any,
) -> SweepSummary:
    """Sweep *codes* once, without Dagster."""
    changed = {"attempts": 2, "retry_initial_s": 0.001, "read_timeout_s": 0.3, **IN_TURN, **changed}
    settings: Settings = load_settings(source=source.format(url=server.url), store=str(store), **changed)

    async def record(_outcome: Outcome) -> None:
        """Record nothing."""

    async with open_source(settings) as opened, FileSink(settings.store) as sink:
        refresher = Refresher(opened, sink, metadata=metadata, history_keep=settings.history_keep)
        return await sweep(codes, refresher, record, max_requests=settings.max_requests, timeout_s=60)


def test_healthy_source_keeps_its_connections(store: Path) -> None:
    """498 requests share the connections that are needed for 32 at once, and none asks to close its own."""
    with running_surplus_server(SurplusServer(bad=frozenset())) as server:
        summary = asyncio.run(fetch(server, store, list(iso_codes()), max_requests=32, first_requests=6))

    assert (summary.saved, len(server.requests)) == (249, 498)
    assert server.n_connections <= 32
    assert not [request for request in server.headers if "Connection: close" in request]


VARIANTS = {
    "while the connection is idle": SurplusServer(surplus_s=0.0),
    "of another country": SurplusServer(surplus=response(gif("ZW"))),
    "without a body": SurplusServer(surplus=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "unchanged": SurplusServer(surplus=b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "informational": SurplusServer(surplus=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "while the next request is under way": SurplusServer(is_held_back=True, answer_s=0.01),
    "not found": SurplusServer(
        surplus=b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", is_held_back=True, answer_s=0.01
    ),
    "no HTTP": SurplusServer(surplus=b"<!-- served in 3 ms -->\n", is_held_back=True, answer_s=0.01),
    "cut short": SurplusServer(surplus=response(gif("ZW"))[:200], is_held_back=True, answer_s=0.01),
    "then closed": SurplusServer(surplus=response(gif("ZW")), is_held_back=True, closes_after_surplus=True),
    "after every flag": SurplusServer(bad=frozenset(FEW)),
    "after a redirect": SurplusServer(
        bad=frozenset(),
        surplus_after="/old/ae.gif",
        redirects={"/ae/ae.gif": "/old/ae.gif", "/ag/ag.gif": "/old/ag.gif"},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_surplus_of_every_kind_swaps_no_flag(name: str, store: Path) -> None:
    """All six countries are saved with their own flags, and nothing is left of the others'."""
    with running_surplus_server(VARIANTS[name]) as server:
        summary = asyncio.run(fetch(server, store))

    assert (summary.saved, summary.failed, summary.not_found) == (6, [], [])
    assert swapped(store, server) == []
    assert {code: record.last_failure for code, record in records_in(store).items()} == dict.fromkeys(FEW)
    assert list((store / "history").rglob("*.gif")) == []


UNTRUSTWORTHY = {
    "in one piece with the flag": SurplusServer(surplus_s=None),
    "no HTTP, in one piece with the flag": SurplusServer(surplus_s=None, surplus=b"<!-- served in 3 ms -->"),
    "never closed on request": SurplusServer(surplus_s=0.001, honours_close=False),
}


@pytest.mark.parametrize("name", UNTRUSTWORTHY)
def test_country_that_gets_two_answers_on_a_connection_of_its_own_fails_alone(name: str, store: Path) -> None:
    """Each of the two may be the right one, so that neither is stored."""
    with running_surplus_server(UNTRUSTWORTHY[name]) as server:
        summary = asyncio.run(fetch(server, store))

    assert [(miss.code, miss.kind.value) for miss in summary.failed] == [("BR", "contract")]
    assert swapped(store, server) == []
    assert sorted(path.name[:2] for path in (store / "flags").glob("*.gif")) == ["AD", "AE", "AF", "AG", "CN"]


@pytest.mark.parametrize("surplus", [b"\r\n", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"])
def test_harmless_bytes_cast_no_doubt(store: Path, surplus: bytes) -> None:
    """Nothing is fetched again because of an empty line, or because a proxy says that the connection was idle."""
    with running_surplus_server(SurplusServer(surplus=surplus, bad=frozenset({"AD", "CN"}))) as server:
        summary = asyncio.run(fetch(server, store, requests_per_second=20))

    assert summary.saved == 6
    assert len(server.requests) == 12


def test_informational_response_before_the_answer_is_no_surplus(store: Path) -> None:
    """The server may send early hints for each request (RFC 8297)."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    with running_surplus_server(SurplusServer(bad=frozenset(), hint=hint)) as server:
        summary = asyncio.run(fetch(server, store))

    assert summary.saved == 6
    assert (len(server.requests), server.n_connections) == (12, 1)


def test_response_before_the_request_is_no_answer_to_it(store: Path) -> None:
    """The country fails, although the response has its own flag's format."""
    with running_surplus_server(SurplusServer(bad=frozenset(), greeting=response(gif("ZW")))) as server:
        asyncio.run(save_metadata(server, store, FEW))
        summary = asyncio.run(fetch(server, store, metadata=False))

    assert {(miss.code, miss.kind.value) for miss in summary.failed} == {(code, "contract") for code in FEW}
    assert list((store / "flags").glob("*.gif")) == []


def test_flags_of_the_last_run_come_back_as_if_nothing_had_happened(store: Path) -> None:
    """A refresh in which flags were swapped leaves no change in the history but the one that the source made."""
    with running_surplus_server(SurplusServer(bad=frozenset())) as server:
        asyncio.run(fetch(server, store))
        before = records_in(store)
        server.bad, server.is_held_back = frozenset({"AD"}), True
        server.ignores_validators = True
        server.files[flag_of("AG")] = gif("ZW")
        summary = asyncio.run(fetch(server, store))

    after = records_in(store)
    assert swapped(store, server) == []
    assert (summary.saved_codes, len(summary.unchanged_codes)) == ({"AG"}, 5)
    assert {code: record.image for code, record in after.items() if code != "AG"} == {
        code: record.image for code, record in before.items() if code != "AG"
    }
    assert [change.new_sha256 for record in after.values() for change in record.changes] == [
        image.sha256 for image in [after["AG"].image] if image
    ]
    assert [path.read_bytes() for path in (store / "history").rglob("*.gif")] == [gif("AG")]


def test_names_from_a_document_in_doubt_are_fetched_again(store: Path) -> None:
    """A document of all countries that was swapped costs all of them a second request, and none its name."""
    names = {code.lower(): iso_country(code).name for code in FEW}
    server = SurplusServer(bad=frozenset())
    server.files = {f"/w320/{code.lower()}.png": picture(size=(8, 4 + n)) for n, code in enumerate(FEW)}
    server.files["/en/codes.json"] = json.dumps(names).encode()
    server.first_answers["/en/codes.json"] = json.dumps(dict.fromkeys(names, "Nowhere")).encode()
    server.surplus_after = "/w320/af.png"
    with running_surplus_server(server):
        summary = asyncio.run(fetch(server, store, source="flagcdn@{url}"))

    assert summary.saved == 6
    assert {code: record.country and record.country.name for code, record in records_in(store).items()} == {
        code: iso_country(code).name for code in FEW
    }
    assert server.requests.count("/en/codes.json") == 2


async def test_answer_of_a_proxy_is_no_surplus() -> None:
    """The answer to CONNECT comes before the connection carries a request to the source."""
    asked = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    async with proxy, aiohttp.ClientSession(connector=CheckedConnector()) as session:
        with pytest.raises(aiohttp.ClientHttpProxyError) as caught:
            await session.get("https://flags.example/cn.gif", proxy=address)

    assert caught.value.status == 403
    assert asked[0].startswith(b"CONNECT flags.example:443 ")
