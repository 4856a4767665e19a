"""The HTTP client against a real server with valid, invalid, late and missing answers."""

import asyncio
import contextlib
import gzip
import resource
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import client_exceptions, web
from aiohttp.abc import AbstractResolver, ResolveResult

from flag_pipeline.core.flag_source import FlagSource, open_source, open_source_session
from flag_pipeline.core.presets import find_preset
from flag_pipeline.errors import (
    ErrorKind,
    FlagNotFoundError,
    SourceContractError,
    SourceDownError,
    SourceError,
    TransientSourceError,
)
from flag_pipeline.fetching.client import FetchCounter
from flag_pipeline.fetching.http_errors import translated
from flag_pipeline.fetching.models import Validators
from flag_pipeline.settings import load_settings
from flag_pipeline_tests.fakes import Names, Waits
from flag_pipeline_tests.flag_server import Answer, Ending, FlagServer, answer, head, metadata_url_path, raw

PATH = "/cn/cn.gif"
NOTHING_KNOWN = Validators()
# Short time-outs, because some test servers never answer.
IMPATIENT = {
    "attempts": 2,
    "retry_initial_s": 0.001,
    "retry_after_max_s": 0.05,
    "timeout_s": 2.0,
    "connect_timeout_s": 1.0,
    "read_timeout_s": 0.2,
    "max_body_bytes": 4096,
    "store": "memory://unused",
}


class Client:
    """A source with the test's settings, and the statistics of its fetches."""

    def __init__(self, source: FlagSource, waits: Waits) -> None:
        self.source = source
        self.waits = waits
        self.counter = FetchCounter()

    async def fetch(self, path: str = PATH, known: Validators = NOTHING_KNOWN) -> bytes | None:
        """Return the content of *path*, None if it is unchanged."""
        url = f"{self.source.preset.base_url}{path}"
        return (await self.source.fetch(url, code="CN", known=known, counter=self.counter)).content

    async def failure(self, path: str = PATH) -> SourceError:
        """Return the error of fetching *path*."""
        with pytest.raises(SourceError) as caught:
            await self.fetch(path)
        return caught.value


@asynccontextmanager
async def client_of(
    url: str, resolver: AbstractResolver | None = None, *, origin: str = "", **changed: Any
) -> AsyncIterator[Client]:
    """Open a client of the source at *url*, which is served at *origin* if that is given."""
    settings = load_settings(**{**IMPATIENT, "source": url, **changed})
    waits = Waits()
    preset = find_preset(url)
    async with open_source_session(origin or preset.base_url, settings, resolver=resolver) as session:
        yield Client(FlagSource(session, preset, settings, origin=origin, sleep=waits), waits)


@pytest.fixture
async def client(flag_server: FlagServer) -> AsyncIterator[Client]:
    """Open a client of the test's server."""
    async with client_of(flag_server.url) as client:
        yield client


