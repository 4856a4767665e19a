"""Where requests may go: addresses, names and redirects."""

import asyncio

import aiohttp
import pytest
import yarl

from flag_pipeline.core.guard import Guard, GuardedResolver, is_public_address
from flag_pipeline_tests.fakes import Names

PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.5"


async def resolve(resolver: GuardedResolver, host: str) -> list[str]:
    """The addresses of *host*."""
    return [result["host"] for result in await resolver.resolve(host)]


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    """What the internet routes."""
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
    """Everything else, and what IPv6 hides."""
    assert not is_public_address(address)


async def test_public_source_is_not_led_to_private_addresses() -> None:
    """Neither its own name nor that of a redirect host; private ones among others are left out."""
    names = Names({"flags.example": [PUBLIC], "cdn.example": [PRIVATE], "mixed.example": [PRIVATE, PUBLIC]})
    resolver = GuardedResolver(Guard("https://flags.example/x"), names)

    assert await resolve(resolver, "flags.example") == [PUBLIC]
    assert await resolve(resolver, "mixed.example") == [PUBLIC]
    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "cdn.example")
    names.addresses["flags.example"] = [PRIVATE]
    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "flags.example")


async def test_declared_public_source_is_not_private_from_the_start() -> None:
    """A preset that is known to be public is refused when DNS says otherwise."""
    resolver = GuardedResolver(Guard("https://flags.example", is_public=True), Names({"flags.example": [PRIVATE]}))

    with pytest.raises(aiohttp.InvalidUrlClientError, match="leads to a private address"):
        await resolve(resolver, "flags.example")


async def test_private_source_may_be_talked_to() -> None:
    """An intranet's name has private addresses, and so may have its redirect hosts."""
    names = Names({"intranet": [PRIVATE], "cdn": [PRIVATE, PUBLIC]})
    resolver = GuardedResolver(Guard("http://intranet"), names)

    assert await resolve(resolver, "intranet") == [PRIVATE]
    assert await resolve(resolver, "cdn") == [PRIVATE, PUBLIC]
    await resolver.close()
    assert names.is_closed


@pytest.mark.parametrize(("origin", "is_public"), [(f"http://{PUBLIC}", True), ("http://[::1]:80", False)])
def test_address_in_the_url_says_what_the_source_is(origin: str, *, is_public: bool) -> None:
    """No name has to be looked up for that."""
    assert Guard(origin).is_public is is_public


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
    """Its host at its port, HTTPS there, and the listed hosts unless they lead a public source inside."""
    guard = Guard(origin, ["cdn.example", PRIVATE])
    request = aiohttp.ClientRequest("GET", yarl.URL(url), loop=asyncio.get_running_loop())

    async def refused(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        raise LookupError(request.url)

    with pytest.raises(aiohttp.InvalidUrlRedirectClientError if problem else LookupError) as caught:
        await guard(request, refused)

    assert problem in str(caught.value)


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError(104, "reset")])
async def test_lost_connection_is_not_tried_again_by_aiohttp(error: aiohttp.ClientError) -> None:
    """It becomes an error that aiohttp does not retry by itself, the cause chained."""
    guard = Guard("http://a.example")
    request = aiohttp.ClientRequest("GET", yarl.URL("http://a.example/"), loop=asyncio.get_running_loop())

    async def lost(_request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        raise error

    with pytest.raises(aiohttp.ClientConnectionError) as caught:
        await guard(request, lost)

    assert type(caught.value) is aiohttp.ClientConnectionError
    assert caught.value.__cause__ is error
