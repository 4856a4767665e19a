"""Reads and writes a country's flag, metadata and record in the store, on a thread pool.

A save writes the record last, so the files that a record names exist.
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flag_pipeline.core.countries import EXTRA_CODE
from flag_pipeline.core.layout import (
    FLAGS,
    FOLDERS,
    LOCK_PATH,
    RECORDS,
    code_of,
    metadata_path,
    record_path,
    thumbnail_path,
)
from flag_pipeline.core.models import Country, FlagRecord, LastFailure
from flag_pipeline.core.records import END_WITHOUT_CHANGES, dump_country, dump_record, load_record
from flag_pipeline.errors import ImageError, SinkError, UnusableFileError
from flag_pipeline.images.models import FlagImage
from flag_pipeline.stores.batch_executor import BatchExecutor, for_each
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import MAX_RECORD_BYTES, CheckedStore, Content, raising_sink_error
from flag_pipeline.workers import attempt

if TYPE_CHECKING:
    from flag_pipeline.stores.store import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Changes of one country: each `yield` waits until what is written is durable.
Steps = Generator[None, None, Any]
Change = tuple[str, Callable[[], Steps]]
_GOES_ON = object()


def intact(content: bytes | None, sha256: str) -> bytes | None:
    """Return *content* if it has the SHA-256."""
    return content if content is not None and hashlib.sha256(content).hexdigest() == sha256 else None


@dataclass(frozen=True, slots=True)
class StoredCountry:
    """A country's stored files, checked against its record.

    Attributes:
        record: empty if missing or damaged.
        flag: None if missing or damaged.
    """

    record: FlagRecord
    flag: bytes | None = None
    metadata_is_intact: bool = False


class FileSink:
    """Reads and writes the files of one store. Every method raises SinkError if the store fails.

    Entering creates folders, deletes old temporary files and lists the stored files. Several processes can share a
    local folder.
    """

    def __init__(self, root: str, *, threads: int = 16) -> None:
        self.root = root
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="flag-sink")
        # A country that another process saves after the listing is overwritten.
        self._flags_of: dict[str, set[str]] = {}
        self._recorded: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._closing = ExitStack()
        self._is_closing = False
        # From `_prepare` on.
        self._store: Store
        self._files: CheckedStore
        self._loads: BatchExecutor[str, StoredCountry]
        self._changes: BatchExecutor[Change, Any]

    async def __aenter__(self) -> Self:
        self._flags_of = await self._run(self._prepare)
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        # A running thread cannot be cancelled; `_map` starts no more files.
        self._is_closing = True
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        self._closing.close()

    def _run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    async def _map(self, work: Callable[[str], T], arguments: list[str], *, most_threads: int = 64) -> list[T]:
        size = -(-len(arguments) // min(self._threads, most_threads)) or 1
        parts = (arguments[start : start + size] for start in range(0, len(arguments), size))

        def work_on(part: list[str]) -> list[T]:
            return [work(argument) for argument in part if not self._is_closing]

        results = await asyncio.gather(*(self._run(work_on, part) for part in parts))
        return [result for part in results for result in part]

    async def load(self, code: str) -> StoredCountry:
        """Return the country's record and files."""
        if code not in self._recorded:
            return StoredCountry(FlagRecord(code))
        return await self._loads.do(code)

    async def records(self, *, only_changed: bool = False) -> dict[str, FlagRecord]:
        """Return the records by code, sorted, without damaged ones; or those with changes.

        Unreadable ones have the reason as last failure.
        """
        paths = await self._run(self._record_paths)
        read = partial(self._record_or_reason, only_changed=only_changed)
        records = await self._map(read, paths, most_threads=self._store.n_readers)
        return {record.code: record for record in records if record is not None}

    async def read(self, path: str) -> bytes | None:
        """Return the content, None without a file."""
        return await self._run(self._files.read, path)

    async def read_hint(self, path: str) -> bytes | None:
        """Return the content of a cache, None also if unreadable."""
        return await self._run(self._files.read_hint, path)

    async def why_unusable(self, path: str) -> str:
        """Return why the file cannot be read, else an empty string."""
        try:
            await self.read(path)
        except UnusableFileError as exc:
            return str(exc)
        return ""

    async def examine(self, files: Mapping[str, tuple[str, str]], make: Callable[[str, bytes], T]) -> dict[str, T]:
        """Return the results of *make* by key; *files* has a path and a SHA-256 per key.

        Leaves out missing and damaged files, and those that raise ImageError. Calls *make* one at a time, because it
        needs the GIL.
        """
        lock = threading.Lock()

        def make_one(key: str) -> tuple[str, T] | None:
            path, sha256 = files[key]
            content = intact(self._files.read_hint(path), sha256)
            if content is None:
                return None
            try:
                with lock:
                    return key, make(key, content)
            except ImageError as exc:
                logger.warning("%s is left out: %s", path, exc)
                return None

        made = await self._map(make_one, list(files), most_threads=self._store.n_readers)
        return dict(result for result in made if result is not None)

    async def write(self, path: str, content: Content) -> None:
        """Write the file atomically, unless it is the same."""
        await self._run(self._files.write, path, content)

    async def write_files(self, files: Mapping[str, bytes]) -> None:
        """Write each file atomically, unless it is the same; *files* are by path."""
        await self._map(lambda path: self._files.write(path, files[path]), list(files))

    async def delete_files(self, paths: Iterable[str]) -> None:
        """Delete the files that exist."""
        await self._run(self._delete_files, paths)

    async def all_exist(self, paths: Iterable[str]) -> bool:
        """Whether every file exists."""
        return await self._run(self._all_exist, paths)

    async def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        return await self._run(self._files.names, folder)

    async def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the readable files by path."""

        def read(path: str) -> tuple[str, bytes | None]:
            return path, self._files.read_hint(path)

        contents = await self._map(read, list(paths), most_threads=self._store.n_readers)
        return {path: content for path, content in contents if content is not None}

    async def save(
        self,
        record: FlagRecord,
        *,
        image: FlagImage | None = None,
        country: Country | None = None,
        thumbnail: bytes = b"",
        lost: bool = False,
    ) -> None:
        """Write the image, metadata and page *thumbnail*, then the record, then delete orphaned images.

        Without *image*, the record's image has to exist, unless it is *lost*.
        """
        await self._changes.do((record.code, partial(self._save, record, image, country, thumbnail, lost=lost)))

    async def save_derived(self, code: str, flag_sha256: str, files: Mapping[str, bytes | None]) -> bool:
        """Write files that were made from the country's flag, the last one when the others are durable.

        None deletes a file. Return False, without a change, if the country has another flag now.
        """
        return bool(await self._changes.do((code, partial(self._save_derived, code, flag_sha256, files))))

    async def record_failure(self, code: str, failure: LastFailure) -> bool:
        """Write *failure* into the record; return False if it is there."""
        return bool(await self._changes.do((code, partial(self._record_failure, code, failure))))

    async def delete_country(self, code: str) -> None:
        """Delete flag, metadata and record."""
        await self._changes.do((code, partial(self._delete_country, code)))

    def has_orphaned_files(self, record: FlagRecord) -> bool:
        """Whether a killed save left images that the record does not name."""
        return record.image is not None and not self._flags_of.get(record.code, set()) <= {record.image.file}

    async def keep_only(self, folder: str, paths: Collection[str]) -> None:
        """Delete the files of *folder* except *paths*."""
        await self._run(self._keep_only, folder, paths)

    def _prepare(self) -> dict[str, set[str]]:
        # Not in __init__, because importing a bucket's client blocks.
        flags_of: dict[str, set[str]] = {}
        with raising_sink_error(self.root):
            self._store = open_store(self.root, lock_path=LOCK_PATH)
            self._files = CheckedStore(self._store)
            size, gather_s, turn_s = self._store.batch_size, self._store.gather_s, self._store.turn_s
            how: dict[str, Any] = {"threads": self._threads, "patience_s": self._store.patience_s}
            self._loads = BatchExecutor(for_each(self._load), self._executor, turn_s=turn_s, **how)
            self._changes = BatchExecutor(self._change_all, self._executor, size=size, gather_s=gather_s, **how)
            self._closing.callback(self._store.close)
            self._store.prepare(FOLDERS)
            for name in self._store.names(FLAGS):
                flags_of.setdefault(code_of(name), set()).add(f"{FLAGS}/{name}")
            self._recorded.update(code_of(name) for name in self._store.names(RECORDS))
        return flags_of

    def _delete_files(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._files.delete(path)

    def _all_exist(self, paths: Iterable[str]) -> bool:
        return all(map(self._files.exists, paths))

    def _change_all(self, changes: Sequence[Change]) -> list[Any]:
        """Run each change to its next `yield`, sync the written folders once, and go on.

        Changes of one country run one after the other.
        """
        results: dict[int, Any] = {}
        todo = list(enumerate(changes))
        while todo:
            codes = {code: number for number, (code, _) in reversed(todo)}
            # In order, because two threads or processes that hold locks would wait for each other.
            some = sorted((code, number) for code, number in codes.items())
            running = {number: changes[number][1]() for _, number in some}
            try:
                while running:
                    with raising_sink_error(self.root), self._store.batch():
                        ended = {number: attempt(_advance, change) for number, change in running.items()}
                    results |= {number: result for number, result in ended.items() if result is not _GOES_ON}
                    running = {number: change for number, change in running.items() if number not in results}
            finally:
                for change in running.values():
                    change.close()
            todo = [(number, change) for number, change in todo if number not in results]
        return [results[number] for number in range(len(changes))]

    @contextmanager
    def _locked(self, code: str) -> Iterator[None]:
        """Lock against other threads, and other processes if the store can.

        The thread of a cancelled task can still be saving.
        """
        with self._locks.setdefault(code, threading.Lock()), self._files.lock(code, record_path(code)):
            yield

    def _save(
        self, record: FlagRecord, image: FlagImage | None, country: Country | None, thumbnail: bytes, *, lost: bool
    ) -> Steps:
        with self._locked(record.code):
            file = self._write_flag(record, image, lost=lost)
            if country is not None:
                self._files.write(metadata_path(record.code), dump_country(country))
            if thumbnail and record.image is not None:
                self._files.write(thumbnail_path(record.image.sha256), thumbnail)
            # After a power cut, the record needs its files.
            yield
            self._files.write(record_path(record.code), dump_record(record))
            self._recorded.add(record.code)
            if file is not None:
                if orphans := self._flags_of.get(record.code, set()) - {file}:
                    # After a power cut, an old record needs its old flag.
                    yield
                for orphan in orphans:
                    self._files.delete(orphan, kept=file)
                self._flags_of[record.code] = {file}

    def _save_derived(self, code: str, flag_sha256: str, files: Mapping[str, bytes | None]) -> Steps:
        with self._locked(code):
            record = self._read_record(record_path(code))
            if record is None or record.image is None or record.image.sha256 != flag_sha256:
                return False
            *others, last = files.items()
            self._put(others)
            yield
            self._put([last])
            return True

    def _put(self, files: Iterable[tuple[str, bytes | None]]) -> None:
        for path, content in files:
            if content is None:
                self._files.delete(path)
            else:
                self._files.write(path, content)

    def _record_failure(self, code: str, failure: LastFailure) -> Steps:
        with self._locked(code):
            record = self._read_record(record_path(code)) or FlagRecord(code)
            if record.last_failure == failure:
                return False
            self._files.write(record_path(code), dump_record(replace(record, last_failure=failure)))
            self._recorded.add(code)
            # The record is synced before others may change it.
            yield
            return True

    def _delete_country(self, code: str) -> Steps:
        with self._locked(code):
            self._files.delete(record_path(code))
            self._recorded.discard(code)
            # Synced before the files go.
            yield
            for path in (metadata_path(code), *self._flags_of.pop(code, ())):
                self._files.delete(path)

    def _write_flag(self, record: FlagRecord, image: FlagImage | None, *, lost: bool) -> str | None:
        if record.image is None:
            return None
        path = record.image.file
        if image is not None:
            self._files.write(path, image.content)
        elif not self._files.exists(path):
            if lost:
                return None
            raise SinkError(f"{path} has disappeared since it was read; another run may have renamed it", path=path)
        return path

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

    def _record_or_reason(self, path: str, *, only_changed: bool) -> FlagRecord | None:
        try:
            content = self._files.read(path, MAX_RECORD_BYTES)
            is_wanted = not (only_changed and content and content.endswith(END_WITHOUT_CHANGES))
            return _parse_record(content, path) if is_wanted else None
        except UnusableFileError as exc:
            code = path.removeprefix(f"{RECORDS}/").removesuffix(".json")
            failure = LastFailure(exc.kind, str(exc))
            return FlagRecord(code, last_failure=failure) if EXTRA_CODE.fullmatch(code) else None

    def _read_record(self, path: str) -> FlagRecord | None:
        return _parse_record(self._files.read_small(path), path)


def _parse_record(content: bytes | None, path: str) -> FlagRecord | None:
    with suppress(ValueError):
        record = load_record(content or b"")
        if path == record_path(record.code):
            return record
    return None


def _advance(change: Steps) -> Any:
    try:
        next(change)
    except StopIteration as ended:
        return ended.value
    return _GOES_ON
