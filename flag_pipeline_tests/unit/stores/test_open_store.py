"""Which store a URL opens, and the errors for other URLs."""

import sys
from pathlib import Path
from typing import NoReturn

import pytest
from upath import UPath

from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import SinkError
from flag_pipeline.stores.fsspec_store import FsspecStore
from flag_pipeline.stores.local_folder import LocalFolder
from flag_pipeline.stores.open_store import is_within, open_store


def test_local_paths_are_folders_and_other_urls_are_not(tmp_path: Path) -> None:
    """A `file://` URL is a local folder."""
    assert isinstance(open_store(str(tmp_path)), LocalFolder)
    assert isinstance(open_store(tmp_path.as_uri()), LocalFolder)
    assert isinstance(open_store("memory://flags"), FsspecStore)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://flags/x", "cannot use nonsense://flags/x: .*nonsense"),
        ("http://127.0.0.1:1/x", "cannot use http://127.0.0.1:1/x: it can be read, not written"),
    ],
)
async def test_url_that_cannot_be_a_store_is_named_in_one_line(url: str, message: str) -> None:
    """The scheme is unknown, or the store is read-only: the error comes before the first request."""
    with pytest.raises(SinkError, match=message) as caught:
        async with FileSink(url):
            pass

    assert "\n" not in str(caught.value)


async def test_client_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some clients log in when they are made."""

    def cannot_log_in(_path: object) -> NoReturn:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(UPath, "fs", property(cannot_log_in))

    with pytest.raises(SinkError, match=r"cannot use memory://private.*: refused"):
        async with FileSink("memory://private"):
            pass


def test_missing_client_of_a_url_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of universal-pathlib names the missing module."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)

    with pytest.raises(SinkError, match=r"cannot use gs://flags/x: .*gcsfs"):
        open_store("gs://flags/x")


@pytest.mark.parametrize(
    ("store", "other", "expected"),
    [
        ("/srv/flags", "/srv/flags/", True),
        ("/srv/flags/x", "/srv/flags", True),
        ("/srv/flags/../other", "/srv/flags", False),
        ("/srv/flags-2", "/srv/flags", False),
        ("file:///srv/flags/x", "/srv/flags", True),
        ("/srv/flags", "file:///srv", True),
        ("s3://bucket/flags/x/", "S3://bucket/flags", True),
        ("s3://bucket/x", "s3://bucket", True),
        ("s3://Bucket/x", "s3://bucket", False),
        ("s3://bucket-2/x", "s3://bucket", False),
        ("s3a://bucket/x", "s3://bucket", False),
        ("s3://bucket/a/../../other", "s3://bucket/a", False),
        ("s3://bucket/a/./b", "s3://bucket/a", False),
        ("s3://bucket/a//b", "s3://bucket/a", False),
        ("s3://bucket/a/%2e%2e/b", "s3://bucket/a", False),
        ("s3://bucket/a::file:///etc", "s3://bucket", False),
        ("s3://bucket/a", "/srv", False),
    ],
)
def test_what_lies_within_another_store_is_known(store: str, other: str, *, expected: bool) -> None:
    """The store itself and its subfolders are within; a URL that a client may interpret differently is not."""
    assert is_within(store, other) is expected


def test_a_link_lies_where_it_leads(tmp_path: Path) -> None:
    """The target of a link counts, not its name."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")

    assert not is_within(str(tmp_path / "inside" / "link" / "x"), str(tmp_path / "inside"))
    assert is_within(str(tmp_path / "inside" / "link"), str(tmp_path / "outside"))
