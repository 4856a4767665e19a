"""Request headers and proxies: FLAG_HEADERS, the User-Agent, HTTP_PROXY, and no `.netrc`."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flag_pipeline.errors import ConfigurationError, ErrorKind
from flag_pipeline_tests.fakes import Names
from flag_pipeline_tests.flag_server import FlagServer, answer, running_flag_server
from flag_pipeline_tests.integration.test_source import PATH, client_of, unused_port
from flag_pipeline_tests.proxy import Proxy, running_proxy

SECRET = {"Authorization": "Bearer hunter2", "X-Api-Key": "hunter2"}
GIF = answer(200, b"GIF")


@pytest.fixture(autouse=True)
def _no_proxies_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies of the environment that runs the tests."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def other_server() -> Iterator[FlagServer]:
    """Start another server, on another port of the same host."""
    with running_flag_server() as server:
        yield server


@pytest.fixture
async def proxy(flag_server: FlagServer) -> AsyncIterator[Proxy]:
    """Start a proxy in front of the test's server."""
    async with running_proxy(port_of(flag_server)) as proxy:
        yield proxy


def port_of(server: FlagServer) -> int:
    """Return the port of the server."""
    return int(server.url.rpartition(":")[2])


def secret_in(server: FlagServer) -> list[bool]:
    """Return for each request whether it had a secret header."""
    return [any(name in headers for name in SECRET) for headers in server.headers]