def unused_port() -> int:
    """Return a loopback port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_good_answer_has_content_and_validators(client: Client, flag_server: FlagServer) -> None:
    """A conditional request with both validators gets 304 without a body."""
    flag_server.script(PATH, [answer(200, b"GIF", ETag='"1"', Last_Modified="Mon, 23 Nov 2026 12:00:00 GMT")])
    url = flag_server.url + PATH
    first = await client.source.fetch(url, code="CN", known=NOTHING_KNOWN, counter=client.counter)
    flag_server.script(PATH, [answer(304)])

    again = await client.source.fetch(url, code="CN", known=first.validators, counter=client.counter)

    assert (first.content, again.content) == (b"GIF", None)
    assert again.validators == first.validators == Validators('"1"', "Mon, 23 Nov 2026 12:00:00 GMT")
    assert flag_server.headers[-1]["If-None-Match"] == '"1"'
    assert flag_server.headers[-1]["If-Modified-Since"] == "Mon, 23 Nov 2026 12:00:00 GMT"
    assert client.counter.statistics().body_bytes == 3


async def test_unchanged_without_having_asked_is_no_answer(client: Client, flag_server: FlagServer) -> None:
    """A 304 without a conditional request is invalid."""
    flag_server.script(PATH, [answer(304)])

    assert isinstance(await client.failure(), SourceContractError)


@pytest.mark.parametrize("value", ['"\xff"', '"中"', "x" * 300, '"a\tb"'])
async def test_validator_that_cannot_be_sent_back_is_dropped(
    client: Client, flag_server: FlagServer, value: str
) -> None:
    """Such a validator would break the record or the next request."""
    flag_server.script(PATH, [raw(head(ETag="$", Content_Length="1").replace(b"$", value.encode()) + b"x")])
    url = flag_server.url + PATH

    reply = await client.source.fetch(url, code="CN", known=NOTHING_KNOWN, counter=client.counter)

    assert (reply.content, reply.validators) == (b"x", NOTHING_KNOWN)


@pytest.mark.parametrize("status", [404, 410])
async def test_missing_flag_is_not_retried(client: Client, flag_server: FlagServer, status: int) -> None:
    """A 404 or 410 is final."""
    flag_server.script(PATH, [answer(status)])

    assert isinstance(await client.failure(), FlagNotFoundError)
    assert flag_server.requests == [PATH]


@pytest.mark.parametrize("status", [201, 204, 206, 300, 301, 400, 401, 403, 418, 451])
async def test_other_answers_are_not_retried(client: Client, flag_server: FlagServer, status: int) -> None:
    """A retry does not change these answers."""
    flag_server.script(PATH, [answer(status)])

    assert isinstance(await client.failure(), SourceContractError)
    assert flag_server.requests == [PATH]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (202, ErrorKind.THROTTLED),
        (408, ErrorKind.TIMEOUT),
        (421, ErrorKind.CONNECTION),
        (425, ErrorKind.THROTTLED),
        (429, ErrorKind.THROTTLED),
        (500, ErrorKind.SERVER_ERROR),
        (599, ErrorKind.SERVER_ERROR),
    ],
)
async def test_busy_server_is_asked_again_and_then_given_up(
    client: Client, flag_server: FlagServer, status: int, kind: ErrorKind
) -> None:
    """The request is retried as often as the settings say."""
    flag_server.script(PATH, [answer(status)])

    failure = await client.failure()

    assert (type(failure), failure.kind, failure.attempts) == (TransientSourceError, kind, 2)
    assert flag_server.requests == [PATH] * 2


async def test_recovered_server_costs_a_retry(client: Client, flag_server: FlagServer) -> None:
    """A 503 and then the file are two requests, one of them a retry."""
    flag_server.script(PATH, [answer(503), answer(200, b"GIF")])

    assert await client.fetch() == b"GIF"

    statistics = client.counter.statistics()
    assert (statistics.requests, statistics.retries, statistics.attempts, statistics.body_bytes) == (2, 1, 2, 3)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value",
    [
        "7",
        "9" * 400,
        format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True),
        # "-0000" is UTC without a known time zone.
        format_datetime((datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=None)),
    ],
    ids=["seconds", "very many seconds", "date", "date of no zone"],
)
async def test_server_hint_overrides_back_off(client: Client, flag_server: FlagServer, status: int, value: str) -> None:
    """Both forms of Retry-After are obeyed, at most as long as the settings allow."""
    flag_server.script(PATH, [answer(status, Retry_After=value), answer(200, b"GIF")])

    assert await client.fetch() == b"GIF"

    assert client.waits == [0.05]


@pytest.mark.parametrize("status", [301, 304, 400, 401, 403, 409, 413, 418, 451])
async def test_any_status_with_a_hint_is_tried_again(client: Client, flag_server: FlagServer, status: int) -> None:
    """A Retry-After means that a later request may succeed."""
    flag_server.script(PATH, [answer(status, Retry_After="7"), answer(200, b"GIF")])

    assert await client.fetch() == b"GIF"
    assert client.waits == [0.05]

    flag_server.script(PATH, [answer(status, Retry_After="7")])
    assert (await client.failure()).kind is ErrorKind.THROTTLED


@pytest.mark.parametrize("status", [201, 204, 206, 404, 410])
async def test_hint_changes_nothing_where_the_answer_is_final(
    client: Client, flag_server: FlagServer, status: int
) -> None:
    """Other 2xx statuses, 404 and 410 are not retried in spite of a Retry-After."""
    flag_server.script(PATH, [answer(status, Retry_After="7")])

    assert not (await client.failure()).kind.is_transient
    assert flag_server.requests == [PATH]


async def test_answer_that_a_proxy_changed_is_an_answer(client: Client, flag_server: FlagServer) -> None:
    """A 203 has a body like a 200, which is checked later."""
    flag_server.script(PATH, [answer(203, b"GIF", ETag='"1"')])

    assert await client.fetch() == b"GIF"


class ImpatientProxy:
    """Answers the first request on each connection, and 408 to every later one, and closes none.

    It behaves like a proxy that sends 408 on idle connections, which is read as the answer to the next request.
    """

    def __init__(self) -> None:
        self.n_requests: list[int] = []
        self.everybody_is_there = asyncio.Barrier(6)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the client closes the connection."""
        number = len(self.n_requests)
        self.n_requests.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                self.n_requests[number] += 1
                if b"/warm" in request:
                    await self.everybody_is_there.wait()
                is_first = self.n_requests[number] == 1
                writer.write(head("200 OK" if is_first else "408 Request Timeout", Content_Length="3") + b"GIF")
        writer.close()


