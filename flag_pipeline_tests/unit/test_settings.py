"""Settings: names, limits, and one clear line for a mistake."""

import os
from pathlib import Path

import pytest

from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import dagster_home, load_settings, project_root


def test_defaults_need_nothing() -> None:
    """Without any setting the embedded source is stored in `data/`."""
    settings = load_settings()

    assert settings.source == "embedded"
    assert settings.store == str(project_root() / "data")


def test_environment_sets_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """`FLAG_*` variables are read, a given value goes before them, and None is not given."""
    monkeypatch.setenv("FLAG_MAX_REQUESTS", "7")
    monkeypatch.setenv("FLAG_ATTEMPTS", "3")
    monkeypatch.setenv("FLAG_EXTRA_CODES", "xk, EU,")

    settings = load_settings(attempts=9, max_requests=None)

    assert (settings.max_requests, settings.attempts) == (7, 9)
    assert settings.extra_codes == ["XK", "EU"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("source", "nowhere", "FLAG_SOURCE: unknown source 'nowhere'; use one of embedded, fluentpython"),
        ("extra_codes", "X", "FLAG_EXTRA_CODES: 'X' is not a code"),
        ("extra_codes", "../X", "FLAG_EXTRA_CODES: '../X' is not a code"),
        ("max_requests", "0", "FLAG_MAX_REQUESTS: Input should be greater than or equal to 1"),
        ("timeout_s", "soon", "FLAG_TIMEOUT_S: Input should be a valid number"),
    ],
)
def test_mistake_is_one_line_that_names_the_setting(name: str, value: str, message: str) -> None:
    """The line starts with the variable's name and says what is wrong, without pydantic's own words."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**{name: value})

    assert str(caught.value).startswith(message)


def test_store_may_be_a_url_or_a_folder_of_the_user() -> None:
    """A URL stays as it is, `~` is the home folder."""
    assert load_settings(store="memory://flags").store == "memory://flags"
    assert load_settings(store="~/flags").store == str(Path.home() / "flags")


def test_dagster_home_is_made_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`DAGSTER_HOME` wins, and the folder exists afterwards."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    assert dagster_home() == tmp_path / "home"
    assert (tmp_path / "home").is_dir()


def test_dagster_home_may_be_below_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a `~`, which is expanded for whoever reads the variable afterwards."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "~/home")

    assert dagster_home() == tmp_path / "home"
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "home")


def test_dagster_home_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative one, which Dagster refuses, is one line to the user."""
    monkeypatch.setenv("DAGSTER_HOME", "home")

    with pytest.raises(ConfigurationError, match="DAGSTER_HOME must be an absolute path: home"):
        dagster_home()


@pytest.mark.parametrize("hosts", ["cdn.example", "cdn.example:8080, other.example", "[::1]:80", "::1", "10.0.0.1:1"])
def test_redirect_hosts_are_hosts_with_or_without_a_port(hosts: str) -> None:
    """A name, an address of either kind, and a list of them."""
    assert len(load_settings(redirect_hosts=hosts).redirect_hosts) == hosts.count(",") + 1


@pytest.mark.parametrize(
    "entry",
    ["https://cdn.example", "cdn.example/x", "cdn.example:http", "cdn.example:99999", ":80", "[::1", "a:", "u@a"],
)
def test_redirect_host_that_is_none_is_refused(entry: str) -> None:
    """It would never match."""
    with pytest.raises(ConfigurationError, match=r"FLAG_REDIRECT_HOSTS: .* is not a host, or host:port"):
        load_settings(redirect_hosts=entry)
