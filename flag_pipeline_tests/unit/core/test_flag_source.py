"""Which source gets the headers of FLAG_HEADERS."""

import json

import pytest

from flag_pipeline.core.flag_source import headers_for

SOURCE = "https://flags.example"
HEADERS = {"Authorization": "Bearer hunter2", "X-Api-Key": "a;b,c: d"}


@pytest.mark.parametrize("named", [None, SOURCE, f"{SOURCE}/"])
def test_headers_are_for_the_source_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: str | None
) -> None:
    """If the environment names no source, the source of the launch gets the headers."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(HEADERS))
    if named:
        monkeypatch.setenv("FLAG_SOURCE", named)

    assert headers_for(SOURCE) == HEADERS
    assert caplog.text == ""


@pytest.mark.parametrize("source", ["https://other.example", "http://flags.example", "flagcdn", "embedded"])
def test_headers_are_for_no_other_source(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    """A launch may name another source than the environment; a warning says why it gets no headers."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(HEADERS))
    monkeypatch.setenv("FLAG_SOURCE", SOURCE)

    assert headers_for(source) == {}
    assert "FLAG_HEADERS is not sent" in caplog.text
    assert "hunter2" not in caplog.text


def test_headers_are_never_for_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset gets no headers even if the environment names it, because public sources need none."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(HEADERS))
    monkeypatch.setenv("FLAG_SOURCE", "flagcdn")

    assert headers_for("flagcdn") == {}
