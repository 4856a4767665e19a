"""FLAG_HEADERS: what it may say, whom it is for, and that no message shows a part of it."""

import json

import pytest

from flag_pipeline.errors import ConfigurationError
from flag_pipeline.fetching.secret_headers import headers_for, read_headers
from flag_pipeline.settings import load_settings

SOURCE = "https://flags.example"
HEADERS = {"Authorization": "Bearer hunter2", "X-Api-Key": "a;b,c: d"}


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_no_headers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An empty variable is as good as none."""
    monkeypatch.setenv("FLAG_HEADERS", text)

    assert headers_for(SOURCE) == {}


@pytest.mark.parametrize("named", [None, SOURCE, f"{SOURCE}/"])
def test_headers_are_for_the_source_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: str | None
) -> None:
    """Or for the one of the launch, where the environment names none."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(HEADERS))
    if named:
        monkeypatch.setenv("FLAG_SOURCE", named)

    assert headers_for(SOURCE) == HEADERS
    assert caplog.text == ""


@pytest.mark.parametrize("source", ["https://other.example", "http://flags.example", "flagcdn", "embedded"])
def test_headers_are_for_no_other_source(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    """A launch may name another source than the environment; a warning says why that one gets none."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(HEADERS))
    monkeypatch.setenv("FLAG_SOURCE", SOURCE)

    assert headers_for(source) == {}
    assert "FLAG_HEADERS is not sent" in caplog.text
    assert "hunter2" not in caplog.text


def test_headers_are_never_for_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the environment names it: the public sources need none."""
    monkeypatch.setenv("FLAG_HEADERS", json.dumps(HEADERS))
    monkeypatch.setenv("FLAG_SOURCE", "flagcdn")

    assert headers_for("flagcdn") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Authorization: hunter2", "is not a JSON object"),
        ('["hunter2"]', "is not a JSON object"),
        ('"hunter2"', "is not a JSON object"),
        ('{"Authorization": "hunter2"', "is not a JSON object"),
        ("[" * 100_000, "is not a JSON object"),
        ('{"hunter2 x": "y"}', "header 1 has a name that HTTP does not allow"),
        ('{"X": "ok", "": "hunter2"}', "header 2 has a name that HTTP does not allow"),
        ('{"X": {"y": "hunter2"}}', "header 1 has no text for a value"),
        ('{"X": ""}', "header 1 has no text for a value"),
        ('{"X": 1}', "header 1 has no text for a value"),
        ('{"X": "hunter2\\r\\nHost: y"}', "header 1 has a value of more than one line"),
        ('{"X": "hunter2ü"}', "header 1 has a value of more than one line, or not in ASCII"),
        ('{"host": "hunter2"}', "header 1 is one that the client sets itself"),
        ('{"User-Agent": "hunter2"}', "FLAG_USER_AGENT"),
        ('{"X": "hunter2", "x": "hunter2"}', "a header is there twice"),
    ],
)
def test_mistake_is_one_line_without_the_secret(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    """It is reported with the settings, before anything is fetched, and the cause is not chained: it would quote."""
    monkeypatch.setenv("FLAG_HEADERS", text)

    for check in (read_headers, load_settings):
        with pytest.raises(ConfigurationError) as caught:
            check()

        assert problem in str(caught.value)
        assert str(caught.value).startswith("FLAG_HEADERS")
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("agent", ["", "a\r\nHost: b", "ü", "x" * 201])
def test_user_agent_is_one_printable_line(agent: str) -> None:
    """It goes into a header as it is."""
    with pytest.raises(ConfigurationError, match="FLAG_USER_AGENT"):
        load_settings(user_agent=agent)
