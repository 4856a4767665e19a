"""The file sink: whole files or none, written through `run_in_executor` on threads of its own.

Layout below the root: `flags/CN-China.gif`, `metadata/CN.json`, `records/CN.json`, `history/CN/…`, `catalog/…`.
The record is written last, so a file that a record names is there. On a local folder a file is replaced in one step
after it has reached the disk; in a bucket, a file is one put.
"""

import asyncio
import hashlib
import re
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import call
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flag_pipeline.core.batcher import Batcher, Piece, one_by_one
from flag_pipeline.core.places import open_store
from flag_pipeline.core.records import dump_country, dump_record, load_record
from flag_pipeline.errors import SinkError
from flag_pipeline.models import Country, FlagImage, FlagRecord, Miss

if TYPE_CHECKING:
    from flag_pipeline.core.store import Store

T = TypeVar("T")

FLAGS, METADATA, RECORDS, CATALOG, HISTORY = "flags", "metadata", "records", "catalog", "history"
EXTENSIONS = {"gif": "gif", "png": "png", "jpeg": "jpg", "webp": "webp"}

# File systems allow 255 bytes a name; code, dash, extension and the temporary's own letters fit in the rest.
MAX_NAME_BYTES = 200

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def flag_path(code: str, name: str, kind: str) -> str:
    """Return where the flag goes, `flags/CN-China.gif`: a safe file name on every usual file system.

    Characters that some file system forbids become `_`; a long name is cut to 200 bytes of UTF-8.
    """
    safe = _FORBIDDEN.sub("_", name).encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(". ")
    return f"{FLAGS}/{code}-{safe}.{EXTENSIONS[kind]}"


def metadata_path(code: str) -> str:
    """Return where the metadata goes, `metadata/CN.json`."""
    return f"{METADATA}/{code}.json"


