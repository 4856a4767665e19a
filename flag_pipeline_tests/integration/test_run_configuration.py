"""Run configuration: a field that it does not give keeps the environment's value, and some it must not give."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.core.config import SourceSettings
from flag_pipeline.core.flag_source import open_source
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sink import FileSink
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs import flags, resources
from flag_pipeline.defs.flags import flag_assets
from flag_pipeline.defs.partitions import country_partitions
from flag_pipeline.settings import Settings, StoreSettings, load_settings, project_root
from flag_pipeline_tests.flag_server import FlagServer, running_flag_server

pytestmark = pytest.mark.timeout(180)

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# Two values of each field: the environment's, which is not the default, and that of run configuration.
VALUES: dict[str, tuple[Any, Any]] = {
    "max_requests": (7, 8),
    "first_requests": (3, 4),
    "requests_per_second": (500.0, 501.0),
    "attempts": (2, 3),
    "retry_initial_s": (0.01, 0.02),
    "retry_max_s": (0.02, 0.03),
    "retry_total_s": (9.0, 10.0),
    "retry_after_max_s": (0.5, 0.6),
    "timeout_s": (19.0, 20.0),
    "connect_timeout_s": (4.0, 4.5),
    "read_timeout_s": (8.0, 9.0),
    "source_down_s": (1.5, 1.6),
    "sweep_timeout_s": (90.0, 91.0),
    "max_body_bytes": (900_000, 900_001),
    "max_pixels": (3_000_000, 3_000_001),
    "revalidate_days": (29.0, 28.0),
    "max_lost_share": (0.04, 0.06),
    "max_scans": (90, 91),
    "max_frames": (400, 401),
    "redirect_hosts": (["other.example"], []),
    "source_is_public": (False, False),  # the server is on loopback, which is no public address
    "trust_proxy": (True, False),
    "user_agent": ("tests", "other"),
    "history_keep": (4, 5),
    "sink_threads": (3, 2),
}
ENVIRONMENT: dict[str, Any] = {name: value for name, (value, _) in VALUES.items()}
FIELDS = [
    *(("flag_source", name) for name in SourceSettings.model_fields if name in ENVIRONMENT),
    *(("file_sink", name) for name in StoreSettings.model_fields if name in ENVIRONMENT),
]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FlagServer]:
    """One server for all tests of a field."""
    with running_flag_server() as server:
        yield server


@pytest.fixture
def settings(shared_server: FlagServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that come from the environment, each other than its default."""
    values = {**ENVIRONMENT, "source": shared_server.url, "store": tmp_path / "store"}
    for name, value in values.items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        monkeypatch.setenv(f"FLAG_{name.upper()}", text)
    return load_settings()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the run's resources were opened with, by name of the field, noted on the way to the real ones."""
    seen: dict[str, Any] = {}

    def note_source(given: SourceSettings) -> Any:
        seen.update({name: getattr(given, name) for name in SourceSettings.model_fields})
        return open_source(given)

    def note_store(root: str, *, threads: int) -> FileSink:
        seen.update(store=root, sink_threads=threads)
        return FileSink(root, threads=threads)

    def note_history(*parts: Any, **more: Any) -> Refresher:
        seen.update(history_keep=more["history_keep"])
        return Refresher(*parts, **more)

    monkeypatch.setattr(flags, "Refresher", note_history)
    monkeypatch.setattr(resources, "open_source", note_source)
    monkeypatch.setattr(resources, "FileSink", note_store)
    return seen


def launch(settings: Settings, config: Mapping[str, Any], **how: Any) -> dg.ExecuteInProcessResult:
    """Fetch CN in a run with the resources' configuration, and return its result, failed or not."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            run_config={**QUIET, "resources": config},
            raise_on_error=False,
            **{"partition_key": "CN", **how},
        )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The innermost reason of a run's failure, as the UI shows it."""
    error: Any = next(
        event.event_specific_data.error  # type: ignore[union-attr]
        for event in result.all_events
        if getattr(event.event_specific_data, "error", None)
    )
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip()


def test_every_field_of_the_resources_is_tried() -> None:
    """A new field has to be added to the values of this file."""
    assert {*SourceSettings.model_fields, *StoreSettings.model_fields} == {*ENVIRONMENT, "source", "store"}


@pytest.mark.parametrize(("key", "field"), FIELDS)
def test_one_field_leaves_the_others_alone(settings: Settings, opened: dict[str, Any], key: str, field: str) -> None:
    """Source, store and every other field of both resources are the environment's."""
    result = launch(settings, {key: {"config": {field: VALUES[field][1]}}})

    assert result.success
    assert opened == {**settings.model_dump(include={*ENVIRONMENT, "source", "store"}), field: VALUES[field][1]}
    assert (Path(settings.store) / "records" / "CN.json").is_file()