async def test_own_headers_go_to_the_source(flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source gets them also after a redirect to itself, and with each retry."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(SECRET))
    flag_server.script(PATH, [answer(503), answer(302, Location="/b")])
    flag_server.script("/b", [GIF])
    async with client_of(flag_server.url) as client:
        assert await client.fetch() == b"GIF"

    assert secret_in(flag_server) == [True, True, True]
    assert flag_server.headers[-1]["Authorization"] == "Bearer hunter2"


async def test_own_headers_do_not_go_to_another_port(
    flag_server: FlagServer, other_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another port of the same host may be another service."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(SECRET))
    flag_server.script(PATH, [answer(302, Location=f"{other_server.url}/b")])
    other_server.script("/b", [GIF])
    listed = other_server.url.removeprefix("http://")
    async with client_of(flag_server.url, redirect_hosts=[listed]) as client:
        assert await client.fetch() == b"GIF"

    assert (secret_in(flag_server), secret_in(other_server)) == ([True], [False])


async def test_own_headers_do_not_go_to_another_host(flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source gets them again when the other host redirects back to it."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(SECRET))
    port = port_of(flag_server)
    flag_server.script(PATH, [answer(302, Location=f"http://cdn.example:{port}/b")])
    flag_server.script("/b", [answer(302, Location=f"{flag_server.url}/c")])
    flag_server.script("/c", [GIF])
    async with client_of(
        flag_server.url, Names({"cdn.example": ["127.0.0.1"]}), redirect_hosts=["cdn.example"]
    ) as client:
        assert await client.fetch() == b"GIF"

    assert secret_in(flag_server) == [True, False, True]


async def test_user_agent_can_be_set(flag_server: FlagServer) -> None:
    """The default is the name of this package with its version."""
    flag_server.script(PATH, [GIF])
    async with client_of(flag_server.url) as client:
        await client.fetch()
    async with client_of(flag_server.url, user_agent="flags of example.org (ops@example.org)") as client:
        await client.fetch()

    first, second = (headers["User-Agent"] for headers in flag_server.headers)
    assert first.startswith("flag-pipeline/")
    assert second == "flags of example.org (ops@example.org)"


async def test_nothing_is_taken_from_netrc(
    flag_server: FlagServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Passwords of `.netrc` are sent neither to the source nor to the proxy."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine flags.example login me password hunter2\nmachine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    flag_server.script(PATH, [GIF])
    async with client_of("http://flags.example", Names({}), trust_proxy=True) as client:
        assert await client.fetch() == b"GIF"

    assert len(proxy.heads) == 1
    assert "uthorization" not in proxy.heads[0]


async def test_proxy_of_the_environment_is_asked_if_it_is_trusted(
    flag_server: FlagServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's name is not looked up here, and only the proxy gets its password."""
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter3@{proxy.address}")
    flag_server.script(PATH, [GIF])
    async with client_of("http://flags.example", Names({}), trust_proxy=True) as client:
        assert await client.fetch() == b"GIF"

    assert proxy.heads[0].startswith(f"GET http://flags.example{PATH} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6aHVudGVyMw==" in proxy.heads[0]


@pytest.mark.parametrize(("trust", "excepted"), [(False, ""), (True, "flags.example"), (True, ".example"), (True, "*")])
async def test_proxy_is_left_out(
    flag_server: FlagServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, *, trust: bool, excepted: str
) -> None:
    """It is not used if it is not trusted, or if NO_PROXY has the host."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", excepted)
    flag_server.script(PATH, [GIF])
    url = f"http://flags.example:{port_of(flag_server)}"
    async with client_of(url, Names({"flags.example": ["127.0.0.1"]}), trust_proxy=trust) as client:
        assert await client.fetch() == b"GIF"

    assert proxy.heads == []


@pytest.mark.parametrize("location", ["http://evil.example/x", "http://flags.example:22/x", "http://10.0.0.5/x"])
async def test_guard_holds_behind_a_proxy(
    flag_server: FlagServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """Unlisted hosts and ports are not requested, nor is a listed private address of a public source."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    flag_server.script(PATH, [answer(302, Location=location)])
    async with client_of(
        "http://flags.example", Names({}), trust_proxy=True, source_is_public=True, redirect_hosts=["10.0.0.5"]
    ) as client:
        failure = await client.failure()

    assert (failure.kind, failure.attempts, len(proxy.heads)) == (ErrorKind.CONTRACT, 1, 1)
    assert ("private address" in str(failure)) or ("FLAG_REDIRECT_HOSTS" in str(failure))


async def test_proxy_of_a_public_source_may_have_a_private_address(
    flag_server: FlagServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most proxies have one; it does not make the source private."""
    monkeypatch.setenv("HTTP_PROXY", f"http://proxy.example:{proxy.address.rpartition(':')[2]}")
    flag_server.script(PATH, [GIF])
    names = Names({"proxy.example": ["127.0.0.1"]})
    async with client_of("http://flags.example", names, trust_proxy=True, source_is_public=True) as client:
        assert await client.fetch() == b"GIF"


async def test_embedded_source_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, flag_server: FlagServer) -> None:
    """Its server is in the same process; the address of the test's server stands for it."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    flag_server.script(PATH, [GIF])
    async with client_of("embedded", trust_proxy=True, origin=flag_server.url) as client:
        assert await client.fetch() == b"GIF"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ("503 Service Unavailable", ErrorKind.SERVER_ERROR),
        ("429 Too Many Requests", ErrorKind.THROTTLED),
        ("407 Proxy Authentication Required", ErrorKind.CONTRACT),
        ("403 Forbidden", ErrorKind.CONTRACT),
    ],
)
async def test_proxy_that_opens_no_tunnel(monkeypatch: pytest.MonkeyPatch, refusal: str, kind: ErrorKind) -> None:
    """Its status decides whether the request is retried, and its password is not shown."""
    async with running_proxy(unused_port(), refusal=refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter3@{proxy.address}")
        async with client_of("https://flags.example", Names({}), trust_proxy=True) as client:
            failure = await client.failure()

    assert failure.kind is kind
    assert f"the proxy answered {refusal[:3]}" in str(failure)
    assert "hunter3" not in str(failure)
    assert all(head.startswith("CONNECT flags.example:443 ") for head in proxy.heads)


async def test_proxy_that_is_down_is_the_source_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other way leads to the source; the message names the proxy without its password."""
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter3@127.0.0.1:{unused_port()}")
    async with client_of("http://flags.example", Names({}), trust_proxy=True, source_down_s=1e-6) as client:
        failure = await client.failure()

    assert failure.kind is ErrorKind.SOURCE_DOWN
    assert "127.0.0.1" in str(failure)
    assert "hunter3" not in str(failure)


@pytest.mark.parametrize("address", ["socks5://me:hunter3@127.0.0.1:1", "http://me:hunter3@", "http://me:hunter3@[x"])
async def test_what_is_no_proxy_is_a_mistake_in_the_settings(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The message names the variable and does not show its value."""
    monkeypatch.setenv("HTTP_PROXY", address)

    with pytest.raises(ConfigurationError, match="HTTP_PROXY is not the http") as caught:
        async with client_of("http://flags.example", trust_proxy=True):
            pass

    assert "hunter3" not in str(caught.value)


async def test_proxy_without_a_scheme_is_one_of_http(
    flag_server: FlagServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs accept such an address too."""
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    flag_server.script(PATH, [GIF])
    async with client_of("http://flags.example", Names({}), trust_proxy=True) as client:
        assert await client.fetch() == b"GIF"

    assert len(proxy.heads) == 1