async def test_408_on_a_kept_connection_is_tried_again_on_a_fresh_one() -> None:
    """Each of the six idle connections would answer 408, so the second attempt opens a new one."""
    proxy = ImpatientProxy()
    async with await asyncio.start_server(proxy.answer, "127.0.0.1", 0) as server:
        async with client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
            await asyncio.gather(*[client.fetch("/warm") for _ in range(6)])

            for paths in ("/a /b /c /d".split(), "/e /f /g /h /i /j".split()):
                assert await asyncio.gather(*map(client.fetch, paths)) == [b"GIF"] * len(paths)

        # Where 408 was said, nothing else was asked.
        assert max(proxy.n_requests) == 2


@pytest.mark.parametrize("value", ["soon", "-5", "", "1.5", "Mon, 99 Foo 2026 00:00:00 GMT"])
async def test_senseless_hint_is_ignored(client: Client, flag_server: FlagServer, value: str) -> None:
    """The usual back-off is used instead of an invalid Retry-After."""
    flag_server.script(PATH, [answer(503, Retry_After=value), answer(200, b"GIF")])

    await client.fetch()

    assert client.waits[0] <= 0.001


async def test_hint_holds_the_whole_host_back(flag_server: FlagServer) -> None:
    """No other request is sent before the pause is over."""
    flag_server.script("/a", [answer(429, Retry_After="60"), answer(200, b"a")])
    flag_server.script("/b", [answer(200, b"b")])
    async with client_of(flag_server.url, max_requests=1, retry_after_max_s=0.3) as client:
        await asyncio.gather(client.fetch("/a"), client.fetch("/b"))

    first, second = flag_server.arrivals[:2]
    assert flag_server.requests == ["/a", "/b", "/a"]
    assert second - first >= 0.3


async def test_wait_for_the_pace_is_not_held_against_a_file(flag_server: FlagServer) -> None:
    """The sixth file waits for half a second, longer than its retries may take, and still has its second attempt."""
    paths = [f"/{number}" for number in range(6)]
    for path in paths:
        flag_server.script(path, [answer(200, b"GIF")])
    flag_server.script(paths[-1], [answer(503), answer(200, b"GIF")])
    async with client_of(flag_server.url, requests_per_second=10, retry_total_s=0.4) as client:
        assert await asyncio.gather(*map(client.fetch, paths)) == [b"GIF"] * 6


async def test_hint_holds_those_back_who_wait_for_the_pace(flag_server: FlagServer) -> None:
    """They wait until the pause is over, and are then sent one by one."""
    paths = ["/a", "/b", "/c"]
    for path in paths:
        flag_server.script(path, [answer(200, b"GIF")])
    flag_server.script("/a", [answer(429, Retry_After="60"), answer(200, b"GIF")])
    async with client_of(flag_server.url, requests_per_second=5, retry_after_max_s=0.5) as client:
        assert await asyncio.gather(*map(client.fetch, paths)) == [b"GIF"] * 3

    first, second, *_, last = flag_server.arrivals
    assert len(flag_server.requests) == 4
    assert second - first >= 0.5
    assert last - second >= 0.2


SILENT = raw(then=Ending.STALL)
SILENT_IN_THE_MIDDLE = raw(head(Content_Length="10"), b"abc", then=Ending.STALL)
DRIPPING = raw(head(Content_Length="4000"), *[b"x"] * 4000, every_s=0.01)


