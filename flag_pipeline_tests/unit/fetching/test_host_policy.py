"""Where requests may go: addresses, names and redirects."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import yarl

from flag_pipeline.fetching.host_policy import HostPolicy, HostPolicyResolver, is_public_address
from flag_pipeline_tests.fakes import Names

PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.5"


async def resolve(resolver: HostPolicyResolver, host: str) -> list[str]:
    """Return the addresses of *host*."""
    return [result["host"] for result in await resolver.resolve(host)]


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    """These are addresses that the internet routes."""
    assert is_public_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254",  # metadata of cloud machines
        "100.64.0.1",  # carrier-grade NAT
        "192.0.2.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1",  # 10.0.0.1 behind NAT64
        "2002:7f00:1::",  # 127.0.0.1 behind 6to4
        "64:ff9b:1::a00:1", "64:ff9b:1:fffe::a9fe:a9fe",  # behind a NAT64 of one's own (RFC 8215)
        "::10.0.0.1", "::ffff:0:10.0.0.1", "fec0::1",  # forms that are out of use, and still understood
        "192.0.0.8", "192.88.99.1", "3fff::1", "5f00::1",  # set aside later than Python 3.11 knows
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    """All other addresses are private, including IPv4 addresses inside IPv6."""
    assert not is_public_address(address)


async def test_public_source_is_not_led_to_private_addresses() -> None:
    """Private addresses of the source and of redirect hosts are left out; a host with no others is refused."""
    names = Names({"flags.example": [PUBLIC], "cdn.example": [PRIVATE], "mixed.example": [PRIVATE, PUBLIC]})
    resolver = HostPolicyResolver(HostPolicy("https://flags.example/x"), names)

    assert await resolve(resolver, "flags.example") == [PUBLIC]
    assert await resolve(resolver, "mixed.example") == [PUBLIC]
    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "cdn.example")
    names.addresses["flags.example"] = [PRIVATE]
    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "flags.example")


async def test_declared_public_source_is_not_private_from_the_start() -> None:
    """A public preset is refused if DNS has only private addresses."""
    resolver = HostPolicyResolver(
        HostPolicy("https://flags.example", is_public=True), Names({"flags.example": [PRIVATE]})
    )

    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "flags.example")


async def test_private_source_may_be_talked_to() -> None:
    """An intranet's name has private addresses, and so may have its redirect hosts."""
    names = Names({"intranet": [PRIVATE], "cdn": [PRIVATE, PUBLIC]})
    resolver = HostPolicyResolver(HostPolicy("http://intranet"), names)

    assert await resolve(resolver, "intranet") == [PRIVATE]
    assert await resolve(resolver, "cdn") == [PRIVATE, PUBLIC]
    await resolver.close()
    assert names.is_closed


@pytest.mark.parametrize(("origin", "is_public"), [(f"http://{PUBLIC}", True), ("http://[::1]:80", False)])
def test_address_in_the_url_says_what_the_source_is(origin: str, *, is_public: bool) -> None:
    """An address in the URL needs no lookup."""
    assert HostPolicy(origin).is_public is is_public


@pytest.mark.parametrize(
    ("origin", "url", "problem"),
    [
        ("http://a.example:81", "http://a.example:81/x", ""),
        ("http://a.example:81", "https://a.example/x", ""),
        ("http://a.example:81", "http://a.example/x", "is not where the source may redirect to"),
        ("https://a.example", "http://a.example/x", "is not where the source may redirect to"),
        ("https://a.example", "https://b.example/x", "is not where the source may redirect to"),
        ("https://a.example", "https://CDN.example/x", ""),
        (f"https://{PUBLIC}", f"http://{PRIVATE}/x", "is a private address"),
        (f"https://{PRIVATE}", f"http://{PRIVATE}:22/x", "is not where the source may redirect to"),
        ("http://192.168.1.1", f"http://{PRIVATE}/x", ""),
    ],
)
async def test_redirects_stay_with_the_source(origin: str, url: str, problem: str) -> None:
    """Allowed are its host at its port and at 443, and the listed hosts unless they are private."""
    host_policy = HostPolicy(origin, ["cdn.example", PRIVATE])
    request = aiohttp.ClientRequest("GET", yarl.URL(url), loop=asyncio.get_running_loop())

    async def refused(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        raise LookupError(request.url)

    with pytest.raises(aiohttp.InvalidUrlRedirectClientError if problem else LookupError) as caught:
        await host_policy(request, refused)

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "url", "is_allowed"),
    [
        ("a.example", "http://a.example:8080/x", True),
        ("a.example:8080", "http://a.example:8080/x", True),
        ("A.example:8080", "http://a.EXAMPLE:8080/x", True),
        ("a.example:8081", "http://a.example:8080/x", False),
        ("cdn.example:443", "https://cdn.example/x", True),
        ("cdn.example:443", "http://cdn.example/x", False),
        ("cdn.example:80", "http://cdn.example:443/x", False),
        ("bücher.example", "http://bücher.example/x", True),
        ("xn--bcher-kva.example:80", "http://bücher.example/x", True),
        ("::1", "http://[::1]:8080/x", True),
        ("[::1]", "http://[::1]:8080/x", True),
        ("[::1]:8080", "http://[::1]:8080/x", True),
        ("[::1]:8081", "http://[::1]:8080/x", False),
        ("cdn.example", "http://evil.cdn.example/x", False),
    ],
)
async def test_listed_host_or_host_and_port(listed: str, url: str, *, is_allowed: bool) -> None:
    """The list also counts for the source's own host at another port."""
    assert await is_sent(HostPolicy("http://a.example", [listed]), url) is is_allowed