@pytest.mark.parametrize(
    "config", [{}, {"flag_source": {}}, {"flag_source": {"config": {}}, "file_sink": {"config": {}}}]
)
def test_empty_configuration_changes_nothing(
    settings: Settings, opened: dict[str, Any], config: dict[str, Any]
) -> None:
    """Each level of the configuration may be empty."""
    assert launch(settings, config).success

    assert (opened["source"], opened["store"]) == (settings.source, settings.store)
    assert opened["attempts"] == settings.attempts


def test_a_field_may_be_set_back_to_the_programs_default(settings: Settings, opened: dict[str, Any]) -> None:
    """The rate is limited in the environment, and run configuration lifts the limit."""
    assert launch(settings, {"flag_source": {"config": {"requests_per_second": None}}}).success

    assert opened["requests_per_second"] is None


def test_limits_hold_for_run_configuration_too(settings: Settings) -> None:
    """A value that the environment could not have fails the run."""
    assert "less than or equal to 20" in failure_of(launch(settings, {"flag_source": {"config": {"attempts": 99}}}))


def test_materialize_keeps_the_environments_fields(settings: Settings, opened: dict[str, Any]) -> None:
    """A user's test with `dg.materialize` gets the environment's values."""
    result = dg.materialize(
        [flag_assets(country_partitions(settings), max_per_run=None, source=settings.source)],
        partition_key="CN",
        resources=build_definitions(settings).resources,
        run_config={**QUIET, "resources": {"flag_source": {"config": {"attempts": 3}}}},
    )

    assert result.success
    assert (opened["source"], opened["store"], opened["attempts"]) == (settings.source, settings.store, 3)


def test_launchpad_shows_the_true_defaults(settings: Settings) -> None:
    """The schema that the UI fills its editor from has the environment's values."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    for key, names in (("flag_source", SourceSettings.model_fields), ("file_sink", StoreSettings.model_fields)):
        fields: Any = job.resource_defs[key].config_schema.config_type.fields  # type: ignore[union-attr]

        assert {name: fields[name].default_value for name in names} == settings.model_dump(include=set(names))


def test_dagsters_own_command_keeps_the_environments_fields(shared_server: FlagServer, tmp_path: Path) -> None:
    """`dagster job execute -c` in another process, which loads the code location from its environment."""
    config = tmp_path / "run.json"
    config.write_text(
        json.dumps(
            {
                "resources": {"flag_source": {"config": {"attempts": 3}}, "file_sink": {"config": {"sink_threads": 2}}},
                "ops": {"fetch_flags": {"config": {"countries": ["CN", "FR"]}}},
            }
        )
    )
    home = tmp_path / "home"
    home.mkdir()
    shared_server.requests.clear()

    subprocess.run(
        [sys.executable, *"-m dagster job execute -m flag_pipeline.definitions -j refresh_flags -c".split(), config],
        env={
            **os.environ,
            "DAGSTER_HOME": str(home),
            "FLAG_SOURCE": shared_server.url,
            "FLAG_STORE": str(tmp_path / "store"),
        },
        cwd=project_root(),
        check=True,
        capture_output=True,
    )

    assert set(shared_server.codes_asked_for()) == {"CN", "FR"}
    record = json.loads((tmp_path / "store" / "records" / "CN.json").read_text())
    assert shared_server.url in json.dumps(record)


# Places that run configuration must not name.


def test_source_that_is_not_allowed_is_refused_before_anything_is_asked_or_made(
    settings: Settings, flag_server: FlagServer
) -> None:
    """One line names the setting and the command; no request is sent and no folder is made."""
    result = launch(settings, {"flag_source": {"config": {"source": flag_server.url}}})

    assert not result.success
    assert failure_of(result).endswith(
        f"the configuration of this run names the source {flag_server.url}, which is not allowed here: add it to "
        f"FLAG_ALLOWED_SOURCES and reload, or use the command line: flag-pipeline retry --source {flag_server.url}"
    )
    assert flag_server.requests == []
    assert not Path(settings.store).exists()


@pytest.mark.parametrize("extra", ["", "/", "/x", "?x", "/.", "/../flags", "@x", ":80", "\\", "%2e"])
@pytest.mark.usefixtures("settings")
def test_source_that_only_resembles_an_allowed_one_is_refused(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One other than the slash at the end makes another address of it."""
    monkeypatch.setenv("FLAG_ALLOWED_SOURCES", "http://127.0.0.1:9/flags")

    message = failure_of(
        launch(load_settings(), {"flag_source": {"config": {"source": f"http://127.0.0.1:9/flags{extra}"}}})
    )

    assert ("not allowed" in message or "not shown" in message) == (extra not in {"", "/"})