@pytest.mark.parametrize("late", [SILENT, SILENT_IN_THE_MIDDLE])
async def test_silence_is_a_timeout(client: Client, flag_server: FlagServer, late: Answer) -> None:
    """A silence before or inside an answer is a time-out, and is retried."""
    flag_server.script(PATH, [late, answer(200, b"GIF")])

    assert await client.fetch() == b"GIF"

    flag_server.script(PATH, [late])
    failure = await client.failure()
    assert (failure.kind, failure.attempts) == (ErrorKind.TIMEOUT, 2)


async def test_slow_drip_is_bounded_by_the_total(flag_server: FlagServer) -> None:
    """A server that sends one byte at a time is stopped by the total time-out."""
    flag_server.script(PATH, [DRIPPING])
    async with client_of(flag_server.url, timeout_s=0.3, read_timeout_s=0.2) as client:
        failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.TIMEOUT, 2)


async def test_no_attempt_outlives_what_is_left_of_the_total_time(flag_server: FlagServer) -> None:
    """The first attempt may use all of the total time, so that there is no second one."""
    flag_server.script(PATH, [DRIPPING])
    async with client_of(flag_server.url, timeout_s=50, retry_total_s=0.3) as client, asyncio.timeout(20):
        failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.TIMEOUT, 1)
    assert "FLAG_RETRY_TOTAL_S" in str(failure)


BROKEN_CONNECTIONS = {
    "closed at once": raw(),
    "reset at once": raw(then=Ending.RESET),
    "closed in the headers": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "cut body": raw(head(Content_Length="10") + b"abc"),
    "reset body": raw(head(Content_Length="10") + b"abc", then=Ending.RESET),
    "cut between chunks": raw(head(Transfer_Encoding="chunked") + b"3\r\nabc\r\n"),
    "cut in a chunk": raw(head(Transfer_Encoding="chunked") + b"9\r\nabc"),
}


@pytest.mark.parametrize("broken", BROKEN_CONNECTIONS.values(), ids=BROKEN_CONNECTIONS)
async def test_broken_connection_is_tried_again(client: Client, flag_server: FlagServer, broken: Answer) -> None:
    """Only our policy retries: the server receives as many requests as are counted."""
    flag_server.script(PATH, [broken, answer(200, b"GIF")])
    assert await client.fetch() == b"GIF"

    flag_server.requests.clear()
    flag_server.script(PATH, [broken])
    failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONNECTION, 2)
    assert flag_server.requests == [PATH] * 2


