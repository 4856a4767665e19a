"""HTTP session of a run: time-outs, connections, headers, proxies, host policy."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from flag_pipeline.fetching.config import HttpSettings
from flag_pipeline.fetching.connection_reuse import ClosingResponse
from flag_pipeline.fetching.desync import CheckedConnector
from flag_pipeline.fetching.encoding import ACCEPTED
from flag_pipeline.fetching.host_policy import HostPolicy, HostPolicyResolver
from flag_pipeline.fetching.proxies import EnvironmentProxies

USER_AGENT = f"flag-pipeline/{version('flag-pipeline')}"


@asynccontextmanager
async def open_session(
    origin: str,
    settings: HttpSettings,
    *,
    headers: Mapping[str, str],
    is_public: bool = False,
    is_local: bool = False,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the session on the running loop.

    Only *origin* gets *headers*. *is_local* means a source in this process, without proxy.
    """
    proxies = EnvironmentProxies() if settings.trust_proxy and not is_local else None
    host_policy = HostPolicy(
        origin,
        settings.redirect_hosts,
        is_public=is_public or settings.source_is_public,
        proxy_hosts=proxies.hosts if proxies else (),
    )
    middlewares: list[aiohttp.ClientMiddlewareType] = [host_policy]
    if headers:
        middlewares.append(SecretHeaders(origin, headers))
    if proxies:
        middlewares.append(proxies)
    policy_resolver = HostPolicyResolver(host_policy, resolver or aiohttp.DefaultResolver())
    async with aiohttp.ClientSession(
        # With a limit here, waiting for a connection would count towards time-outs.
        connector=CheckedConnector(limit=0, resolver=policy_resolver),
        response_class=ClosingResponse,
        timeout=_timeouts(settings),
        headers={"User-Agent": settings.user_agent or USER_AGENT, "Accept-Encoding": ACCEPTED},
        # aiohttp knows no x-gzip, and reports invalid and cut bodies alike.
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=middlewares,
    ) as session:
        try:
            yield session
        finally:
            await policy_resolver.close()


def _timeouts(settings: HttpSettings) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None,  # the client's, with the time left for retries
        connect=settings.connect_timeout_s,
        sock_connect=settings.connect_timeout_s,
        sock_read=settings.read_timeout_s,
    )


class SecretHeaders:
    """Adds *headers* to requests for *origin*, but not after a redirect elsewhere."""

    def __init__(self, origin: str, headers: Mapping[str, str]) -> None:
        self._origin = yarl.URL(origin).origin()
        self._headers = headers

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send *request*."""
        if request.url.origin() == self._origin:
            request.headers.update(self._headers)
        return await handler(request)
