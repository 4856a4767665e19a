"""Shared metadata: one document for all countries, fetched once per run."""

import asyncio
import copy
import json
from typing import Any

from flag_pipeline.core.countries import parse_json_object
from flag_pipeline.core.flag_source import FlagSource
from flag_pipeline.errors import FlagNotFoundError, SourceContractError, SourceError
from flag_pipeline.fetching.client import FetchCounter
from flag_pipeline.fetching.models import Validators


class SharedMetadata:
    """The document of one run; if fetching it fails, all countries fail."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.forget()

    def forget(self) -> None:
        """Fetch the document again for the next country."""
        self._names: dict[str, Any] | None = None
        self._error: SourceError | None = None
        self._codes: set[str] = set()

    async def document_of(self, source: FlagSource, code: str, counter: FetchCounter) -> bytes:
        """Return a document for `parse_country`.

        Raises FlagNotFoundError and the errors of `FlagSource.fetch`.
        """
        url = source.preset.metadata_url(code)
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
        # Other values may be nested too deeply to be serialized.
        return json.dumps({"country": name if isinstance(name, str) else None, "iso_cc": code}).encode()

    async def _fetch(self, source: FlagSource, url: str, *, code: str, counter: FetchCounter) -> None:
        try:
            answer = await source.fetch(url, code=code, known=Validators(), counter=counter, codes=self._codes)
            self._names = parse_json_object(answer.content or b"", code=code, url=url)
        except FlagNotFoundError as exc:
            # Not a missing country, because the document has all countries.
            self._error = SourceContractError(str(exc), code=code, url=url)
        except SourceError as exc:
            self._error = exc
