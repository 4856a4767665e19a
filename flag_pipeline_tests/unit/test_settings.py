"""Settings: names, limits, and error messages."""

import os
import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import Settings, load_settings, project_root, use_dagster_home


def test_defaults_need_nothing() -> None:
    """By default the embedded source is stored in `data/`."""
    settings = load_settings()

    assert settings.source == "embedded"
    assert settings.store == str(project_root() / "data")


def test_environment_sets_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """`FLAG_*` variables are read, and arguments that are not None override them."""
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


SECRET = "hunter2"  # noqa: S105 - made up


@pytest.mark.parametrize("given_as", ["variable", "argument"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", f"https://user:{SECRET}@x/flags"),
        ("source", f"https//user:{SECRET}@x"),
        ("source", f"flagcdn@https://x/?token={SECRET}"),
        ("store", f"s3://user:{SECRET}@bucket/flags"),
        ("store", f"ftp://user:{SECRET}/x@host/flags"),
        ("redirect_hosts", f"good.example,user:{SECRET}@x"),
        ("allowed_sources", f"embedded,https://user:{SECRET}@x"),
        ("allowed_stores", f"data,s3://user:{SECRET}@bucket"),
    ],
)
def test_secret_in_an_address_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, given_as: str
) -> None:
    """The message names the setting and the reason; neither it nor a chained error shows the secret."""
    if given_as == "variable":
        monkeypatch.setenv(f"FLAG_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=f"FLAG_{name.upper()}: .*not shown.*secret") as caught:
        load_settings(**({name: value} if given_as == "argument" else {}))

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_secret_in_the_address_of_a_bucket_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused for any store, because run configuration may name another one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:8333")

    with pytest.raises(ConfigurationError, match=r"AWS_ENDPOINT_URL: .*not shown.*secret") as caught:
        load_settings()

    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each setting keeps its default if its variable is empty, as in a template."""
    unset = load_settings()
    monkeypatch.setenv(f"FLAG_{name.upper()}", "")

    assert load_settings() == unset


@pytest.mark.parametrize("store", ["", " ", "a\0b", "~no-such-user/flags"])
def test_store_that_names_no_place_is_one_line(store: str) -> None:
    """An empty option, a null character and the home folder of a missing user are refused."""
    with pytest.raises(ConfigurationError, match=r"FLAG_STORE: .*name a"):
        load_settings(store=store)


def test_empty_dagster_home_counts_as_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a checkout the instance is in `dagster_home/` of the current folder."""
    monkeypatch.setattr("flag_pipeline.settings.project_root", lambda: tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")

    assert use_dagster_home() == tmp_path / "dagster_home"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLAG_SORCE", "FLAG_SOURCE"),
        ("FLAG_STORES", "FLAG_STORE"),
        ("FLAG_TIMEOUT", "FLAG_TIMEOUT_S"),
        ("flag_max_request", "FLAG_MAX_REQUESTS"),
        ("FLAG_ALLOWED_SOURCE", "FLAG_ALLOWED_SOURCES"),
    ],
)
def test_mistyped_variable_is_an_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """If it were ignored, another source or store than the user's would be used."""
    monkeypatch.setenv(name, "x")

    with pytest.raises(ConfigurationError, match=f"{name} is not a setting; did you mean {meant}[?]"):
        load_settings()


def test_unknown_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It may belong to another program; its value is not shown, and an empty one counts as unset."""
    monkeypatch.setenv("FLAG_POLE_HEIGHT", SECRET)
    monkeypatch.setenv("FLAG_POLE_WIDTH", "")
    monkeypatch.setenv("FLAG_SORCE", "")

    load_settings()

    assert caplog.messages == ["FLAG_POLE_HEIGHT is not a setting of flag-pipeline; it is ignored"]


def test_settings_know_what_was_given_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are listed as given, and variables are not."""
    monkeypatch.setenv("FLAG_ATTEMPTS", "3")

    assert load_settings(source="flagcdn", store=None).given == {"source"}
    assert load_settings().given == set()


def test_store_may_be_a_url_or_a_folder_of_the_user() -> None:
    """A URL stays unchanged, and `~` is the home folder."""
    assert load_settings(store="memory://flags").store == "memory://flags"
    assert load_settings(store="~/flags").store == str(Path.home() / "flags")


def test_dagster_home_is_made_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`DAGSTER_HOME` names the folder, which exists afterwards."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    assert use_dagster_home() == tmp_path / "home"
    assert (tmp_path / "home").is_dir()


def test_dagster_home_may_be_below_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `~` is expanded in the variable too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "~/home")

    assert use_dagster_home() == tmp_path / "home"
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "home")


def test_dagster_home_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path, which Dagster refuses, is reported in one line."""
    monkeypatch.setenv("DAGSTER_HOME", "home")

    with pytest.raises(ConfigurationError, match="DAGSTER_HOME must be an absolute path: home"):
        use_dagster_home()


@pytest.mark.parametrize("hosts", ["cdn.example", "cdn.example:8080, other.example", "[::1]:80", "::1", "10.0.0.1:1"])
def test_redirect_hosts_are_hosts_with_or_without_a_port(hosts: str) -> None:
    """Names, IPv4 and IPv6 addresses and lists of them are accepted."""
    assert len(load_settings(redirect_hosts=hosts).redirect_hosts) == hosts.count(",") + 1


@pytest.mark.parametrize(
    "entry",
    ["https://cdn.example", "cdn.example/x", "cdn.example:http", "cdn.example:99999", ":80", "[::1", "a:", "u@a"],
)
def test_redirect_host_that_is_none_is_refused(entry: str) -> None:
    """An entry that can never match is refused."""
    with pytest.raises(ConfigurationError, match="FLAG_REDIRECT_HOSTS: an entry is not a host, or host:port"):
        load_settings(redirect_hosts=entry)


@pytest.mark.parametrize(("age", "hours"), [("90d", 2160), (" 12w ", 2016), ("36h", 36), ("9999d", 239_976)])
def test_ages_have_a_unit(age: str, hours: int) -> None:
    """Hours, days and weeks are known."""
    assert load_settings(prune_older_than=age).prune_age == timedelta(hours=hours)


@pytest.mark.parametrize(
    "age", ["", "90", "d", "0d", "-1d", "1.5d", "90 d", "90m", "90D", "10000d", "\u0663d", "90d\n1h"]
)
def test_what_is_no_age_is_one_line(age: str) -> None:
    """The message has examples."""
    with pytest.raises(ConfigurationError, match=r"^FLAG_PRUNE_OLDER_THAN: it is not an age such as 90d, 12w or 36h$"):
        load_settings(prune_older_than=age)
