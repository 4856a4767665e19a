"""The places that `FLAG_STORE` can name, and which kind of store each of them is."""

import os
import re
from pathlib import Path

from flag_pipeline.errors import SinkError
from flag_pipeline.stores.fsspec_store import FsspecStore
from flag_pipeline.stores.local_folder import LocalFolder
from flag_pipeline.stores.s3 import SCHEMES, open_bucket
from flag_pipeline.stores.store import Store

_NOT_PLAIN = re.compile(r"//|::|[\\%]")


def open_store(root: str) -> Store:
    """Return the store at *root*, a folder or a URL; nothing is read or written yet.

    Raises SinkError for a bucket that the environment does not describe well enough to be opened, and for a URL that
    nothing here can open.
    """
    if (folder := local_folder(root)) is not None:
        return LocalFolder(folder)
    if root.partition("://")[0] in SCHEMES:
        return open_bucket(root)
    from upath import UPath

    try:
        place = UPath(root)
        # Its client is another package, which may be missing.
        place.fs  # noqa: B018 - made on first use
    except (ImportError, ValueError) as exc:
        raise SinkError(f"cannot use {root}: {exc}", path=root) from exc
    return FsspecStore(place)


def local_folder(root: str) -> Path | None:
    """Return the folder of this machine that *root* names, as a path or as a `file://` URL; None for another URL.

    universal-pathlib would not write a file of a local folder in one step.
    """
    if "://" not in root:
        return Path(root)
    if not root.startswith("file://"):
        return None
    from upath import UPath

    return Path(UPath(root).path)


def is_within(store: str, other: str) -> bool:
    """Whether *store* is *other* or below it, wherever links and `..` lead. It may read the file system."""
    folder, other_folder = local_folder(store), local_folder(other)
    if folder is not None and other_folder is not None:
        return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(other_folder))
    scheme, _, path = store.partition("://")
    other_scheme, _, other_path = other.partition("://")
    path, other_path = path.rstrip("/"), other_path.rstrip("/")
    if scheme.lower() != other_scheme.lower() or not f"{path}/".startswith(f"{other_path}/"):
        return False
    # What a client may take for something else than a name: such a URL may lead out again.
    rest = path.removeprefix(other_path)
    return not any(part in {".", ".."} for part in rest.split("/")) and not _NOT_PLAIN.search(rest)
