"""Which requests reach the UI, by the headers that browsers and programs send."""

from collections.abc import MutableMapping
from typing import Any

import pytest

from flag_pipeline.ui.same_origin import SameOriginMiddleware

Headers = dict[str, str]

UI = "127.0.0.1:3000"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PROGRAM: Headers = {"Host": UI}


async def status_of(
    headers: Headers | list[tuple[str, str]], *, method: str = "GET", path: str = "/", kind: str = "http", **scope: Any
) -> int:
    """Send one request through the middleware and return its status; a refused WebSocket counts as 403."""
    sent: list[MutableMapping[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the middleware must not read the body")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    pairs = headers.items() if isinstance(headers, dict) else headers
    raw = [(name.lower().encode(), value.encode()) for name, value in pairs]
    scope = {"type": kind, "method": method, "path": path, "headers": raw, **scope}
    await SameOriginMiddleware(app, ["flags.example.org", "Proxy:8443"], ["/server_info"])(scope, receive, send)
    return 403 if sent[0]["type"] == "websocket.close" else int(sent[0]["status"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:3000",
        "127.0.0.1",
        "127.0.0.1:81",
        "127.9.8.7:3000",
        "[::1]:3000",
        "flags.example.org",
        "Flags.Example.org:444",
        "proxy:8443",
    ],
)
async def test_own_names_are_served(host: str) -> None:
    """Loopback's names and those of FLAG_UI_HOSTS are served on any port, or on the port that is given there."""
    assert await status_of({"Host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:3000",
        "localhost@evil.example",
        "flags.example.org.evil.example",
        "proxy",
        "proxy:1",
        "10.0.0.1:3000",
        "0.0.0.0:3000",
        "[::]:3000",
        "",
        "localhost:3000:1",
        "localhost, evil.example",
    ],
)
async def test_foreign_hosts_are_refused(host: str) -> None:
    """A page whose name leads to loopback (DNS rebinding) has the same origin as its request, but not our name."""
    same_origin = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{host}"}

    assert await status_of({"Host": host}) == 403
    assert await status_of({"Host": host, **same_origin}, method="POST", path="/graphql") == 403
    assert await status_of({"Host": host, "Sec-Fetch-Site": "none", **NAVIGATION}) == 403
    assert await status_of({"Host": host}, kind="websocket", path="/graphql") == 403


@pytest.mark.parametrize("headers", [[], [("Host", UI), ("Host", "evil.example")]])
async def test_a_request_must_name_one_host(headers: list[tuple[str, str]]) -> None:
    """Without a host, or with two of them, it cannot be said where a request was meant to go."""
    assert await status_of(headers) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:3001",  # another port of the same machine
        "http://127.0.0.1",
        "http://localhost:3000",  # another name of it
        "http://evil.example",
        "https://evil.example:3000",
        "null",  # a sandboxed frame, a file, a redirect
        "",
        "file://127.0.0.1:3000",
        "chrome-extension://127.0.0.1:3000",
        "http://127.0.0.1:3000/",
        "http://127.0.0.1:3000@evil.example",
        "http://evil.example?http://127.0.0.1:3000",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_pages_of_another_origin_are_refused(origin: str, kind: str) -> None:
    """An Origin other than that of the request is refused; a WebSocket, which sends nothing else, too."""
    headers = {"Host": UI, "Origin": origin}

    assert await status_of(headers, method="POST", path="/graphql", kind=kind) == 403
    assert await status_of(headers, path="/graphql", kind=kind) == 403


@pytest.mark.parametrize(
    ("host", "origin", "scheme"),
    [
        (UI, f"http://{UI}", "http"),
        ("localhost", "http://localhost:80", "http"),
        ("localhost:80", "http://localhost", "ws"),
        ("flags.example.org", "https://flags.example.org", "http"),  # the proxy ends TLS, and passes on the name
        ("flags.example.org:443", "https://flags.example.org", "https"),
        ("flags.example.org", "https://flags.example.org", "wss"),
    ],
)
async def test_the_uis_own_pages_are_served(host: str, origin: str, scheme: str) -> None:
    """The UI's own requests and its WebSocket have the origin that they go to."""
    headers = {"Host": host, "Origin": origin}

    assert await status_of(headers, method="POST", path="/graphql", scheme=scheme) == 200
    assert await status_of({**headers, "Sec-Fetch-Site": "same-origin"}, path="/graphql", scheme=scheme) == 200
    assert await status_of(headers, path="/graphql", kind="websocket", scheme=scheme) == 200


async def test_a_page_without_tls_is_another_origin_than_one_with_tls() -> None:
    """Anybody in the network can write a page of http, so it may not use what is served by https."""
    headers = {"Host": "flags.example.org", "Origin": "http://flags.example.org"}

    assert await status_of(headers, scheme="https") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "nonsense"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "navigate", "websocket"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_other_sites_are_refused(site: str, mode: str, method: str) -> None:
    """Images, scripts, frames, forms and preflights of a page from another site, or from another port, are refused."""
    headers = {"Host": UI, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "iframe"}

    assert await status_of(headers, method=method) == 403


async def test_fetch_metadata_without_a_site_is_refused() -> None:
    """A browser that sends one of these headers sends the site too."""
    assert await status_of({"Host": UI, "Sec-Fetch-Mode": "no-cors"}) == 403


async def test_two_sites_are_refused() -> None:
    """A second value does not make the first one better."""
    sites = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]

    assert await status_of([("Host", UI), *sites]) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
async def test_links_from_anywhere_open_a_page(site: str) -> None:
    """A link in a chat opens the page that it points to, in a tab of its own, by GET alone."""
    headers = {"Host": UI, "Sec-Fetch-Site": site, **NAVIGATION}

    assert await status_of(headers, path="/runs/1") == 200
    assert await status_of({**headers, "Origin": "http://evil.example"}, method="POST") == 403


async def test_programs_are_served() -> None:
    """Programs such as curl send no header that only browsers send."""
    assert await status_of(PROGRAM, method="POST", path="/graphql") == 200
    assert await status_of(PROGRAM, kind="websocket", path="/graphql") == 200


async def test_probes_are_served_by_any_name() -> None:
    """A health check asks by whatever address the container has."""
    assert await status_of({"Host": "10.1.2.3:3000"}, path="/server_info") == 200
    assert await status_of({"Host": "10.1.2.3:3000"}, path="/server_info/x") == 403


async def test_what_is_no_request_passes() -> None:
    """The server's own messages about its start and end are no requests."""
    assert await status_of([], kind="lifespan") == 200