def record_path(code: str) -> str:
    """Return where the record goes, `records/CN.json`."""
    return f"{RECORDS}/{code}.json"


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
        self._loads = Batcher(one_by_one(self._load), self._executor, threads=threads)
        self._saves = Batcher(self._save_all, self._executor, threads=threads)
        # What was there on entering, and what was saved since. Who else saves a country for the first time meanwhile is
        # overwritten, as by any later run.
        self._flags_of: dict[str, set[str]] = {}
        self._recorded: set[str] = set()
        self._turns: dict[str, threading.Lock] = {}
        self._closing = ExitStack()
        self._store: Store  # from `_prepare` on

    async def __aenter__(self) -> Self:
        self._flags_of = await self._run(self._prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A write cannot be stopped, only awaited: it is short, and it leaves a whole file.
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        self._closing.close()

    def _run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    async def _shared_out(self, work: Callable[[str], T], arguments: list[str]) -> list[T]:
        """Return what *work* makes of each argument, in their order; each thread takes its share in one go."""
        size = -(-len(arguments) // self._threads) or 1
        shares = (arguments[start : start + size] for start in range(0, len(arguments), size))
        done = await asyncio.gather(*(self._run(lambda share: [work(one) for one in share], share) for share in shares))
        return [result for results in done for result in results]

    async def load(self, code: str) -> StoredCountry:
        """Return what is stored of *code*, everything that a refresh wants to know, read at once."""
        if code not in self._recorded:
            return StoredCountry(FlagRecord(code))
        return await self._loads.do(code)

    async def records(self) -> dict[str, FlagRecord]:
        """Return every stored record by code, sorted by code; what cannot be read as a record is left out."""
        paths = await self._run(self._record_paths)
        found = await self._shared_out(self._read_record, paths)
        return {record.code: record for record in found if record is not None}

    async def read(self, path: str) -> bytes | None:
        """Return the content of the file at *path* below the root, None if there is no such file."""
        return await self._run(self._read, path)

    async def examine(self, files: Mapping[str, tuple[str, str]], make: Callable[[str, bytes], T]) -> dict[str, T]:
        """Return by its key what *make* makes of each of *files*, which have a path and a SHA-256 each.

        Those that are gone, or no longer have that hash, are left out. *make* gets the key and the content, and may
        block. All threads read, each one file at a time; one at a time makes something of it, for several would only
        take Python's lock from each other.
        """
        turn = threading.Lock()

        def look(key: str) -> tuple[str, T] | None:
            path, sha256 = files[key]
            content = intact(self._read(path), sha256)
            if content is None:
                return None
            with turn:
                return key, make(key, content)

        return dict(found for found in await self._shared_out(look, list(files)) if found is not None)

    async def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path* below the root, whole or not at all; identical content is not rewritten."""
        await self._run(self._write, path, content)

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

    def has_strays(self, record: FlagRecord) -> bool:
        """Whether the country has images that its record does not name: a run was killed while it saved them."""
        return record.image is not None and not self._flags_of.get(record.code, set()) <= {record.image.file}

    async def keep_only(self, folder: str, paths: Collection[str]) -> None:
        """Delete every file of *folder* that is not among *paths*; both are below the root."""
        await self._run(self._keep_only, folder, paths)

    def _prepare(self) -> dict[str, set[str]]:
        # Here and not in __init__: a store's client takes long to import, and this is a thread of our own.
        flags_of: dict[str, set[str]] = {}
        with refusing(self.root):
            self._store = open_store(self.root)
            self._closing.callback(self._store.close)
            self._store.prepare((FLAGS, METADATA, RECORDS, CATALOG, HISTORY))
            for name in self._store.names(FLAGS):
                flags_of.setdefault(name.split("-", 1)[0], set()).add(f"{FLAGS}/{name}")
            self._recorded.update(name.removesuffix(".json") for name in self._store.names(RECORDS))
        return flags_of

    def _save_all(self, pieces: Sequence[Piece[Callable[[], Any], Any]]) -> None:
        with refusing(self.root), self._store.together():
            one_by_one(call)(pieces)

    @contextmanager
    def _alone(self, code: str) -> Iterator[None]:
        """Keep others from saving the country: where the store can, and our threads, which finish what was given up."""
        with self._turns.setdefault(code, threading.Lock()), refusing(record_path(code)), self._store.alone(code):
            yield

    def _save(self, record: FlagRecord, image: FlagImage | None, country: Country | None, *, lost: bool) -> None:
        with self._alone(record.code):
            file = self._flag_in_place(record, image, lost=lost)
            if country is not None:
                self._write(metadata_path(record.code), dump_country(country))
            self._write(record_path(record.code), dump_record(record))
            self._recorded.add(record.code)
            if file is not None:
                self._drop_others(record.code, file)

    def _note(self, code: str, miss: Miss) -> bool:
        with self._alone(code):
            known = self._read_record(record_path(code)) or FlagRecord(code)
            if known.miss == miss:
                return False
            self._write(record_path(code), dump_record(replace(known, miss=miss)))
            self._recorded.add(code)
            return True

    def _forget(self, code: str) -> None:
        with self._alone(code):
            self._store.delete(record_path(code))
            self._recorded.discard(code)
            for path in (metadata_path(code), *self._flags_of.pop(code, ())):
                self._store.delete(path)

    def _flag_in_place(self, record: FlagRecord, image: FlagImage | None, *, lost: bool) -> str | None:
        """Return the path of the record's image once it is there, None if it has none or has lost it."""
        if record.image is None:
            return None
        path = record.image.file
        if image is not None:
            self._write(path, image.content)
        elif not self._store.exists(path):
            if lost:
                return None
            raise SinkError(f"{path} vanished meanwhile; another run may have renamed it", path=path)
        return path

    def _drop_others(self, code: str, current: str) -> None:
        for other in self._flags_of.get(code, set()) - {current}:
            with refusing(other):
                self._store.delete(other, kept=current)
        self._flags_of[code] = {current}

    def _keep_only(self, folder: str, paths: Collection[str]) -> None:
        with refusing(folder):
            present = {f"{folder}/{name}" for name in self._store.names(folder)}
            for path in present.difference(paths):
                self._store.delete(path)

    def _load(self, code: str) -> StoredCountry:
        record = self._read_record(record_path(code)) or FlagRecord(code)
        document = self._read(metadata_path(code)) if record.metadata and record.country else None
        return StoredCountry(
            record,
            flag=intact(self._read(record.image.file), record.image.sha256) if record.image else None,
            metadata_is_intact=record.metadata is not None and intact(document, record.metadata.sha256) is not None,
        )

    def _record_paths(self) -> list[str]:
        with refusing(RECORDS):
            return [f"{RECORDS}/{name}" for name in sorted(self._store.names(RECORDS)) if name.endswith(".json")]

    def _read_record(self, path: str) -> FlagRecord | None:
        content = self._read(path)
        if content is None:
            return None
        # A record that nobody can read is as good as none: the country is fetched in full and it is rewritten.
        with suppress(ValueError):
            record = load_record(content)
            if _is_consistent(record, path):
                return record
        return None

    def _read(self, path: str) -> bytes | None:
        with refusing(path), suppress(FileNotFoundError):
            return self._store.read(path)
        return None

    def _write(self, path: str, content: bytes) -> None:
        with refusing(path):
            self._store.write(path, content)


def _is_consistent(record: FlagRecord, path: str) -> bool:
    """Whether the record lies where it belongs and names an image of its own country."""
    own = f"{FLAGS}/{record.code}-"
    return path == record_path(record.code) and (record.image is None or record.image.file.startswith(own))


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """Turn what the operating system or an object store's client raises inside the block into SinkError."""
    try:
        yield
    except OSError as exc:
        raise SinkError(f"cannot use {path} in the store: {exc.strerror or exc}", path=path) from exc
