"""Opens the store of `FLAG_STORE`: a local folder, a bucket or another URL."""

import os
import re
from pathlib import Path

from flag_pipeline.errors import SinkError
from flag_pipeline.stores.fsspec_store import FsspecStore
from flag_pipeline.stores.local_folder import LocalFolder
from flag_pipeline.stores.s3 import SCHEMES, open_bucket
from flag_pipeline.stores.store import Store

_NOT_PLAIN = re.compile(r"//|::|[\\%]")


def open_store(root: str, *, lock_path: str = ".lock") -> Store:
    """Return the store at *root*; local ones lock *lock_path*. Raises SinkError if no client can open it."""
    if (folder := local_folder(root)) is not None:
        return LocalFolder(folder, lock_path)
    if root.partition("://")[0] in SCHEMES:
        return open_bucket(root)
    from upath import UPath

    try:
        path = UPath(root)
        path.fs  # noqa: B018 - imports the client, which may be missing
    except (ImportError, ValueError) as exc:
        raise SinkError(f"cannot use {root}: {exc}", path=root) from exc
    return FsspecStore(path)


def local_folder(root: str) -> Path | None:
    """Return the folder of a path or a `file://` URL, None for another URL."""
    if "://" not in root:
        return Path(root)
    if not root.startswith("file://"):
        return None
    from upath import UPath

    return Path(UPath(root).path)


def is_within(store: str, other: str) -> bool:
    """Whether *store* is *other* or below it; resolves local symbolic links."""
    folder, other_folder = local_folder(store), local_folder(other)
    if folder is not None and other_folder is not None:
        return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(other_folder))
    scheme, _, path = store.partition("://")
    other_scheme, _, other_path = other.partition("://")
    path, other_path = path.rstrip("/"), other_path.rstrip("/")
    if scheme.lower() != other_scheme.lower() or not f"{path}/".startswith(f"{other_path}/"):
        return False
    # Clients may interpret these parts.
    rest = path.removeprefix(other_path)
    return not any(part in {".", ".."} for part in rest.split("/")) and not _NOT_PLAIN.search(rest)
