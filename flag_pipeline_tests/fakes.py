"""Fakes of our own protocols."""

import asyncio
import socket
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from flag_pipeline.core.models import Missed, Outcome
from flag_pipeline.core.presets import SourcePreset
from flag_pipeline.fetching.client import Answer, FetchCounter
from flag_pipeline.fetching.models import Validators
from flag_pipeline.settings import load_settings


class FakeConnections:
    """Connections on which nothing is noticed unless a test says so.

    Attributes:
        doubtful: countries whose answers are in doubt.
    """

    def __init__(self) -> None:
        self.doubtful: set[str] = set()

    async def wait_for_late_answers(self) -> None:
        """Wait for nothing."""

    def doubtful_codes(self) -> set[str]:
        """What the test says."""
        return set(self.doubtful)

    def clear_doubts(self, codes: set[str]) -> None:
        """Forget the doubts about *codes*."""
        self.doubtful -= codes


class FakeSource:
    """A source in memory: files by path, or the errors that fetching them raises.

    Attributes:
        connections: for a test to cast doubt on answers.
        generation: another one has other ETags for the same files.
        n_unchanged: how often a file was found unchanged.
    """

    def __init__(self, files: dict[str, bytes | BaseException]) -> None:
        self.files = files
        self.connections = FakeConnections()
        self.preset = SourcePreset(name="fake", base_url="http://fake")
        self.settings = load_settings()
        self.generation = 0
        self.asked_for: list[str] = []
        self.n_unchanged = 0

    async def fetch(
        self,
        url: str,
        *,
        code: str,  # noqa: ARG002
        known: Validators,
        counter: FetchCounter,
        codes: set[str] | None = None,  # noqa: ARG002
    ) -> Answer:
        """Give the file or raise its error, as FlagSource does."""
        path = url.removeprefix(f"{self.preset.base_url}/")
        self.asked_for.append(path)
        counter.request_sent(again=False)
        content = self.files[path]
        if isinstance(content, BaseException):
            raise content
        etag = f'"{self.generation}-{zlib.crc32(content)}"'
        if known.etag == etag:
            self.n_unchanged += 1
            return Answer(None, known)
        return Answer(content, Validators(etag))


class Waits(list[float]):
    """A sleep that notes how long it was asked to take, and takes no time; *begun* is set when it is asked first."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def __call__(self, wait_s: float) -> None:
        """Note the wait."""
        self.append(wait_s)
        self.begun.set()
        await asyncio.sleep(0)


class FakeRefresher:
    """Refreshes by a function.

    Attributes:
        failures: what a store would know about countries that brought nothing.
        doubtful: what is taken back each time that it is asked for; nothing when it is empty.
    """

    def __init__(self, refresh: Callable[[str], Coroutine[Any, Any, Outcome]]) -> None:
        self._refresh = refresh
        self.failures: list[Missed] = []
        self.doubtful: list[set[str]] = []

    async def refresh(self, code: str) -> Outcome:
        """What the function says."""
        return await self._refresh(code)

    async def record_failure(self, missed: Missed) -> Missed:
        """Note the miss, as one that the store knew already."""
        self.failures.append(missed)
        return replace(missed, only_row_changed=False)

    async def wait_for_late_answers(self) -> None:
        """Wait for nothing."""

    async def take_back(self) -> set[str]:
        """Give the next countries in doubt."""
        return self.doubtful.pop(0) if self.doubtful else set()


class Names(AbstractResolver):
    """Looks names up in a table; what is not in it does not exist."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.addresses = addresses
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The table's addresses of *host*."""
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses[host]
        ]

    async def close(self) -> None:
        """Note it."""
        self.is_closed = True