@pytest.mark.parametrize("source", ["embedded@{url}", "flagcdn@{url}", "{url}/sub"])
def test_layout_or_path_at_the_environments_address_is_another_source(settings: Settings, source: str) -> None:
    """What is allowed is a source, not a host."""
    config = {"flag_source": {"config": {"source": source.format(url=settings.source)}}}

    assert "not allowed here" in failure_of(launch(settings, config))


@pytest.mark.parametrize("source", ["embedded", "{url}/", "{other}", "HTTP://{host}"])
def test_presets_the_environments_and_the_listed_sources_are_allowed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, flag_server: FlagServer, opened: dict[str, Any], source: str
) -> None:
    """Any spelling of the same base URL is accepted."""
    monkeypatch.setenv("FLAG_ALLOWED_SOURCES", f"https://a.example, {flag_server.url}/")
    host = settings.source.removeprefix("http://")
    named = source.format(url=settings.source, other=flag_server.url, host=host)

    assert launch(load_settings(), {"flag_source": {"config": {"source": named}}}).success

    assert opened["source"] == named


def test_what_settings_were_given_as_arguments_is_allowed(
    settings: Settings, flag_server: FlagServer, tmp_path: Path
) -> None:
    """The command line's options configure the run in its own process, and run configuration repeats them."""
    given = load_settings(source=flag_server.url, store=str(tmp_path / "other"))

    result = launch(
        given,
        {"flag_source": {"config": {"source": given.source}}, "file_sink": {"config": {"store": given.store}}},
    )

    assert result.success
    assert settings.source != given.source
    assert set(flag_server.codes_asked_for()) == {"CN"}


@pytest.mark.parametrize(
    "store",
    [
        "{tmp}/elsewhere",
        "{tmp}/store/below",
        "{tmp}/stores",
        "{tmp}/allowed-not",
        "{tmp}/allowed/../elsewhere",
        "{tmp}/allowed/link/x",
        "file://{tmp}/elsewhere",
        "file://{tmp}/allowed/../elsewhere",
        "FILE://{tmp}/allowed",
        "local://{tmp}/allowed",
        "simplecache::file://{tmp}/allowed",
        "memory://elsewhere",
        "memory://allowed-not",
        "memory://allowed/../elsewhere",
        "memory://allowed/x::file://{tmp}/elsewhere",
        "memory://allowed/%2e%2e/elsewhere",
        "s3://bucket/flags",
        "data",
        "~/flags",
    ],
)
@pytest.mark.usefixtures("settings")
def test_store_that_is_not_allowed_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_server: FlagServer, store: str
) -> None:
    """Other spellings of the path and links change nothing: no folder is made, and no request is sent."""
    for name in ("allowed", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("FLAG_ALLOWED_STORES", f"{tmp_path / 'allowed'},memory://allowed")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = sorted(tmp_path.rglob("*"))
    shared_server.requests.clear()

    message = failure_of(launch(load_settings(), {"file_sink": {"config": {"store": store.format(tmp=tmp_path)}}}))

    assert "not allowed here: add it to FLAG_ALLOWED_STORES" in message
    assert "flag-pipeline retry --store " in message
    assert "\n" not in message
    assert sorted(tmp_path.rglob("*")) == before
    assert shared_server.requests == []


@pytest.mark.parametrize(
    "store",
    [
        "{tmp}/store/",
        "{tmp}/elsewhere/../store",
        "file://{tmp}/store",
        "{tmp}/allowed",
        "{tmp}/allowed/below/it",
        "file://{tmp}/allowed/below",
        "memory://allowed/",
        "memory://allowed/below/it",
    ],
)
def test_the_environments_store_and_those_below_a_listed_one_are_allowed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: str
) -> None:
    """A path and a URL are accepted, with or without a slash at the end."""
    monkeypatch.setenv("FLAG_ALLOWED_STORES", f"{tmp_path / 'allowed'},memory://allowed")
    named = store.format(tmp=tmp_path)

    assert launch(load_settings(), {"file_sink": {"config": {"store": named}}}).success
    assert settings.store == str(tmp_path / "store")


def test_the_command_of_a_refusal_has_all_options(settings: Settings, tmp_path: Path) -> None:
    """A run with another source and another store is retried with both, quoted for a shell."""
    source, store = "http://127.0.0.1:9", str(tmp_path / "it's there")

    message = failure_of(
        launch(settings, {"flag_source": {"config": {"source": source}}, "file_sink": {"config": {"store": store}}})
    )

    assert f"flag-pipeline retry --source {source} --store '{tmp_path}/it'\"'\"'s there'" in message


def test_secret_in_run_configuration_is_not_shown(settings: Settings) -> None:
    """The user of the launchpad wrote it there; no event repeats it."""
    result = launch(settings, {"flag_source": {"config": {"source": "https://user:hunter2@x"}}})

    assert not result.success
    assert "not shown" in failure_of(result)
    assert all("hunter2" not in str(event) for event in result.all_events)
