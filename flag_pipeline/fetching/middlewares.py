"""What is added to each single request, redirected ones included: the source's own headers, and the proxy."""

from collections.abc import Mapping
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import yarl
from aiohttp.helpers import strip_auth_from_url

from flag_pipeline.errors import ConfigurationError


class OwnHeaders:
    """Adds *headers* to requests for *origin*: to no other host, port or scheme, wherever a redirect leads."""

    def __init__(self, origin: str, headers: Mapping[str, str]) -> None:
        self._origin = yarl.URL(origin).origin()
        self._headers = headers

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send *request* with the headers, if they are for its origin."""
        if request.url.origin() == self._origin:
            request.headers.update(self._headers)
        return await handler(request)


class EnvironmentProxies:
    """Sends requests through the proxies of HTTP_PROXY and HTTPS_PROXY, unless NO_PROXY has the host.

    aiohttp would take passwords from `.netrc` too (`trust_env`).

    Attributes:
        hosts: the proxies' names or addresses.
    """

    def __init__(self) -> None:
        addresses = getproxies_environment()
        self._proxies = {scheme: _proxy(scheme, addresses.get(scheme, "")) for scheme in ("http", "https")}
        self.hosts = {proxy[0].host or "" for proxy in self._proxies.values() if proxy}

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send *request* through its proxy, if it has one."""
        url = request.url
        proxy = self._proxies.get(url.scheme)
        if proxy and not proxy_bypass(f"{url.host}:{url.port}"):
            address, authentication = proxy
            request.update_proxy(address, authentication, None)
        return await handler(request)


def _proxy(scheme: str, text: str) -> tuple[yarl.URL, aiohttp.BasicAuth | None] | None:
    if not text:
        return None
    try:
        url, authentication = strip_auth_from_url(yarl.URL(text if "://" in text else f"http://{text}"))
    except ValueError:
        url, authentication = yarl.URL(), None
    if url.scheme not in {"http", "https"} or not url.host:
        # It may have a password, so that it is not shown.
        raise ConfigurationError(f"{scheme.upper()}_PROXY is not the http(s) address of a proxy")
    return url, authentication
