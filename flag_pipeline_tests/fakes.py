"""Fakes of our own protocols."""

import zlib

from flag_pipeline.core.presets import SourcePreset
from flag_pipeline.core.source import Answer, Meter
from flag_pipeline.models import Validators
from flag_pipeline.settings import SourceSettings, load_settings


class FakeSource:
    """A source in memory: files by path, or the errors that fetching them raises.

    Attributes:
        generation: another one has other ETags for the same files.
        n_unchanged: how often a file was found unchanged.
    """

    def __init__(self, files: dict[str, bytes | BaseException]) -> None:
        self.files = files
        self.preset = SourcePreset(name="fake", base_url="http://fake")
        self.settings: SourceSettings = load_settings()
        self.generation = 0
        self.asked_for: list[str] = []
        self.n_unchanged = 0

    async def fetch(self, url: str, *, code: str, known: Validators, meter: Meter) -> Answer:  # noqa: ARG002
        """Give the file or raise its error, as FlagSource does."""
        path = url.removeprefix(f"{self.preset.base_url}/")
        self.asked_for.append(path)
        meter.request_sent(again=False)
        content = self.files[path]
        if isinstance(content, BaseException):
            raise content
        etag = f'"{self.generation}-{zlib.crc32(content)}"'
        if known.etag == etag:
            self.n_unchanged += 1
            return Answer(None, known)
        return Answer(content, Validators(etag))
