"""Proxies of HTTP_PROXY and HTTPS_PROXY."""

from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import yarl
from aiohttp.helpers import strip_auth_from_url

from flag_pipeline.errors import ConfigurationError


class EnvironmentProxies:
    """Sends requests through a proxy, unless NO_PROXY has the host.

    aiohttp's `trust_env` would also read `.netrc`.
    """

    def __init__(self) -> None:
        addresses = getproxies_environment()
        self._proxies = {scheme: _proxy(scheme, addresses.get(scheme, "")) for scheme in ("http", "https")}
        self.hosts = {proxy[0].host or "" for proxy in self._proxies.values() if proxy}

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send *request* through the proxy of its scheme."""
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
        # Not shown, because it may contain a password.
        raise ConfigurationError(f"{scheme.upper()}_PROXY is not the http(s) address of a proxy")
    return url, authentication
