"""Refreshes one country: fetch, check, save. A failure is an outcome; any other exception is a bug."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from flag_pipeline.bounds import MAX_REASON_CHARS
from flag_pipeline.core.changes import (
    describe_change,
    first_flag,
    image_distance,
    latest_changes,
    replaced_flag,
    unchanged_flag,
)
from flag_pipeline.core.countries import iso_document, parse_country
from flag_pipeline.core.flag_source import FlagSource
from flag_pipeline.core.layout import flag_path, history_folder
from flag_pipeline.core.models import (
    Country,
    Fetched,
    FlagFailed,
    FlagNotFound,
    FlagRecord,
    FlagSaved,
    FlagUnchanged,
    LastFailure,
    Missed,
    Outcome,
    StoredImage,
    StoredMetadata,
)
from flag_pipeline.core.records import country_sha256
from flag_pipeline.core.shared_metadata import SharedMetadata
from flag_pipeline.core.sink import FileSink
from flag_pipeline.core.undo import restore
from flag_pipeline.errors import FlagNotFoundError, FlagPipelineError, ImageError, SourceContractError, SourceError
from flag_pipeline.fetching.client import Answer, FetchCounter
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.decoder import Decoder
from flag_pipeline.images.inspection import inspect_image, is_described, recall_image
from flag_pipeline.images.models import FlagImage
from flag_pipeline.images.structure import Limits

logger = logging.getLogger(__name__)

# Smaller files are parsed on the event loop, because a thread takes longer.
SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Refresher:
    """Refreshes countries from a source into a sink.

    Attributes:
        image: refresh the flag, and missing metadata, because the file name contains the country's name.
        history_keep: replaced flags per country.
        refetch: ignore validators.
        decoder: its creator closes it.
    """

    source: FlagSource
    sink: FileSink
    metadata: bool = True
    image: bool = True
    history_keep: int = 10
    refetch: bool = False
    shared: SharedMetadata = field(default_factory=SharedMetadata)
    decoder: Decoder = field(default_factory=Decoder)
    # Records of changed countries at the start of the run.
    _before: dict[str, FlagRecord] = field(default_factory=dict, init=False, repr=False)

    async def refresh(self, code: str) -> Outcome:
        """Bring the country's stored files up to date."""
        counter = FetchCounter()
        try:
            return await self._fetch_and_save(code, counter)
        except FlagPipelineError as exc:
            missed = _missed(exc, code, counter)
        return await self.record_failure(missed)

    async def wait_for_late_answers(self) -> None:
        """Wait until bytes that were sent without a request would have been received."""
        await self.source.connections.wait_for_late_answers()

    async def take_back(self) -> set[str]:
        """Undo saves whose responses may be mismatched, and return the affected codes."""
        connections = self.source.connections
        codes = connections.doubtful_codes()
        if codes:
            self.shared.forget()
        async with asyncio.TaskGroup() as group:
            for code in codes & self._before.keys():
                group.create_task(self._undo(code), name=f"undo-{code}")
        connections.clear_doubts(codes)
        return codes

    async def _undo(self, code: str) -> None:
        try:
            await restore(self.sink, self._before[code])
        except FlagPipelineError as exc:
            logger.warning("%s: a doubtful answer stays stored until the next one: %s", code, exc)
        else:
            del self._before[code]

    async def record_failure(self, missed: Missed) -> Missed:
        """Write the failure, and return it with `only_row_changed` set; a failed write is only logged."""
        # Longer reasons could not be read back.
        failure = LastFailure(missed.kind, missed.reason[:MAX_REASON_CHARS])
        try:
            is_new = await self.sink.record_failure(missed.code, failure)
        except FlagPipelineError as exc:
            logger.warning("%s: the catalog will not show that it failed: %s", missed.code, exc)
            return missed
        return replace(missed, only_row_changed=is_new)

    async def has(self, code: str) -> bool:
        """Whether the source has the requested files; stores nothing."""
        counter = FetchCounter()
        try:
            if self.metadata:
                await self._fetch_metadata(code, None, counter)
            if self.image:
                await self._fetch(self.source.preset.flag_url(code), code, None, counter)
        except SourceError:
            return False
        return True

    async def _fetch_and_save(self, code: str, counter: FetchCounter) -> Fetched:
        stored = await self.sink.load(code)
        if self.image and stored.flag is None:
            self.decoder.prepare()
        before = stored.record
        record = replace(before, last_failure=None) if before.last_failure else before
        new_country = image = new_image = None
        if self.metadata or record.country is None:
            record, new_country = await self._refresh_metadata(record, counter, is_intact=stored.metadata_is_intact)
        if self.image:
            record, image, is_new = await self._refresh_image(record, counter, stored.flag)
            new_image = image if is_new else None
        if record != before or new_country or new_image or self.sink.has_orphaned_files(record):
            self._before.setdefault(code, before)
            # If the flag disappears from now on, another run renamed it, and the save fails.
            await self.sink.save(
                record,
                image=new_image,
                country=new_country,
                thumbnail=image.page_thumbnail if image else b"",
                lost=stored.flag is None,
            )
        if record.changes != before.changes:
            await self.sink.keep_only(history_folder(code), {change.old_file for change in record.changes})
        outcome = FlagSaved if new_country or new_image else FlagUnchanged
        thumbnail = image.derived.thumbnail if image else ""
        return outcome(code, record, thumbnail, counter.statistics(), _only_row_changed(before, record))

    async def _refresh_metadata(
        self, record: FlagRecord, counter: FetchCounter, *, is_intact: bool
    ) -> tuple[FlagRecord, Country | None]:
        """Return the record, and the country if it must be written."""
        url = self.source.preset.metadata_url(record.code)
        stored = record.metadata if is_intact else None
        answer = await self._fetch_metadata(record.code, stored, counter)
        if answer.content is None:
            return record, None
        parse = partial(parse_country, answer.content, code=record.code, url=url)
        country = parse() if len(answer.content) <= SMALL_BYTES else await self.decoder.run(parse)
        sha256 = country_sha256(country)
        metadata = StoredMetadata(sha256=sha256, source_url=url, validators=answer.validators)
        changed = stored is None or stored.sha256 != sha256
        return replace(record, country=country, metadata=metadata), country if changed else None

    async def _refresh_image(
        self, record: FlagRecord, counter: FetchCounter, stored_content: bytes | None
    ) -> tuple[FlagRecord, FlagImage, bool]:
        """Return the record, the image, and whether it must be written; *stored_content* is None if damaged."""
        url = self.source.preset.flag_url(record.code)
        stored = record.image if stored_content is not None else None
        answer = await self._fetch(url, record.code, stored, counter)
        content = stored_content if answer.content is None else answer.content
        try:
            image = await self._inspect(content or b"", stored if content == stored_content else None)
        except ImageError as exc:
            raise SourceContractError(str(exc), code=record.code, url=url) from exc
        if record.country is None:  # pragma: no cover - for the type checker
            raise SourceError("there is no name to save the flag under", code=record.code, url=url)
        file = flag_path(record.code, record.country.name, image.format)
        flag = first_flag(image, file=file, url=url, validators=answer.validators, now=_now())
        must_write = stored is None or (stored.sha256, stored.file) != (image.sha256, file)
        return await self._with_flag(record, flag, (stored_content, image.content)), image, must_write

    async def _with_flag(
        self, record: FlagRecord, flag: StoredImage, contents: tuple[bytes | None, bytes]
    ) -> FlagRecord:
        """Return the record; *contents* are the stored, None if damaged, and the new."""
        before = record.image
        if before is None:
            return replace(record, image=flag)
        if before.sha256 == flag.sha256:
            return replace(record, image=unchanged_flag(flag, before, was_lost=contents[0] is None))
        flag = replaced_flag(flag, before)
        return await self._keep_replaced(replace(record, image=flag), (before, flag), contents)

    async def _fetch_metadata(self, code: str, stored: StoredMetadata | None, counter: FetchCounter) -> Answer:
        if not self.source.preset.metadata_path:
            return Answer(iso_document(code), Validators())
        if self.source.preset.has_shared_metadata:
            return Answer(await self.shared.document_of(self.source, code, counter), Validators())
        return await self._fetch(self.source.preset.metadata_url(code), code, stored, counter)

    async def _fetch(
        self, url: str, code: str, stored: StoredImage | StoredMetadata | None, counter: FetchCounter
    ) -> Answer:
        validators = Validators()
        # Validators are valid only for their URL.
        if stored is not None and stored.source_url == url and not self.refetch:
            validators = trusted(stored.validators, for_days=self.source.settings.revalidate_days)
        answer = await self.source.fetch(url, code=code, known=validators, counter=counter)
        if answer.content is None or answer.validators.are_strong or answer.validators == Validators():
            return answer
        return replace(answer, validators=replace(answer.validators, received_at=_now()))

    async def _inspect(self, content: bytes, stored: StoredImage | None) -> FlagImage:
        if stored is not None:
            recall = partial(recall_image, content, stored, limits=self._limits)
            return recall() if is_described(stored) else await self.decoder.run(recall)
        inspect = partial(inspect_image, content, formats=self.source.preset.formats, limits=self._limits)
        return await self.decoder.run(inspect)

    async def _keep_replaced(
        self, record: FlagRecord, images: tuple[StoredImage, StoredImage], contents: tuple[bytes | None, bytes]
    ) -> FlagRecord:
        """Write the replaced flag to the history, unless it exceeds the limits, because each catalog decodes it."""
        old, new = contents
        distance = (
            None if old is None else await self.decoder.run(partial(image_distance, (old, new), images, self._limits))
        )
        change = describe_change(record.code, *images, distance_bits=distance)
        changes = latest_changes((*record.changes, change), keep=self.history_keep)
        if old is not None and change.old_file and changes:
            await self.sink.write(change.old_file, old)
        return replace(record, changes=changes)

    @property
    def _limits(self) -> Limits:
        return self.source.settings.image_limits


