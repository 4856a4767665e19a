"""One country's way through the pipeline: ask, check, store; and the boundary that keeps its failure its own."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from flag_pipeline.bounds import MAX_REASON_CHARS
from flag_pipeline.core.changes import describe_change, history_folder, latest_changes
from flag_pipeline.core.countries import parse_country
from flag_pipeline.core.flag_source import FlagSource
from flag_pipeline.core.layout import flag_path
from flag_pipeline.core.models import (
    Country,
    Fetched,
    FlagFailed,
    FlagNotFound,
    FlagRecord,
    FlagSaved,
    FlagUnchanged,
    Miss,
    Missed,
    Outcome,
    StoredImage,
    StoredMetadata,
)
from flag_pipeline.core.records import country_sha256
from flag_pipeline.core.shared_metadata import SharedMetadata
from flag_pipeline.core.sink import FileSink
from flag_pipeline.core.undo import restore
from flag_pipeline.errors import ErrorKind, FlagNotFoundError, FlagPipelineError, ImageError, SourceError, printable
from flag_pipeline.fetching.client import Answer, FetchCounter
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.decoder import Decoder
from flag_pipeline.images.features import distance_bits
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.inspection import MAX_THUMBNAIL_BYTES, inspect_image, is_own_thumbnail, recall_image
from flag_pipeline.images.models import FlagImage
from flag_pipeline.images.structure import Limits

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What is no larger is dealt with on the loop: to hand it to another thread, and to wait for the answer, takes longer.
SMALL_BYTES = MAX_THUMBNAIL_BYTES


@dataclass(frozen=True, slots=True)
class Refresher:
    """Refreshes countries one at a time from a source into a sink.

    Attributes:
        metadata: whether the metadata document is wanted.
        image: whether the flag is wanted; it is named after the country, so metadata that is not stored yet is
            fetched and stored for it all the same.
        history_keep: replaced flags that are kept of a country.
        refetch: whether to fetch every file in full, whatever its validators say.
        shared: the metadata of all countries, where the source has it in one document.
        decoder: decodes the flags; whoever opened it closes it.
    """

    source: FlagSource
    sink: FileSink
    metadata: bool = True
    image: bool = True
    history_keep: int = 10
    refetch: bool = False
    shared: SharedMetadata = field(default_factory=SharedMetadata)
    decoder: Decoder = field(default_factory=Decoder)
    # The records of changed countries as they were at the start of the run.
    _before: dict[str, FlagRecord] = field(default_factory=dict, init=False, repr=False)

    async def refresh(self, code: str) -> Outcome:
        """Bring the stored files of *code* up to date and say what came of it; never raises for a country's sake."""
        counter = FetchCounter()
        outcome = await _contained(self._fetch_and_save(code, counter), code, counter)
        return outcome if isinstance(outcome, Fetched) else await self.remember(outcome)

    async def quiet(self) -> None:
        """Wait until bytes that the source sent without a request would have come."""
        await self.source.connections.quiet()

    async def take_back(self) -> set[str]:
        """Undo what was stored of countries whose answers may be those to other requests, and return their codes.

        Each of them can be refreshed again after that.
        """
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
        problem = await _contained(restore(self.sink, self._before[code]), code, FetchCounter())
        if problem is None:
            del self._before[code]
        else:
            logger.warning("%s: a doubtful answer stays stored until the next one: %s", code, problem.reason)

    async def remember(self, missed: Missed) -> Missed:
        """Note the miss in the country's record, for the catalog, and say whether it is new; its good files stay.

        Never raises for a country's sake: one whose miss cannot be noted either has missed all the same.
        """
        # A longer one could not be read back.
        noting = self.sink.note(missed.code, Miss(missed.kind, missed.reason[:MAX_REASON_CHARS]))
        is_new = await _contained(noting, missed.code, FetchCounter())
        if isinstance(is_new, bool):
            return replace(missed, only_row_changed=is_new)
        logger.warning("%s: the catalog will not know that it failed: %s", missed.code, is_new.reason)
        return missed

    async def _fetch_and_save(self, code: str, counter: FetchCounter) -> Fetched:
        stored = await self.sink.load(code)
        known = stored.record
        record = replace(known, miss=None)
        new_country = image = new_image = None
        if self.metadata or record.country is None:
            record, new_country = await self._refresh_metadata(record, counter, is_intact=stored.metadata_is_intact)
        if self.image:
            record, image, is_new = await self._refresh_image(record, counter, stored.flag)
            new_image = image if is_new else None
        if record != known or new_country or new_image or self.sink.has_orphaned_files(record):
            self._before.setdefault(code, known)
            # A flag that is gone since has been renamed by another run, whose record is the right one.
            await self.sink.save(record, image=new_image, country=new_country, lost=stored.flag is None)
        if record.changes != known.changes:
            await self.sink.keep_only(history_folder(code), {change.old_file for change in record.changes})
        outcome = FlagSaved if new_country or new_image else FlagUnchanged
        thumbnail = image.thumbnail if image else ""
        return outcome(code, record, thumbnail, counter.statistics(), _only_row_changed(known, record))

    async def _refresh_metadata(
        self, known: FlagRecord, counter: FetchCounter, *, is_intact: bool
    ) -> tuple[FlagRecord, Country | None]:
        """Return the record with the source's metadata, and the country if its file has to be written."""
        url = self.source.preset.metadata_url(known.code)
        stored = known.metadata if is_intact else None
        answer = await self._ask_for_metadata(known.code, stored, counter)
        if answer.content is None:
            return known, None
        parse = partial(parse_country, answer.content, code=known.code, url=url)
        country = parse() if len(answer.content) <= SMALL_BYTES else await self.decoder.run(parse)
        sha256 = country_sha256(country)
        metadata = StoredMetadata(sha256=sha256, source_url=url, validators=answer.validators)
        changed = stored is None or stored.sha256 != sha256
        return replace(known, country=country, metadata=metadata), country if changed else None

    async def _refresh_image(
        self, known: FlagRecord, counter: FetchCounter, content: bytes | None
    ) -> tuple[FlagRecord, FlagImage, bool]:
        """Return the record with the source's flag, the image, and whether its file has to be written.

        *content* is the stored flag's, if it is intact.
        """
        url = self.source.preset.flag_url(known.code)
        stored = known.image if content is not None else None
        answer = await self._ask(url, known.code, stored, counter)
        came = content if answer.content is None else answer.content
        image = await self._examine(came or b"", stored if came == content else None, code=known.code, url=url)
        if known.country is None:  # pragma: no cover - for the type checker: no metadata would have been an error
            raise SourceError("there is no name to save the flag under", code=known.code, url=url)
        file = flag_path(known.code, known.country.name, image.format)
        is_new = stored is None or stored.sha256 != image.sha256
        after = _stored(image, file=file, url=url, validators=answer.validators, before=known.image, is_new=is_new)
        record = replace(known, image=after)
        if known.image is not None and known.image.sha256 != image.sha256:
            record = await self._keep_replaced(record, (known.image, after), (content, image.content))
        return record, image, is_new or stored is None or stored.file != file

    async def has(self, code: str) -> bool:
        """Whether the source has what is wanted of the country; nothing is stored."""
        counter = FetchCounter()
        try:
            if self.metadata:
                await self._ask_for_metadata(code, None, counter)
            if self.image:
                await self._ask(self.source.preset.flag_url(code), code, None, counter)
        except SourceError:
            return False
        return True

    async def _ask_for_metadata(self, code: str, stored: StoredMetadata | None, counter: FetchCounter) -> Answer:
        if self.source.preset.has_shared_metadata:
            return Answer(await self.shared.document_of(self.source, code, counter), Validators())
        return await self._ask(self.source.preset.metadata_url(code), code, stored, counter)

    async def _ask(
        self, url: str, code: str, stored: StoredImage | StoredMetadata | None, counter: FetchCounter
    ) -> Answer:
        """Return the file at *url*, or no content where the source says that it still is the *stored* one."""
        known = Validators()
        # Another source's validators would mean nothing to this one.
        if stored is not None and stored.source_url == url and not self.refetch:
            known = trusted(stored.validators, for_days=self.source.settings.revalidate_days)
        answer = await self.source.fetch(url, code=code, known=known, counter=counter)
        validators = answer.validators
        if answer.content is None or validators.are_strong or validators == Validators():
            return answer
        return replace(answer, validators=replace(validators, received_at=_now()))

    async def _examine(self, content: bytes, stored: StoredImage | None, *, code: str, url: str) -> FlagImage:
        """Return the image that *content* is; *stored* tells what it was found to be when it was stored."""
        if stored is not None:
            recall = partial(recall_image, content, stored, code=code, url=url, limits=self._limits)
            is_quick = is_own_thumbnail(content) or (stored.format == "gif" and stored.thumbnail)
            return recall() if is_quick else await self.decoder.run(recall)
        inspect = partial(
            inspect_image,
            content,
            code=code,
            url=url,
            formats=self.source.preset.formats,
            limits=self._limits,
        )
        return await self.decoder.run(inspect)

    async def _keep_replaced(
        self, record: FlagRecord, images: tuple[StoredImage, StoredImage], contents: tuple[bytes | None, bytes]
    ) -> FlagRecord:
        """Keep the flag that is about to be replaced, and return the record with that change in it.

        *images* and *contents* are the replaced flag's and the new one's; the replaced content is None if it was lost.
        A replaced flag that cannot be decoded within the limits is not kept, because each catalog would decode it.
        """
        old, new = contents
        distance = None if old is None else await self.decoder.run(partial(self._distance_bits, old, new))
        change = describe_change(record.code, *images, distance_bits=distance)
        changes = latest_changes((*record.changes, change), keep=self.history_keep)
        if old is not None and change.old_file and changes:
            await self.sink.write(change.old_file, old)
        return replace(record, changes=changes)

    @property
    def _limits(self) -> Limits:
        return self.source.settings.image_limits

    def _distance_bits(self, old: bytes, new: bytes) -> int | None:
        """Return how different the two look, None if the old one is one that would be refused today."""
        try:
            read_structure(old).check(self._limits)
            return distance_bits(old, new)
        except ImageError:
            return None


