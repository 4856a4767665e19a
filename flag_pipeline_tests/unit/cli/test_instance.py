"""The folder of the Dagster instance: a new one gets this package's settings, any other is left as it is."""

from pathlib import Path

import pytest

from flag_pipeline.cli.instance import SETTINGS, is_new, prepare, say_that_there_is_none
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import project_root


def content_of(folder: Path) -> dict[str, bytes | None]:
    """What is in the folder: the files by name, with None in place of a folder's content."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def test_the_checkout_has_the_settings_of_the_package() -> None:
    """`dg` and `dagster` read the file of `dagster_home/`, which has the same bytes as the package's."""
    assert (project_root() / "dagster_home" / "dagster.yaml").read_bytes() == SETTINGS.read_bytes()


@pytest.mark.parametrize("names", [[], ["lost+found/"], [".gitkeep", ".DS_Store"], ["ui.lock"], [".flag-pipeline-99"]])
def test_a_new_instance_gets_the_settings(tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without content gets them, and a line on stderr names the instance and the store."""
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()

    prepare(tmp_path, "/flags", is_verbose=False)

    assert (tmp_path / "dagster.yaml").read_bytes() == SETTINGS.read_bytes()
    assert len(content_of(tmp_path)) == len(names) + 1
    assert capsys.readouterr() == (
        "",
        f"flag-pipeline: new Dagster instance in {tmp_path}; files are stored in /flags\n",
    )


def test_an_instance_with_these_settings_alone_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run of a checkout makes its instance, too; its file of settings is not written again."""
    settings = tmp_path / "dagster.yaml"
    settings.write_bytes(SETTINGS.read_bytes())
    written_at = settings.stat().st_mtime_ns

    assert is_new(tmp_path)
    prepare(tmp_path, "/flags", is_verbose=False)

    assert settings.stat().st_mtime_ns == written_at
    assert "new Dagster instance" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        (None, "has no dagster.yaml"),
        ("", "lacks telemetry, nux, event_log_storage, "),
        ("just text", "lacks telemetry, nux, event_log_storage, "),
        (SETTINGS.read_text().replace("telemetry:", "python_logs:"), "lacks telemetry, so "),
        (SETTINGS.read_text().replace("default_limit: 1", ""), "lacks concurrency.pools.default_limit, so "),
    ],
)
def test_an_instance_of_others_is_left_as_it_is(
    tmp_path: Path, settings: str | None, lacks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where Dagster has recorded something, nothing is written: a line says what is missing and how to add it."""
    (tmp_path / "history").mkdir()
    if settings is not None:
        (tmp_path / "dagster.yaml").write_text(settings)
    before = content_of(tmp_path)

    assert not is_new(tmp_path)
    prepare(tmp_path, "/flags", is_verbose=False)

    assert content_of(tmp_path) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert lacks in line
    assert str(SETTINGS) in line


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS.read_text() + "# one more line\n",
        SETTINGS.read_text().replace("flag_pipeline.dagster_storage.sqlite_event_log", "flag_pipeline.event_log"),
        SETTINGS.read_text().replace("dequeue_interval_seconds: 1", "max_concurrent_runs: 5"),
        "not: [yaml",
    ],
)
def test_a_complete_instance_is_opened_without_a_word(
    tmp_path: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other values are its owner's choice, and Dagster itself reports a file that it cannot read."""
    (tmp_path / "history").mkdir()
    (tmp_path / "dagster.yaml").write_text(settings)

    prepare(tmp_path, "/flags", is_verbose=False)

    assert capsys.readouterr().err == ""


def test_a_storage_for_all_takes_the_place_of_the_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An instance on Postgres has the block `storage`, and lacks none of the others."""
    (tmp_path / "history").mkdir()
    blocks = SETTINGS.read_text().split("\n\n")
    kept = [block for block in blocks if "_storage:" not in block]
    (tmp_path / "dagster.yaml").write_text("\n\n".join([*kept, "storage:\n  postgres: {}\n"]))

    prepare(tmp_path, "/flags", is_verbose=False)

    assert capsys.readouterr().err == ""


def test_verbose_names_instance_and_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `-v` they are named although the instance is not new."""
    prepare(tmp_path, "/flags", is_verbose=False)
    (tmp_path / "history").mkdir()
    capsys.readouterr()

    prepare(tmp_path, "s3://flags/all", is_verbose=True)

    line = f"flag-pipeline: Dagster instance in {tmp_path}; files are stored in s3://flags/all\n"
    assert capsys.readouterr().err == line


def test_an_instance_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A folder that takes no file is named, with what to check."""
    with pytest.raises(ConfigurationError, match=r"no Dagster instance can be made in .*gone .*check that it is writ"):
        prepare(tmp_path / "gone", "/flags", is_verbose=False)


def test_there_may_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that only reads says how to make one."""
    say_that_there_is_none(tmp_path)

    assert capsys.readouterr().err.endswith("yet: flag-pipeline run makes one\n")
