"""The limit of open files: how many requests it allows, and what it does to the decoder."""

import errno
import resource
import subprocess
import sys

import aiohttp
import pytest

from flag_pipeline.fetching.open_files import is_local_error, limit_requests
from flag_pipeline_tests.samples import picture

LIMITS = list[tuple[int, int]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> LIMITS:
    """The limits of open files: the last pair is in force, and setting them adds a pair."""
    limits: LIMITS = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _what, pair: limits.append(pair))
    return limits


@pytest.mark.parametrize("limit", [100_000, resource.RLIM_INFINITY])
def test_high_limit_allows_all_requests(limits: LIMITS, limit: int) -> None:
    """A sufficient limit is not changed."""
    limits.append((limit, limit))

    assert limit_requests(32, files_per_request=3) == 32
    assert len(limits) == 1


@pytest.mark.parametrize("hard", [100_000, resource.RLIM_INFINITY])
def test_low_soft_limit_is_raised(limits: LIMITS, hard: int) -> None:
    """The soft limit is raised to what the requests need, and the hard limit stays."""
    limits.append((1, hard))

    assert limit_requests(512, files_per_request=3) == 512
    assert 512 * 3 < limits[-1][0] < 512 * 3 + 1000
    assert limits[-1][1] == hard


def test_low_hard_limit_allows_fewer_requests(limits: LIMITS, caplog: pytest.LogCaptureFixture) -> None:
    """The requests that fit are allowed, and a warning names the command that allows more."""
    limits.append((10, 400))

    n_requests = limit_requests(10_000, files_per_request=3)

    assert 1 < n_requests < 400 / 3
    assert limits[-1] == (400, 400)
    assert "ulimit -n" in caplog.text


def test_limit_that_cannot_be_raised_holds(limits: LIMITS, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the soft limit may not be raised although the hard limit allows it."""

    def refuse(_what: int, _pair: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    limits.append((400, resource.RLIM_INFINITY))

    assert 1 < limit_requests(10_000, files_per_request=3) < 400 / 3


def test_one_request_is_always_allowed(limits: LIMITS) -> None:
    """One request is allowed at any limit, because otherwise nothing is fetched."""
    limits.append((8, 8))

    assert limit_requests(32, files_per_request=1) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO])
def test_what_the_machine_lacks_is_local_trouble(number: int) -> None:
    """The error number decides, also inside an error of aiohttp."""
    error = OSError(number, "x")

    assert is_local_error(error)
    assert is_local_error(aiohttp.ClientOSError(*error.args))


@pytest.mark.parametrize(
    "error", [OSError("image file is truncated"), OSError(errno.ECONNREFUSED, "x"), ValueError("x")]
)
def test_other_errors_are_no_local_trouble(error: Exception) -> None:
    """Other errors, such as Pillow's without a number, are not local."""
    assert not is_local_error(error)


@pytest.mark.parametrize(("kind", "form"), [("gif", "GIF"), ("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_decoder_opens_no_file(kind: str, form: str) -> None:
    """A process that may open no more files still decodes each format and makes its thumbnail."""
    content = picture(form, size=(400, 300))
    program = (
        "import resource, sys\n"
        "from flag_pipeline.images.inspection import inspect_image\n"
        "from flag_pipeline.images.structure import Limits\n"
        "content = sys.stdin.buffer.read()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "image = inspect_image(content, formats=['gif', 'png', 'jpeg', 'webp'], limits=Limits())\n"
        "print(image.format)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=False)

    assert (done.stdout.decode().strip(), done.stderr.decode()) == (kind, "")
