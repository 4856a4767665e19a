"""A release's manifest, and the check against it."""

import hashlib
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field, TypeAdapter

from flag_pipeline import bounds
from flag_pipeline.core.records import dump_json
from flag_pipeline.errors import ConfigurationError, ReleaseError, printable

MANIFEST = "MANIFEST.json"
SCHEMA = 1

_MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
# What zipfile raises for damaged, encrypted or unusually compressed files, and for names in no encoding.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of a release.

    Attributes:
        path: relative to the release's root.
        sha256: lower-case hex.
    """

    path: bounds.Line
    size_bytes: bounds.SizeBytes
    sha256: bounds.Sha256


@dataclass(frozen=True, slots=True)
class _Manifest:
    schema: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
    files: list[ManifestFile]


_MANIFEST = TypeAdapter(_Manifest)


def render_manifest(files: Iterable[ManifestFile]) -> bytes:
    """Return the manifest as JSON."""
    return dump_json({"schema": SCHEMA, "files": [asdict(file) for file in files]})


def verify_release(path: Path) -> tuple[int, list[str]]:
    """Return how many files a zip file's or folder's manifest names, and what is wrong, sorted.

    Raises ConfigurationError if *path* cannot be read, ReleaseError if it has no valid manifest.
    """
    with ExitStack() as opened:
        try:
            names, open_file = _open(path, opened)
            manifest = _read_manifest(open_file)
            return len(manifest.files), sorted(_problems(manifest.files, names, open_file))
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
        except _UNREADABLE as exc:
            raise ReleaseError(f"{path} is not a release: {exc}") from exc


Open = Callable[[str], IO[bytes]]


def _open(path: Path, opened: ExitStack) -> tuple[Counter[str], Open]:
    """Return how often each name occurs, and a function that opens a file or raises KeyError."""
    if path.is_dir():
        # `os.walk` takes a link to a folder for a folder, and does not enter it.
        found = (Path(folder, name) for folder, folders, names in os.walk(path) for name in folders + names)
        files = {file.relative_to(path).as_posix(): file for file in found if file.is_symlink() or not file.is_dir()}
        return Counter(files.keys()), lambda name: _open_file(files[name])
    zipped = opened.enter_context(zipfile.ZipFile(path))
    return Counter(entry.filename for entry in zipped.infolist() if not entry.is_dir()), zipped.open


def _open_file(file: Path) -> IO[bytes]:
    # A link may lead elsewhere, and a pipe would wait.
    if not stat.S_ISREG(file.lstat().st_mode):
        raise KeyError(file)
    return file.open("rb")


def _read_manifest(open_file: Open) -> _Manifest:
    try:
        with open_file(MANIFEST) as file:
            content = file.read(_MAX_MANIFEST_BYTES + 1)
    except KeyError as exc:
        raise ReleaseError(f"there is no {MANIFEST}") from exc
    try:
        return _MANIFEST.validate_json(content[:_MAX_MANIFEST_BYTES])
    except ValueError as exc:
        raise ReleaseError(f"{MANIFEST} is damaged or of another version") from exc


def _problems(files: Iterable[ManifestFile], names: Counter[str], open_file: Open) -> Iterator[str]:
    listed = Counter(file.path for file in files)
    yield from (f"{printable(name)}: not in the manifest" for name in names.keys() - listed.keys() - {MANIFEST})
    yield from (f"{printable(name)}: more than once" for name, number in (names | listed).items() if number > 1)
    for file in files:
        try:
            with open_file(file.path) as content:
                if _digest(content, file.size_bytes) != file.sha256:
                    yield f"{file.path}: differs from the manifest"
        except KeyError:
            yield f"{file.path}: missing"
        # OSError is also what damaged bz2 raises.
        except (*_UNREADABLE, OSError) as exc:
            yield f"{file.path}: cannot be read: {printable(str(exc))}"


def _digest(content: IO[bytes], size_bytes: int) -> str:
    """Return the SHA-256, reading little more than *size_bytes*, because a zip file can unpack to terabytes."""
    digest, n_read = hashlib.sha256(), 0
    while n_read <= size_bytes and (chunk := content.read(_CHUNK_BYTES)):
        digest.update(chunk)
        n_read += len(chunk)
    return digest.hexdigest() if n_read == size_bytes else ""
