"""The places that `FLAG_STORE` can name, and which kind of store each of them is."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from flag_pipeline.core.bucket import SCHEMES, open_bucket
from flag_pipeline.core.folder import LocalFolder
from flag_pipeline.core.store import Store, path_parts
from flag_pipeline.errors import SinkError

if TYPE_CHECKING:
    from upath import UPath


def open_store(root: str) -> Store:
    """Return the store at *root*, a folder or a URL; nothing is read or written yet.

    Raises SinkError for a bucket that the environment does not describe well enough to be opened, and for a URL that
    nothing here can open.
    """
    if "://" not in root:
        return LocalFolder(Path(root))
    if root.partition("://")[0] in SCHEMES:
        return open_bucket(root)
    from upath import UPath

    with _refused_by_client(root):
        place = UPath(root)
        # Its client is another package, which may be missing, and may log in at once.
        place.fs  # noqa: B018 - made on first use
    # A local folder by another name; universal-pathlib would not write it in one step.
    return LocalFolder(Path(place.path)) if root.startswith("file://") else UrlStore(place)


@contextmanager
def _refused_by_client(path: str) -> Iterator[None]:
    """Turn what a client raises inside the block into SinkError; OSError is left to whoever asked."""
    try:
        yield
    except (OSError, SinkError):
        raise
    # The clients of the many file systems have exceptions of their own, which share no base and cannot be named here.
    # Nothing is swallowed: whatever it is, this store does not work now.
    except Exception as exc:
        raise SinkError(f"cannot use {path}: {str(exc) or repr(exc)}", path=path) from exc


class UrlStore:
    """Files below any URL that universal-pathlib opens, each written by one call of its file system."""

    def __init__(self, root: "UPath") -> None:
        self.root = root

    def prepare(self, folders: Iterable[str]) -> None:
        """Make the folders, for file systems that have such."""
        root = str(self.root)
        with _refused_by_client(root):
            try:
                for folder in folders:
                    (self.root / folder).mkdir(parents=True, exist_ok=True)
            except NotImplementedError as exc:
                raise SinkError(f"cannot use {root}: it can be read, not written", path=root) from exc

    def close(self) -> None:
        """Nothing was taken."""

    def alone(self, code: str) -> AbstractContextManager[None]:  # noqa: ARG002 - there is no lock to take for it
        """Let everybody in: the last one to write wins."""
        return nullcontext()

    def together(self) -> AbstractContextManager[None]:
        """Each file by itself."""
        return nullcontext()

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        with self._at(folder) as target:
            names = [entry.name for entry in target.iterdir()] if target.exists() else []
        return [name for name in names if not name.startswith(".")]

    def read(self, path: str) -> bytes:
        """Return the content."""
        with self._at(path) as target:
            return target.read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path* in one call."""
        with self._at(path) as target:
            target.write_bytes(content)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._at(path) as target:
            return target.exists()

    def delete(self, path: str, *, kept: str | None = None) -> None:  # noqa: ARG002 - two names are two files here
        """Delete the file, if it is there."""
        with self._at(path) as target:
            target.unlink(missing_ok=True)

    @contextmanager
    def _at(self, path: str) -> Iterator["UPath"]:
        """Give the place of *path*; what its client raises inside the block is a SinkError, OSError aside."""
        with _refused_by_client(path):
            yield self.root.joinpath(*path_parts(path))