NO_HTTP = {
    "garbage": raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "no status": raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "bad header": raw(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "negative length": raw(head(Content_Length="-1") + b"x"),
    "length and chunks": raw(head(Content_Length="3", Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n"),
    "endless header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
    "thousands of headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 20_000 + b"\r\n"),
}


@pytest.mark.parametrize("nonsense", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_is_a_broken_contract(client: Client, flag_server: FlagServer, nonsense: Answer) -> None:
    """It is not retried, and the reason is printable."""
    flag_server.script(PATH, [nonsense])

    failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONTRACT, 1)
    assert str(failure).isprintable()


async def test_more_than_was_announced_does_not_reach_the_next_answer(client: Client, flag_server: FlagServer) -> None:
    """Bytes after the announced length are dropped."""
    flag_server.script(PATH, [raw(head(Content_Length="3") + b"abcHTTP/1.1 200 OK\r\n\r\nevil", then=Ending.STALL)])
    flag_server.script("/next", [answer(200, b"good")])

    assert await client.fetch() == b"abc"
    assert await client.fetch("/next") == b"good"


TOO_BIG = {
    "announced": raw(head(Content_Length="4097"), then=Ending.STALL),
    "unannounced": raw(head() + b"x" * 5000),
    "chunked": raw(head(Transfer_Encoding="chunked") + b"1389\r\n" + b"x" * 5001 + b"\r\n", then=Ending.STALL),
    "gzip bomb": answer(200, gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip"),
    "deflate bomb": answer(200, zlib.compress(b"\0" * 50_000_000), Content_Encoding="deflate"),
}


@pytest.mark.parametrize("big", TOO_BIG.values(), ids=TOO_BIG)
async def test_body_is_capped_as_it_comes(client: Client, flag_server: FlagServer, big: Answer) -> None:
    """The cap holds with and without Content-Length and compression; at most one chunk more is read."""
    flag_server.script(PATH, [big])

    failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONTRACT, 1)
    assert client.counter.statistics().body_bytes <= 4096 + 65_536


async def test_body_of_exactly_the_cap_is_good(client: Client, flag_server: FlagServer) -> None:
    """A body of exactly the cap is accepted, also when it is compressed."""
    flag_server.script(PATH, [answer(200, b"x" * 4096)])
    flag_server.script("/gz", [answer(200, gzip.compress(b"x" * 4096, mtime=0), Content_Encoding="gzip")])

    assert await client.fetch() == b"x" * 4096
    assert await client.fetch("/gz") == b"x" * 4096


ENCODED = {
    "x-gzip": answer(200, gzip.compress(b"GIF"), Content_Encoding="x-gzip"),
    "upper case": answer(200, gzip.compress(b"GIF"), Content_Encoding="GZIP"),
    "twice": answer(200, gzip.compress(gzip.compress(b"GIF")), Content_Encoding="gzip, gzip"),
    "deflate": answer(200, zlib.compress(b"GIF"), Content_Encoding="deflate"),
}


@pytest.mark.parametrize("encoded", ENCODED.values(), ids=ENCODED)
async def test_encoded_body_is_decoded(client: Client, flag_server: FlagServer, encoded: Answer) -> None:
    """The statistics count the decoded body."""
    flag_server.script(PATH, [encoded])

    assert await client.fetch() == b"GIF"
    assert client.counter.statistics().body_bytes == 3
    assert flag_server.headers[-1]["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd"])
async def test_body_that_is_not_what_its_encoding_says_is_a_broken_contract(
    client: Client, flag_server: FlagServer, coding: str
) -> None:
    """It is not retried, because the server would send the same again."""
    flag_server.script(PATH, [answer(200, b"GIF89a", Content_Encoding=coding)])

    failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONTRACT, 1)
    assert f"Content-Encoding {coding}" in str(failure) or f"not {coding}" in str(failure)


async def test_cut_connection_in_an_encoded_body_is_tried_again(client: Client, flag_server: FlagServer) -> None:
    """The connection failed, not the encoding."""
    half = gzip.compress(b"GIF" * 100)[:20]
    flag_server.script(PATH, [raw(head(Content_Length="50", Content_Encoding="gzip") + half)])

    assert (await client.failure()).kind is ErrorKind.CONNECTION


async def test_process_without_files_is_not_the_sources_fault(flag_server: FlagServer) -> None:
    """The country fails with a transient kind, and the circuit breaker stays closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with client_of(flag_server.url, source_down_s=1e-6) as client:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            failure = await client.failure()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        assert (failure.kind, failure.attempts) == (ErrorKind.LOCAL, 2)
        assert flag_server.requests == []
        assert await client.fetch(metadata_url_path("CN"))


async def test_too_many_redirects_say_how_many_and_where_to(client: Client, flag_server: FlagServer) -> None:
    """The message helps to find the redirect loop."""
    flag_server.script(PATH, [answer(302, Location="/cn/round-and-round.gif")])
    flag_server.script("/cn/round-and-round.gif", [answer(302, Location=PATH)])

    failure = await client.failure()

    assert "too many redirects: 5, the last one to /cn/round-and-round.gif" in str(failure)


async def test_redirect_on_the_same_host_is_followed_and_counted(client: Client, flag_server: FlagServer) -> None:
    """Each redirect counts as a request."""
    flag_server.script(PATH, [answer(302, Location="/b")])
    flag_server.script("/b", [answer(308, Location=f"{flag_server.url}/c")])
    flag_server.script("/c", [answer(200, b"GIF")])

    assert await client.fetch() == b"GIF"
    assert client.counter.statistics().requests == 3


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:1/x",
        "http://127.0.0.1:1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "http://[::1]/",
        "//evil.example/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "data:image/gif;base64,R0lGODlh",
        "javascript:alert(1)",
        "http://",
        "http://[x",
        "/cn/cn.gif",
    ],
)
async def test_redirect_elsewhere_is_a_broken_contract(client: Client, flag_server: FlagServer, location: str) -> None:
    """Redirects to other hosts, ports and schemes, to invalid addresses and in a loop are not followed or retried."""
    flag_server.script(PATH, [answer(302, Location=location)])

    failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONTRACT, 1)


async def test_redirect_to_a_listed_host_is_followed(flag_server: FlagServer) -> None:
    """An entry without a port allows every port."""
    port = flag_server.url.rpartition(":")[2]
    flag_server.script(PATH, [answer(302, Location=f"http://cdn.example:{port}/b")])
    flag_server.script("/b", [answer(200, b"GIF")])
    names = Names({"cdn.example": ["127.0.0.1"]})
    async with client_of(flag_server.url, names, redirect_hosts=["CDN.example"]) as client:
        assert await client.fetch() == b"GIF"


async def test_public_source_is_not_followed_inside(flag_server: FlagServer) -> None:
    """No request is sent if DNS has a loopback address for a public source."""
    names = Names({"www.fluentpython.com": ["127.0.0.1"]})
    async with client_of("fluentpython", names) as client:
        failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONTRACT, 1)
    assert "private address" in str(failure)
    assert flag_server.requests == []


async def test_name_that_dns_does_not_know_is_a_connection_failure() -> None:
    """An unknown name is a transient failure."""
    async with client_of("http://nowhere.example", Names({})) as client:
        failure = await client.failure()

    assert (failure.kind, failure.attempts) == (ErrorKind.CONNECTION, 2)


@pytest.mark.parametrize("names", [None, Names({})], ids=["refused", "unknown to DNS"])
async def test_host_that_is_down_is_given_up_at_once(names: Names | None, caplog: pytest.LogCaptureFixture) -> None:
    """A few of 249 countries send requests, the others fail at once, and one line is logged."""
    host = f"127.0.0.1:{unused_port()}" if names is None else "nowhere.example"
    url = f"http://{host}"
    async with client_of(url, names, source_down_s=0.5, attempts=9) as client:
        failures = await asyncio.gather(*[client.failure(f"/{number}") for number in range(249)])

    kinds = {failure.kind for failure in failures}
    assert kinds == {ErrorKind.SOURCE_DOWN}
    assert client.counter.statistics().requests <= 6 * 8
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "cannot be reached; no more requests are sent to it" in caplog.text


async def test_who_waits_for_the_pace_learns_that_the_host_is_down() -> None:
    """One request is sent; the next one is cancelled, and the others do not wait for the pace."""
    url = f"http://127.0.0.1:{unused_port()}"
    async with client_of(url, source_down_s=1e-6, max_requests=2, requests_per_second=2) as client:
        failures = await asyncio.gather(*[client.failure(f"/{number}") for number in range(249)])

    assert {failure.kind for failure in failures} == {ErrorKind.SOURCE_DOWN}
    assert client.counter.statistics().requests == 1


async def test_host_that_never_answers_is_given_up_too(flag_server: FlagServer) -> None:
    """A host that accepts connections but answers no request is down too."""
    for number in range(40):
        flag_server.script(f"/{number}", [SILENT])
    async with client_of(flag_server.url, source_down_s=0.1) as client:
        failures = await asyncio.gather(*[client.failure(f"/{number}") for number in range(40)])

    assert {failure.kind for failure in failures} == {ErrorKind.SOURCE_DOWN}
    assert len(flag_server.requests) <= 12


async def test_one_silent_file_is_not_a_host_that_is_down(flag_server: FlagServer) -> None:
    """After the host has answered once, a time-out concerns one file."""
    flag_server.script(PATH, [SILENT])
    flag_server.script("/good", [answer(200, b"GIF")])
    async with client_of(flag_server.url, source_down_s=0.01) as client:
        await client.fetch("/good")

        assert (await client.failure()).kind is ErrorKind.TIMEOUT
        assert await client.fetch("/good") == b"GIF"


class LateNames(Names):
    """Waits until *is_late* is set, fails to resolve the name once, and resolves it from then on."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        super().__init__(addresses)
        self.asked = asyncio.Event()
        self.is_late = asyncio.Event()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give no address the first time."""
        if not self.is_late.is_set():
            self.asked.set()
            await self.is_late.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await super().resolve(host, port, family)


async def test_host_that_asked_to_be_left_alone_is_not_down(flag_server: FlagServer) -> None:
    """One connection fails while the others obey a Retry-After, so that no answer was possible."""
    port = flag_server.url.rpartition(":")[2]
    flag_server.script(PATH, [answer(302, Location=f"http://cdn.example:{port}/b")])
    flag_server.script("/b", [answer(200, b"GIF")])
    flag_server.script("/busy", [answer(429, Retry_After="60"), answer(200, b"GIF")])
    names = LateNames({"cdn.example": ["127.0.0.1"]})
    async with client_of(
        flag_server.url, names, source_down_s=1e-6, connect_timeout_s=50, timeout_s=50, redirect_hosts=["cdn.example"]
    ) as client:
        unconnected = asyncio.create_task(client.fetch())
        await names.asked.wait()
        busy = asyncio.create_task(client.fetch("/busy"))
        await client.waits.begun.wait()
        names.is_late.set()

        assert [await unconnected, await busy] == [b"GIF", b"GIF"]


async def test_restarting_server_is_waited_for() -> None:
    """After refused connections the server starts, and all files arrive."""
    port = unused_port()

    async def hello(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"GIF")

    runner = web.ServerRunner(web.Server(hello))
    await runner.setup()
    async with client_of(f"http://127.0.0.1:{port}", attempts=9) as client:
        fetches = [asyncio.create_task(client.fetch(f"/{number}")) for number in range(40)]
        await client.waits.begun.wait()
        await web.TCPSite(runner, "127.0.0.1", port).start()

        assert await asyncio.gather(*fetches) == [b"GIF"] * 40
    await runner.cleanup()


class ShortBacklog:
    """A server with one request per connection, like Python's own, which counts waiting connections."""

    def __init__(self) -> None:
        self.waiting = 0
        self.peak = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer after all pending connections have arrived."""
        self.waiting += 1
        for _ in range(20):
            await asyncio.sleep(0)
        self.peak = max(self.peak, self.waiting)
        await reader.readuntil(b"\r\n\r\n")
        self.waiting -= 1
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nGIF")
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port."""
        async with await asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=5) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_short_listen_backlog_is_not_overrun() -> None:
    """With default settings at most six connections wait for an answer, also after failures."""
    server = ShortBacklog()
    patient: dict[str, Any] = {"timeout_s": 50, "connect_timeout_s": 50, "read_timeout_s": 50}
    async with server.serving() as url, client_of(url, **patient) as client:
        assert set(await asyncio.gather(*[client.fetch(f"/{number}") for number in range(200)])) == {b"GIF"}

    assert 2 <= server.peak <= 6