@pytest.mark.parametrize("own_port", ["http://a.example:8080/x", "http://a.example:22/x", "https://a.example:8443/x"])
async def test_other_port_of_the_own_host_has_to_be_listed(own_port: str) -> None:
    """Another port may be another service."""
    assert not await is_sent(HostPolicy("http://a.example"), own_port)


@pytest.mark.parametrize("url", ["http://a.example/x", "http://a.example:443/x", "http://cdn.example/x"])
async def test_https_source_is_never_asked_without_tls(url: str) -> None:
    """An https source is never requested over http, not even at listed hosts."""
    assert not await is_sent(HostPolicy("https://a.example", ["a.example", "cdn.example"]), url)


async def is_sent(host_policy: HostPolicy, url: str) -> bool:
    """Return whether the host policy allows a request for *url*."""
    request = aiohttp.ClientRequest("GET", yarl.URL(url), loop=asyncio.get_running_loop())

    async def send(_request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        raise LookupError

    try:
        await host_policy(request, send)
    except LookupError:
        return True
    except aiohttp.InvalidUrlRedirectClientError:
        return False
    raise AssertionError


@pytest.mark.parametrize(
    ("url", "status", "location", "is_refused"),
    [
        ("https://a.example/x", 302, "http://a.example/y", True),
        ("https://a.example/x", 307, "HTTP://cdn.example/y", True),
        ("https://a.example/x", 302, "https://a.example/y", False),
        ("https://a.example/x", 302, "/y", False),
        ("https://a.example/x", 302, "http://[x", False),
        ("https://a.example/x", 200, "http://a.example/y", False),
        ("http://a.example/x", 302, "http://a.example/y", False),
    ],
)
async def test_https_does_not_fall_back_to_http(url: str, status: int, location: str, *, is_refused: bool) -> None:
    """A redirect from https to http is refused, even if the source is http; aiohttp reports invalid addresses."""
    request = aiohttp.ClientRequest("GET", yarl.URL(url), loop=asyncio.get_running_loop())
    closings: list[None] = []
    reply: Any = SimpleNamespace(status=status, headers={"Location": location}, close=lambda: closings.append(None))

    async def answer(_request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        return reply  # type: ignore[no-any-return]

    with pytest.raises(aiohttp.InvalidUrlRedirectClientError) if is_refused else nullcontext():
        assert await HostPolicy("http://a.example", ["cdn.example"])(request, answer) is reply

    assert len(closings) == is_refused


@pytest.mark.parametrize("own", ["flags.example", "bücher.example"])
async def test_only_its_own_name_says_whether_a_source_is_public(own: str) -> None:
    """Behind a proxy the source's name is not looked up, and another name may be the first one."""
    host_policy = HostPolicy(f"http://{own}", ["cdn.example"])
    names = Names({"cdn.example": [PRIVATE], "flags.example": [PUBLIC], "xn--bcher-kva.example": [PUBLIC]})
    resolver = HostPolicyResolver(host_policy, names)

    assert await resolve(resolver, "cdn.example") == [PRIVATE]
    assert await resolve(resolver, host_policy.own_name) == [PUBLIC]
    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "cdn.example")


async def test_proxy_may_have_a_private_address() -> None:
    """A proxy's name is checked neither as the source's nor as a redirect host."""
    names = Names({"proxy": [PRIVATE], "flags.example": [PRIVATE]})
    host_policy = HostPolicy("http://flags.example", is_public=True, proxy_hosts={"proxy"})
    resolver = HostPolicyResolver(host_policy, names)

    assert await resolve(resolver, "proxy") == [PRIVATE]
    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "flags.example")


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError(104, "reset")])
async def test_lost_connection_is_not_tried_again_by_aiohttp(error: aiohttp.ClientError) -> None:
    """It becomes an error that aiohttp does not retry by itself, the cause chained."""
    host_policy = HostPolicy("http://a.example")
    request = aiohttp.ClientRequest("GET", yarl.URL("http://a.example/"), loop=asyncio.get_running_loop())

    async def lost(_request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        raise error

    with pytest.raises(aiohttp.ClientConnectionError) as caught:
        await host_policy(request, lost)

    assert type(caught.value) is aiohttp.ClientConnectionError
    assert caught.value.__cause__ is error
