"""The file sink: whole files or none, written through `run_in_executor` on threads of its own.

Layout below the root: `flags/CN-China.gif`, `metadata/CN.json`, `records/CN.json`, `history/CN/…`, `catalog/…`.
The record is written last, so a file that a record names is there. On a local folder a file is replaced in one step
after it has reached the disk; in a bucket, a file is one put.
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import call
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flag_pipeline.core.countries import EXTRA_CODE
from flag_pipeline.core.layout import CATALOG, FLAGS, HISTORY, METADATA, RECORDS, metadata_path, record_path
from flag_pipeline.core.models import Country, FlagRecord, Miss
from flag_pipeline.core.records import dump_country, dump_record, load_record
from flag_pipeline.errors import ImageError, SinkError, UnusableFileError
from flag_pipeline.images.models import FlagImage
from flag_pipeline.stores.batch_executor import BatchExecutor, Failed, for_each
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import MAX_RECORD_BYTES, CheckedStore, raising_sink_error

if TYPE_CHECKING:
    from flag_pipeline.stores.store import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")


def intact(content: bytes | None, sha256: str) -> bytes | None:
    """Return *content* if it still is what was checked when it came, None if it is gone or has been tampered with."""
    return content if content is not None and hashlib.sha256(content).hexdigest() == sha256 else None


@dataclass(frozen=True, slots=True)
class StoredCountry:
    """What the store has of one country, its files checked against its record.

    Attributes:
        record: an empty one where nothing is stored, or nothing that can be read as a record.
        flag: the stored flag's bytes; None where there is none, or not the one that the record tells of.
        metadata_is_intact: whether the metadata document still is the one that the record tells of.
    """

    record: FlagRecord
    flag: bytes | None = None
    metadata_is_intact: bool = False


class FileSink:
    """Reads and writes files below one root. Every method raises SinkError when the store refuses.

    Use it as an asynchronous context manager: entering makes the folders, sweeps stale temporaries and looks
    once at what is there; leaving waits for the threads. Other processes may use the same local folder meanwhile.
    """

    def __init__(self, root: str, *, threads: int = 4) -> None:
        self.root = root
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="flag-sink")
        self._loads = BatchExecutor(for_each(self._load), self._executor, threads=threads)
        self._saves = BatchExecutor(self._save_all, self._executor, threads=threads)
        # What was there on entering, and what was saved since. Who else saves a country for the first time meanwhile is
        # overwritten, as by any later run.
        self._flags_of: dict[str, set[str]] = {}
        self._recorded: set[str] = set()
        self._turns: dict[str, threading.Lock] = {}
        self._closing = ExitStack()
        self._is_ending = False
        self._store: Store  # from `_prepare` on
        self._files: CheckedStore  # from `_prepare` on

    async def __aenter__(self) -> Self:
        self._flags_of = await self._run(self._prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A write cannot be stopped, only awaited: it is short, and it leaves a whole file. A share of many files can.
        self._is_ending = True
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        self._closing.close()

    def _run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    async def _shared_out(self, work: Callable[[str], T], arguments: list[str]) -> list[T]:
        """Return what *work* makes of each argument, in their order; each thread takes its share in one go."""
        size = -(-len(arguments) // self._threads) or 1
        shares = (arguments[start : start + size] for start in range(0, len(arguments), size))

        def do(share: list[str]) -> list[T]:
            return [work(one) for one in share if not self._is_ending]

        done = await asyncio.gather(*(self._run(do, share) for share in shares))
        return [result for results in done for result in results]

    async def load(self, code: str) -> StoredCountry:
        """Return what is stored of *code*, everything that a refresh wants to know, read at once."""
        if code not in self._recorded:
            return StoredCountry(FlagRecord(code))
        return await self._loads.do(code)

    async def records(self) -> dict[str, FlagRecord]:
        """Return every stored record by code, sorted; none for a damaged one, and for an unusable one a miss: why."""
        paths = await self._run(self._record_paths)
        found = await self._shared_out(self._record_or_reason, paths)
        return {record.code: record for record in found if record is not None}

    async def read(self, path: str) -> bytes | None:
        """Return the content of the file at *path* below the root, None if there is no such file."""
        return await self._run(self._files.read, path)

    async def read_hint(self, path: str) -> bytes | None:
        """Return the content of a file that only saves work: None also where it cannot be read."""
        return await self._run(self._files.read_hint, path)

    async def why_unusable(self, path: str) -> str:
        """Return why the file at *path* cannot be read; nothing if it can be, or if there is none."""
        try:
            await self.read(path)
        except UnusableFileError as exc:
            return str(exc)
        return ""

    async def examine(self, files: Mapping[str, tuple[str, str]], make: Callable[[str, bytes], T]) -> dict[str, T]:
        """Return by its key what *make* makes of each of *files*, which have a path and a SHA-256 each.

        Files that are gone, cannot be read, have another hash, or make *make* raise ImageError are left out.
        *make* gets the key and the content, and may block. All threads read, each one file at a time, but only one at a
        time calls *make*: several would only take the GIL from each other.
        """
        turn = threading.Lock()

        def look(key: str) -> tuple[str, T] | None:
            path, sha256 = files[key]
            content = intact(self._files.read_hint(path), sha256)
            if content is None:
                return None
            try:
                with turn:
                    return key, make(key, content)
            except ImageError as exc:
                logger.warning("%s is left out: %s", path, exc)
                return None

        return dict(found for found in await self._shared_out(look, list(files)) if found is not None)

    async def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path* below the root, whole or not at all; identical content is not rewritten."""
        await self._run(self._files.write, path, content)

    async def save(
        self, record: FlagRecord, *, image: FlagImage | None = None, country: Country | None = None, lost: bool = False
    ) -> None:
        """Put a country's new image and metadata in place, then its record, then drop its renamed old image.

        Without a new image the one that the record names has to be there, unless it was found lost before: *lost*.
        For a record without its image no other one is dropped.
        """
        await self._saves.do(partial(self._save, record, image, country, lost=lost))

    async def note(self, code: str, miss: Miss) -> bool:
        """Put *miss* into the country's record, whatever else is stored or lost; return whether it is new."""
        return bool(await self._saves.do(partial(self._note, code, miss)))

    async def forget(self, code: str) -> None:
        """Delete the country's flag, metadata and record, as if it had never been saved."""
        await self._saves.do(partial(self._forget, code))

    def has_orphaned_files(self, record: FlagRecord) -> bool:
        """Whether the country has images that its record does not name: a run was killed while it saved them."""
        return record.image is not None and not self._flags_of.get(record.code, set()) <= {record.image.file}

    async def keep_only(self, folder: str, paths: Collection[str]) -> None:
        """Delete every file of *folder* that is not among *paths*; both are below the root."""
        await self._run(self._keep_only, folder, paths)

    def _prepare(self) -> dict[str, set[str]]:
        # Here and not in __init__: a store's client takes long to import, and this is a thread of our own.
        flags_of: dict[str, set[str]] = {}
        with raising_sink_error(self.root):
            self._store = open_store(self.root)
            self._files = CheckedStore(self._store)
            self._closing.callback(self._store.close)
            self._store.prepare((FLAGS, METADATA, RECORDS, CATALOG, HISTORY))
            for name in self._store.names(FLAGS):
                flags_of.setdefault(name.split("-", 1)[0], set()).add(f"{FLAGS}/{name}")
            self._recorded.update(name.removesuffix(".json") for name in self._store.names(RECORDS))
        return flags_of

    def _save_all(self, saves: Sequence[Callable[[], Any]]) -> list[Any | Failed]:
        with raising_sink_error(self.root), self._store.batch():
            return for_each(call)(saves)

    @contextmanager
    def _alone(self, code: str) -> Iterator[None]:
        """Keep others from saving the country: where the store can, and our threads, which finish what was given up."""
        with self._turns.setdefault(code, threading.Lock()), self._files.lock(code, record_path(code)):
            yield

    def _save(self, record: FlagRecord, image: FlagImage | None, country: Country | None, *, lost: bool) -> None:
        with self._alone(record.code):
            file = self._flag_in_place(record, image, lost=lost)
            if country is not None:
                self._files.write(metadata_path(record.code), dump_country(country))
            if file is not None:
                # The flag's name has to last before the record that tells of it.
                self._files.sync(FLAGS)
            self._files.write(record_path(record.code), dump_record(record))
            self._recorded.add(record.code)
            if file is not None:
                self._drop_others(record.code, file)

    def _note(self, code: str, miss: Miss) -> bool:
        with self._alone(code):
            known = self._read_record(record_path(code)) or FlagRecord(code)
            if known.miss == miss:
                return False
            self._files.write(record_path(code), dump_record(replace(known, miss=miss)))
            self._recorded.add(code)
            return True

    def _forget(self, code: str) -> None:
        with self._alone(code):
            self._files.delete(record_path(code))
            self._recorded.discard(code)
            for path in (metadata_path(code), *self._flags_of.pop(code, ())):
                self._files.delete(path)

    def _flag_in_place(self, record: FlagRecord, image: FlagImage | None, *, lost: bool) -> str | None:
        """Return the path of the record's image once it is there, None if it has none or has lost it."""
        if record.image is None:
            return None
        path = record.image.file
        if image is not None:
            self._files.write(path, image.content)
        elif not self._files.exists(path):
            if lost:
                return None
            raise SinkError(f"{path} vanished meanwhile; another run may have renamed it", path=path)
        return path

    def _drop_others(self, code: str, current: str) -> None:
        if others := self._flags_of.get(code, set()) - {current}:
            # The record has to last before the flag goes that the record before it told of.
            self._files.sync(RECORDS)
        for other in others:
            self._files.delete(other, kept=current)
        self._flags_of[code] = {current}

    def _keep_only(self, folder: str, paths: Collection[str]) -> None:
        for path in {f"{folder}/{name}" for name in self._files.names(folder)}.difference(paths):
            self._files.delete(path)

    def _load(self, code: str) -> StoredCountry:
        record = self._read_record(record_path(code)) or FlagRecord(code)
        document = self._files.read_small(metadata_path(code)) if record.metadata and record.country else None
        image = record.image
        return StoredCountry(
            record,
            flag=intact(self._files.read_small(image.file, image.size_bytes), image.sha256) if image else None,
            metadata_is_intact=record.metadata is not None and intact(document, record.metadata.sha256) is not None,
        )

    def _record_paths(self) -> list[str]:
        return [f"{RECORDS}/{name}" for name in sorted(self._files.names(RECORDS)) if name.endswith(".json")]

    def _record_or_reason(self, path: str) -> FlagRecord | None:
        try:
            return _parse_record(self._files.read(path, MAX_RECORD_BYTES), path)
        except UnusableFileError as exc:
            code = path.removeprefix(f"{RECORDS}/").removesuffix(".json")
            return FlagRecord(code, miss=Miss(exc.kind, str(exc))) if EXTRA_CODE.fullmatch(code) else None

    def _read_record(self, path: str) -> FlagRecord | None:
        return _parse_record(self._files.read_small(path), path)


def _parse_record(content: bytes | None, path: str) -> FlagRecord | None:
    """Return the record that lies at *path*; None if it is damaged: the next fetch rewrites it."""
    with suppress(ValueError):
        record = load_record(content or b"")
        if path == record_path(record.code):
            return record
    return None