async def test_requests_at_once_are_bounded(flag_server: FlagServer) -> None:
    """The limit holds for any number of countries, although the server keeps connections open."""
    under_way = peak = n_answered = 0
    full = asyncio.Event()

    async def count(_request: web.Request) -> web.StreamResponse:
        nonlocal under_way, peak, n_answered
        under_way += 1
        peak = max(peak, under_way)
        if under_way == 10:
            full.set()
        if n_answered >= 60:
            # Ten are allowed; an eleventh would arrive during this wait.
            await full.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        under_way -= 1
        n_answered += 1
        return web.Response(body=b"GIF")

    flag_server.script(PATH, [count])
    async with client_of(flag_server.url, max_requests=10, read_timeout_s=2.0) as client:
        await asyncio.gather(*[client.fetch() for _ in range(200)])

    assert peak == 10


async def test_requests_at_once_are_bounded_by_the_open_files(
    flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that can open no more files sends one request after the other."""
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1, 1))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, _limits: None)
    async with open_source(load_settings(source=flag_server.url, store="memory://unused")) as source:
        urls = [source.preset.metadata_url(code) for code in ("CN", "DE", "FR", "IN")]
        await asyncio.gather(
            *[source.fetch(url, code="CN", known=NOTHING_KNOWN, counter=FetchCounter()) for url in urls]
        )

    assert (len(flag_server.requests), flag_server.most_under_way) == (4, 1)


KEY: Any = aiohttp.client_reqrep.ConnectionKey("h", 80, False, True, None, None, None)
REQUEST: Any = SimpleNamespace(real_url="http://h/")
MAPPED: dict[str, tuple[ErrorKind, Callable[[], BaseException]]] = {
    "ClientError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientError("x")),
    "ClientConnectionError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientConnectionError("x")),
    "ClientConnectionResetError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientConnectionResetError("x")),
    "ClientOSError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientOSError(104, "x")),
    "ClientConnectorError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientConnectorError(KEY, OSError(111, "x"))),
    "ClientProxyConnectionError": (
        ErrorKind.CONNECTION,
        lambda: aiohttp.ClientProxyConnectionError(KEY, OSError(111, "x")),
    ),
    "ClientConnectorDNSError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "x"))),
    "UnixClientConnectorError": (
        ErrorKind.CONNECTION,
        lambda: client_exceptions.UnixClientConnectorError("/s", KEY, OSError(111, "x")),
    ),
    "ClientSSLError": (ErrorKind.CONTRACT, lambda: aiohttp.ClientSSLError(KEY, OSError(1, "x"))),
    "ClientConnectorSSLError": (ErrorKind.CONTRACT, lambda: aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "x"))),
    "ClientConnectorCertificateError": (
        ErrorKind.CONTRACT,
        lambda: aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError(1, "x")),
    ),
    "ConnectionTimeoutError": (ErrorKind.TIMEOUT, lambda: aiohttp.ConnectionTimeoutError("x")),
    "SocketTimeoutError": (ErrorKind.TIMEOUT, lambda: aiohttp.SocketTimeoutError("x")),
    "ServerConnectionError": (ErrorKind.CONNECTION, lambda: aiohttp.ServerConnectionError("x")),
    "ServerTimeoutError": (ErrorKind.TIMEOUT, lambda: aiohttp.ServerTimeoutError("x")),
    "ServerDisconnectedError": (ErrorKind.CONNECTION, lambda: aiohttp.ServerDisconnectedError("x")),
    "ServerFingerprintMismatch": (ErrorKind.CONTRACT, lambda: aiohttp.ServerFingerprintMismatch(b"a", b"b", "h", 80)),
    "ClientResponseError": (ErrorKind.CONTRACT, lambda: aiohttp.ClientResponseError(REQUEST, ())),
    "ClientHttpProxyError": (ErrorKind.CONTRACT, lambda: aiohttp.ClientHttpProxyError(REQUEST, ())),
    "WSServerHandshakeError": (ErrorKind.CONTRACT, lambda: aiohttp.WSServerHandshakeError(REQUEST, ())),
    "ContentTypeError": (ErrorKind.CONTRACT, lambda: aiohttp.ContentTypeError(REQUEST, ())),
    "ClientPayloadError": (ErrorKind.CONNECTION, lambda: aiohttp.ClientPayloadError("x")),
    "UploadAbortedError": (ErrorKind.CONNECTION, lambda: client_exceptions.UploadAbortedError("x")),
    "InvalidURL": (ErrorKind.CONTRACT, lambda: aiohttp.InvalidURL("x")),
    "InvalidUrlClientError": (ErrorKind.CONTRACT, lambda: aiohttp.InvalidUrlClientError("x")),
    "RedirectClientError": (ErrorKind.CONTRACT, lambda: aiohttp.RedirectClientError("x")),
    "NonHttpUrlClientError": (ErrorKind.CONTRACT, lambda: aiohttp.NonHttpUrlClientError("x")),
    "InvalidUrlRedirectClientError": (ErrorKind.CONTRACT, lambda: aiohttp.InvalidUrlRedirectClientError("x")),
    "NonHttpUrlRedirectClientError": (ErrorKind.CONTRACT, lambda: aiohttp.NonHttpUrlRedirectClientError("x")),
    "TooManyRedirects": (ErrorKind.CONTRACT, lambda: aiohttp.TooManyRedirects(REQUEST, ())),
}


def test_every_error_of_aiohttp_is_mapped() -> None:
    """A new exception class in aiohttp fails this test until it is mapped."""
    exported = {
        name
        for name, value in vars(client_exceptions).items()
        if isinstance(value, type) and issubclass(value, aiohttp.ClientError)
    }

    assert exported == set(MAPPED)


@pytest.mark.parametrize(("kind", "make"), MAPPED.values(), ids=MAPPED)
def test_error_of_aiohttp_becomes_ours(kind: ErrorKind, make: Callable[[], TimeoutError | aiohttp.ClientError]) -> None:
    """Time-outs and connection errors are transient, all others are not."""
    reported = translated(make(), code="CN", url="u")

    assert reported.kind is kind
    assert isinstance(reported, TransientSourceError) is kind.is_transient


def test_total_time_out_becomes_ours() -> None:
    """The total time-out raises asyncio's TimeoutError."""
    assert translated(TimeoutError(), code="CN", url="u").kind is ErrorKind.TIMEOUT


def test_down_source_is_not_retried() -> None:
    """Only transient errors are retried."""
    assert not issubclass(SourceDownError, TransientSourceError)
