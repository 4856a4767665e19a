"""Hypothesis puts any header into any answer."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flag_pipeline.errors import SourceError
from flag_pipeline.fetching.client import MAX_VALIDATOR_CHARS, Answer
from flag_pipeline.fetching.models import Validators
from flag_pipeline_tests.flag_server import FlagServer, raw, running_flag_server
from flag_pipeline_tests.integration.test_source import PATH, client_of

NAMES = [
    "ETag", "Last-Modified", "Retry-After", "Location", "Content-Type", "Content-Encoding", "Content-Length",
    "Transfer-Encoding", "Connection", "Set-Cookie", "Upgrade", "X",
]  # fmt: skip
REAL_VALUES = [
    b'"1"', b'W/"1"', b"Mon, 23 Nov 2026 12:00:00 GMT", b"7", b"-1", b"3", b"99999999999999999999", b"gzip", b"deflate",
    b"br", b"zstd", b"chunked", b"gzip, chunked", b"close", b"upgrade", b"a=b; Path=/", b"/", b"//x", b"?", b"http://x:99999/",
]  # fmt: skip
VALUES = st.sampled_from(REAL_VALUES) | st.binary(max_size=40) | st.text(max_size=40).map(str.encode)


@pytest.fixture(scope="module")
def server() -> Iterator[FlagServer]:
    """One server for all examples."""
    with running_flag_server() as server:
        yield server


async def ask(url: str) -> list[Answer | SourceError]:
    """The results of two requests, the second with the validators of the first answer; waits are short."""
    outcomes: list[Answer | SourceError] = []
    known = Validators()
    async with client_of(url, retry_after_max_s=0.001, timeout_s=5.0, read_timeout_s=1.0) as client:
        for _ in range(2):
            try:
                answer = await client.source.fetch(f"{url}{PATH}", code="CN", known=known, counter=client.counter)
                known = answer.validators
                outcomes.append(answer)
            except SourceError as exc:
                outcomes.append(exc)
    return outcomes


@pytest.mark.timeout(120)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    status=st.sampled_from([200, 204, 302, 304, 404, 429, 503]),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), min_size=1, max_size=3),
)
@example(status=200, headers=[("ETag", b'"' + b"x" * 300 + b'"')])
@example(status=200, headers=[("ETag", b'"1"\r\nInjected: yes')])
@example(status=302, headers=[("Location", b"http://127.0.0.1:1/\x1b[31m")])
@example(status=503, headers=[("Retry-After", b"9" * 400)])
def test_any_header_is_an_answer_or_an_error_of_ours(
    server: FlagServer, status: int, headers: list[tuple[str, bytes]]
) -> None:
    """An error is one printable line; what is kept to be sent again can be sent again."""
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in headers)
    server.script(PATH, [raw(b"HTTP/1.1 %d x\r\n%s\r\nGIF" % (status, lines))])

    outcomes = asyncio.run(ask(server.url))

    assert len(outcomes) == 2
    for outcome in outcomes:
        if isinstance(outcome, SourceError):
            assert str(outcome).isprintable()
            continue
        for validator in (outcome.validators.etag, outcome.validators.last_modified):
            assert validator.isascii()
            assert validator.isprintable()
            assert len(validator) <= MAX_VALIDATOR_CHARS
