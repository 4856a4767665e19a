"""The file sink: whole files or none, written through `run_in_executor` on threads of its own.

Layout below the root: `flags/CN-China.gif`, `metadata/CN.json`, `records/CN.json`, `history/CN/…`, `catalog/…`.
The record is written last, so a file that a record names is there. On a local folder a file is replaced in one step
after it has reached the disk; on an object store, a file is one put.
"""

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from flag_pipeline.core.records import dump_country, dump_record, load_record
from flag_pipeline.errors import SinkError
from flag_pipeline.models import Country, FlagImage, FlagRecord

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")

FLAGS, METADATA, RECORDS, CATALOG, HISTORY = "flags", "metadata", "records", "catalog", "history"
EXTENSIONS = {"gif": "gif", "png": "png", "jpeg": "jpg", "webp": "webp"}

# File systems allow 255 bytes a name; code, dash, extension and the temporary's own letters fit in the rest.
MAX_NAME_BYTES = 200
TEMPORARY_PREFIX = ".flag-pipeline-"
# A younger temporary may belong to a run that is still writing it.
STALE_TEMPORARY_S = 3600.0

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


class FileSink:
    """Reads and writes files below one root. Every method raises SinkError when the store refuses.

    Use it as an asynchronous context manager: entering makes the folders, sweeps stale temporaries and looks
    once at what is there; leaving waits for the threads.
    """

    def __init__(self, root: str, *, threads: int = 4) -> None:
        self.root = _open_root(root)
        self._real_root = self.root.resolve()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="flag-sink")
        self._flags_of: dict[str, set[str]] = {}

    async def __aenter__(self) -> Self:
        self._flags_of = await self._run(self._prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A write cannot be stopped, only awaited: it is short, and it leaves a whole file.
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    def _run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    async def record(self, code: str) -> FlagRecord | None:
        """Return what is stored about *code*, None if nothing is or if it cannot be read as a record."""
        return await self._run(self._read_record, record_path(code))

    async def records(self) -> dict[str, FlagRecord]:
        """Return every stored record by code, sorted by code."""
        return await self._run(self._read_records)

    async def read(self, path: str) -> bytes | None:
        """Return the content of the file at *path* below the root, None if there is no such file."""
        return await self._run(self._read, path)

    async def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path* below the root, whole or not at all; identical content is not rewritten."""
        await self._run(self._write, path, content)

    async def save(self, record: FlagRecord, *, image: FlagImage | None = None, country: Country | None = None) -> None:
        """Put a country's new image and metadata in place, then its record, then drop its renamed old image."""
        await self._run(self._save, record, image, country)

    async def keep_only(self, folder: str, paths: Collection[str]) -> None:
        """Delete every file of *folder* that is not among *paths*; both are below the root."""
        await self._run(self._keep_only, folder, paths)

    def _prepare(self) -> dict[str, set[str]]:
        flags_of: dict[str, set[str]] = {}
        with refusing(str(self.root)):
            for folder in (FLAGS, METADATA, RECORDS, CATALOG, HISTORY):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
                if isinstance(self.root, Path):
                    _sweep_temporaries(self.root / folder)
            for name in _names(self.root / FLAGS):
                flags_of.setdefault(name.split("-", 1)[0], set()).add(f"{FLAGS}/{name}")
        return flags_of

    def _save(self, record: FlagRecord, image: FlagImage | None, country: Country | None) -> None:
        if image is not None and record.image is not None:
            self._write(record.image.file, image.content)
        if country is not None:
            self._write(metadata_path(record.code), dump_country(country))
        self._write(record_path(record.code), dump_record(record))
        if record.image is not None:
            self._drop_others(record.code, record.image.file)

    def _drop_others(self, code: str, current: str) -> None:
        for other in self._flags_of.get(code, set()) - {current}:
            with refusing(other):
                self._target(other).unlink(missing_ok=True)
        self._flags_of[code] = {current}

    def _keep_only(self, folder: str, paths: Collection[str]) -> None:
        with refusing(folder):
            present = {f"{folder}/{name}" for name in _names(self._target(folder))}
            for path in present.difference(paths):
                self._target(path).unlink(missing_ok=True)

    def _read_records(self) -> dict[str, FlagRecord]:
        with refusing(RECORDS):
            names = sorted(name for name in _names(self.root / RECORDS) if name.endswith(".json"))
        records = (self._read_record(f"{RECORDS}/{name}") for name in names)
        return {record.code: record for record in records if record is not None}

    def _read_record(self, path: str) -> FlagRecord | None:
        content = self._read(path)
        if content is None:
            return None
        # A record that nobody can read is as good as none: the country is fetched in full and it is rewritten.
        with suppress(ValueError):
            return load_record(content)
        return None

    def _read(self, path: str) -> bytes | None:
        with refusing(path), suppress(FileNotFoundError):
            return self._target(path).read_bytes()
        return None

    def _write(self, path: str, content: bytes) -> None:
        with refusing(path):
            target = self._target(path)
            if isinstance(target, Path):
                if not _holds(target, content):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _replace(target, content)
            else:
                target.write_bytes(content)

    def _target(self, path: str) -> "Path | UPath":
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts:
            raise SinkError(f"{path!r} leads out of the store", path=path)
        target = self.root.joinpath(*relative.parts)
        if isinstance(target, Path) and not target.parent.resolve().is_relative_to(str(self._real_root)):
            raise SinkError(f"{path!r} leads out of the store through a symbolic link", path=path)
        return target


def _open_root(root: str) -> "Path | UPath":
    if "://" not in root:
        return Path(root)
    from upath import UPath

    return UPath(root, use_listings_cache=False) if root.startswith("s3") else UPath(root)


def _names(folder: "Path | UPath") -> list[str]:
    return [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.exists() else []


def _holds(target: Path, content: bytes) -> bool:
    with suppress(FileNotFoundError):
        return target.stat().st_size == len(content) and target.read_bytes() == content
    return False


def _replace(target: Path, content: bytes) -> None:
    """Write beside the target, push it to the disk, and put it in place in one step."""
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(target.parent)


def _fsync_folder(folder: Path) -> None:
    # Without this a power cut can forget the new name although the content is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep_temporaries(folder: Path) -> None:
    oldest = time.time() - STALE_TEMPORARY_S
    for temporary in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):
            if temporary.stat().st_mtime < oldest:
                temporary.unlink()


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """Turn what the operating system or an object store's client raises inside the block into SinkError."""
    try:
        yield
    except OSError as exc:
        raise SinkError(f"cannot use {path} in the store: {exc.strerror or exc}", path=path) from exc
