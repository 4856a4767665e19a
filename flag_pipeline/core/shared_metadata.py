"""Metadata of all countries in one document, for sources that have it so: fetched once a run."""

import asyncio
import copy
import json
from typing import Any

from flag_pipeline.core.countries import parse_json_object
from flag_pipeline.errors import FlagNotFoundError, SourceContractError, SourceError
from flag_pipeline.fetching.client import FetchCounter, FlagSource
from flag_pipeline.fetching.models import Validators


class SharedMetadata:
    """The shared document of one run. Whoever needs it first fetches it; its failure is everybody's, once."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.forget()

    def forget(self) -> None:
        """Have the document fetched again by the next country that needs it."""
        self._names: dict[str, Any] | None = None
        self._error: SourceError | None = None
        self._codes: set[str] = set()

    async def document_of(self, source: FlagSource, code: str, counter: FetchCounter) -> bytes:
        """Return what the document says about *code*, as a metadata document of its own for `parse_country`.

        Raises FlagNotFoundError when it does not have the country, else what `FlagSource.fetch` raises.
        """
        url = source.preset.metadata_url(code)
        # All of them are in doubt if the one answer is.
        self._codes.add(code)
        async with self._lock:
            if self._names is None and self._error is None:
                await self._fetch(source, url, code=code, counter=counter)
        if self._error is not None:
            error = copy.copy(self._error)
            error.code = code
            raise error from self._error
        key = source.preset.name_key.format(cc=code.lower())
        if self._names is None or key not in self._names:
            raise FlagNotFoundError(f"{url} does not name {code}", code=code, url=url)
        name = self._names[key]
        # What is no name is none; and to write down again what is nested as deeply as can be read may be too deep.
        return json.dumps({"country": name if isinstance(name, str) else None, "iso_cc": code}).encode()

    async def _fetch(self, source: FlagSource, url: str, *, code: str, counter: FetchCounter) -> None:
        try:
            answer = await source.fetch(url, code=code, known=Validators(), counter=counter, codes=self._codes)
            self._names = parse_json_object(answer.content or b"", code=code, url=url)
        except FlagNotFoundError as exc:
            # A country may be missing; the list of all countries may not.
            self._error = SourceContractError(str(exc), code=code, url=url)
        except SourceError as exc:
            self._error = exc
