"""FLAG_HEADERS: what it may contain, and that no message quotes it."""

import pytest

from flag_pipeline.errors import ConfigurationError
from flag_pipeline.fetching.secret_headers import read_headers
from flag_pipeline.settings import load_settings


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_no_headers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An empty variable and an empty object set no headers."""
    monkeypatch.setenv("FLAG_HEADERS", text)

    assert read_headers() == {}


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
    """It is reported with the settings, before anything is fetched; the cause is not chained, because it quotes."""
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
    """The setting is sent as a header without escaping."""
    with pytest.raises(ConfigurationError, match="FLAG_USER_AGENT"):
        load_settings(user_agent=agent)