async def _contained(work: Awaitable[T], code: str, counter: FetchCounter) -> T | Missed:
    """Return what *work* on a country gives, or the miss that its failure is: here it stays the country's own."""
    try:
        return await work
    except FlagNotFoundError as exc:
        return FlagNotFound(code, str(exc), exc.url, exc.attempts, counter.statistics())
    except FlagPipelineError as exc:
        url, attempts = (exc.url, exc.attempts) if isinstance(exc, SourceError) else ("", 1)
        return FlagFailed(code, exc.kind, str(exc), url, attempts, counter.statistics())
    except Exception as exc:  # A bug in one country must not cost the other 248; its kind says so
        logger.exception("unexpected error for %s", code)
        return FlagFailed(code, ErrorKind.UNEXPECTED, printable(repr(exc)), "", 1, counter.statistics())


def _only_row_changed(before: FlagRecord, after: FlagRecord) -> bool:
    """Whether the catalog's row changes although the content, by whose versions it is watched, does not."""
    return _content(before) == _content(after) and _row(before) != _row(after)


def _content(record: FlagRecord) -> tuple[object, ...]:
    return record.country, record.image and record.image.sha256


def _row(record: FlagRecord) -> tuple[object, ...]:
    # The catalog has no column for the validators and the thumbnail.
    image = record.image and replace(record.image, validators=Validators(), thumbnail="")
    return record.country, image, record.miss