def _missed(error: FlagPipelineError, code: str, counter: FetchCounter) -> Missed:
    url, attempts = (error.url, error.attempts) if isinstance(error, SourceError) else ("", 1)
    if isinstance(error, FlagNotFoundError):
        return FlagNotFound(code, str(error), url, attempts, counter.statistics())
    return FlagFailed(code, error.kind, str(error), url, attempts, counter.statistics())


def _only_row_changed(before: FlagRecord, after: FlagRecord) -> bool:
    return before != after and _content(before) == _content(after) and _row(before) != _row(after)


def _content(record: FlagRecord) -> tuple[object, ...]:
    return record.country, record.image and record.image.sha256


def _row(record: FlagRecord) -> tuple[object, ...]:
    # The catalog does not show validators, and features depend on the content.
    image = record.image and replace(record.image, validators=Validators(), derived=None)
    return record.country, image, record.last_failure


def trusted(validators: Validators, *, for_days: float) -> Validators:
    """Return the validators if a 304 to them can be trusted, else none.

    A server that compares dates answers 304 also for an older file, and a weak ETag does not guarantee equal bytes.
    Both are trusted until *for_days* after the last 200.
    """
    if validators.are_strong:
        return validators
    received_at, now = validators.received_at, _now()
    is_recent = received_at is not None and now - timedelta(days=for_days) < received_at <= now
    return validators if is_recent else Validators()


def _now() -> datetime:
    # In milliseconds as in the file, so that a record equals its copy.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
