"""Refuses requests of other web pages, by the headers Host, Origin and Sec-Fetch-Site.

Dagster's webserver answers requests that any web page can send to loopback. Browsers name the page in Origin and
Sec-Fetch-Site, which curl does not send.
Sources, read 2026-11-26: https://www.w3.org/TR/fetch-metadata/, https://www.rfc-editor.org/rfc/rfc6454.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from flag_pipeline.addresses import split_host

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SECURE = {"https", "wss"}
# "none" means a typed address. "same-site" would allow the other ports of this machine.
_OWN_SITES = {"same-origin", "none"}


class SameOriginMiddleware:
    """ASGI middleware that answers 403 to pages of another origin; their links may open a page.

    Attributes:
        hosts: allowed Host headers besides loopback's; without port, for any.
        exempt_paths: not checked, such as a health check.
    """

    def __init__(self, app: App, hosts: Collection[str] = (), exempt_paths: Collection[str] = ()) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}
        self.exempt_paths = frozenset(exempt_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        is_request = scope["type"] in {"http", "websocket"}
        refusal = self._refusal(scope) if is_request and scope["path"] not in self.exempt_paths else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "another origin"})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{refusal}\n".encode()})

    def _refusal(self, scope: Scope) -> str | None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return f"This host is not served: {', '.join(hosts) or 'none'}. Add its name to FLAG_UI_HOSTS to serve it."
        if _is_page_navigation(scope):
            return None
        is_secure = scope.get("scheme") in _SECURE
        if not all(_is_same(origin, hosts[0], is_secure=is_secure) for origin in _values(scope, b"origin")):
            return "Requests from pages of another origin are refused. A proxy must pass on the Host header."
        sites = _values(scope, b"sec-fetch-site")
        if _has_fetch_metadata(scope) and not (sites and _OWN_SITES.issuperset(sites)):
            return "Requests from pages of another origin are refused."
        return None

    def _is_ours(self, host: str) -> bool:
        parts = split_host(host)
        if parts is None:
            return False
        return _is_loopback(parts[0]) or not self.hosts.isdisjoint({parts[0], host.lower()})


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_same(origin: str, host: str, *, is_secure: bool) -> bool:
    """Whether the origins are equal. A proxy may turn https into http."""
    page = urlsplit(origin)
    default = _DEFAULT_PORTS.get(page.scheme)
    ours, theirs = split_host(host), split_host(page.netloc)
    if default is None or ours is None or theirs is None or (is_secure and page.scheme != "https"):
        return False
    return origin == f"{page.scheme}://{page.netloc}" and _with_port(ours, default) == _with_port(theirs, default)


def _with_port(host: tuple[str, int | None], default: int) -> tuple[str, int]:
    return host[0], default if host[1] is None else host[1]


def _is_page_navigation(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and _values(scope, b"sec-fetch-mode") == ["navigate"]
        and _values(scope, b"sec-fetch-dest") == ["document"]
    )


def _has_fetch_metadata(scope: Scope) -> bool:
    return any(name.startswith(b"sec-fetch-") for name, _ in scope["headers"])


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]