def trusted(validators: Validators, *, for_days: float) -> Validators:
    """Return the validators if they may still be relied on, else none, so that the file is fetched in full.

    A server that compares dates answers 304 for ever when a file is replaced by an older one; a weak ETag does not
    promise equal bytes. Both are trusted *for_days* after the 200 answer that brought them.
    """
    if validators.are_strong:
        return validators
    received_at, now = validators.received_at, _now()
    is_recent = received_at is not None and now - timedelta(days=for_days) < received_at <= now
    return validators if is_recent else Validators()


def _now() -> datetime:
    # Milliseconds, as they are written: what is read back must compare equal.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _stored(
    image: FlagImage, *, file: str, url: str, validators: Validators, before: StoredImage | None, is_new: bool
) -> StoredImage:
    now = _now()
    is_same = before is not None and before.sha256 == image.sha256
    return StoredImage(
        file=file,
        format=image.format,
        width_px=image.width_px,
        height_px=image.height_px,
        size_bytes=len(image.content),
        sha256=image.sha256,
        source_url=url,
        fetched_at=now if before is None or is_new or before.source_url != url else before.fetched_at,
        changed_at=before.changed_at if before is not None and is_same else now,
        validators=validators,
        first_seen_at=now if before is None else before.first_seen_at or before.changed_at,
        n_changes=0 if before is None else before.n_changes + (not is_same),
        thumbnail="" if is_own_thumbnail(image.content) else image.thumbnail,
    )
