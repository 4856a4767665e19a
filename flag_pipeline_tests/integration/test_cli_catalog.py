"""The commands around the catalog, as a shell runs them."""

import csv
import io
import json
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flag_pipeline.catalog.history import CHANGES_SCHEMA
from flag_pipeline.catalog.rows import CATALOG_SCHEMA, catalog_rows
from flag_pipeline.catalog.tables import render_table
from flag_pipeline.cli.app import app, main
from flag_pipeline.core.models import LastFailure
from flag_pipeline.errors import ErrorKind
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path
from flag_pipeline_tests.records import change_of, record_of, striped


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a catalog of three countries, two changes and a page."""
    records = {
        "CN": record_of("CN", striped("#de2910", "#ffde00")),
        "FR": record_of("FR", striped("blue", "red"), last_failure=LastFailure(ErrorKind.TIMEOUT, "[b]timed out[/b]")),
        "US": record_of("US", name="[red]x"),
    }
    files = {
        **dict(render_table(CATALOG_SCHEMA, "catalog", catalog_rows([], records, {}))),
        **dict(render_table(CHANGES_SCHEMA, "history", [change_of("FR", 9), change_of("CN", 2)])),
        "catalog/index.html": b"<!DOCTYPE html>",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def run(*arguments: object) -> Result:
    """Run the command line and return its result."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command line as a user does who has made a mistake: what stderr says, with exit code 2."""
    monkeypatch.setattr("sys.argv", ["flag-pipeline", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 2
    return capsys.readouterr().err


def test_catalog_is_a_table_for_people(store: Path) -> None:
    """Rows by code, with what went wrong below; markup in names and reasons is text."""
    result = run("catalog", "--store", store)

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["code", "CN", "FR", "US", "FR"]
    assert "[red]x" in result.stdout
    assert "FR timeout: [b]timed out[/b]" in result.stdout


def test_catalog_prints_chosen_rows_for_programs(store: Path) -> None:
    """JSON and CSV have the files' content for the named codes."""
    objects: Any = json.loads(run("catalog", "fr", "CN", "--json", "--store", store).stdout)
    rows = list(csv.DictReader(io.StringIO(run("catalog", "F", "--csv", "--store", store).stdout)))

    assert [row["code"] for row in objects] == ["CN", "FR"]
    assert [row["code"] for row in rows] == ["FR"]
    assert objects[1]["sha256"] == rows[0]["sha256"]


def test_changes_are_newest_first_and_since_cuts_them(store: Path) -> None:
    """A date means its first moment in UTC."""
    everything = run("changes", "--store", store)
    later: Any = json.loads(run("changes", "--since", "2026-01-02T03:05:00", "--json", "--store", store).stdout)
    none = run("changes", "--since", "2026-01-03", "--store", store)

    assert [line.split()[2] for line in everything.stdout.splitlines()[1:]] == ["FR", "CN"]
    assert [row["code"] for row in later] == ["FR"]
    assert none.stdout == "No flag has changed.\n"
    assert run("changes", "--csv", "--store", store).stdout.startswith("code,changed_at,")


def test_open_opens_the_page(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser gets a file address; without a browser the address is still printed."""
    opened: list[str] = []

    def open_in(address: str) -> bool:
        opened.append(address)
        return len(opened) == 1

    monkeypatch.setattr(webbrowser, "open", open_in)

    first, second = run("open", "--store", store), run("open", "--store", store)

    assert opened[0] == (store / "catalog" / "index.html").as_uri()
    assert first.stdout.strip() == second.stdout.strip() == opened[0]
    assert (first.exit_code, second.exit_code) == (0, 1)


@pytest.mark.parametrize("command", ["catalog", "changes", "open"])
def test_without_a_catalog_one_line_says_what_to_do(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was fetched to that place: no traceback, and no folder is made."""
    said = complaint(monkeypatch, capsys, command, "--store", tmp_path / "elsewhere")

    assert said.count("\n") == 1
    assert "flag-pipeline run creates it" in said
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("catalog", "--json", "--csv"), "choose one"),
        (("catalog", "QQ"), "selects no country"),
        (("open", "--store", "memory://flags"), "a browser cannot open"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...],
    said: str,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be meant is said, not guessed."""
    monkeypatch.setenv("FLAG_STORE", str(store))

    assert said in complaint(monkeypatch, capsys, *arguments)


@pytest.mark.parametrize("path", ["catalog/catalog.json", "history/changes.json"])
def test_tables_of_another_version_are_not_guessed_at(
    path: str, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A catalog without today's columns has to be made again."""
    (store / path).write_text('[{"code": "CN"}]')
    command = "catalog" if path.startswith("catalog") else "changes"

    assert "of another version" in complaint(monkeypatch, capsys, command, "--store", store)


def test_catalog_prints_names_in_other_languages(store: Path) -> None:
    """Countries are found by any name, and the rows have the names of the language."""
    result = run("catalog", "Peoples Republic of China", "--language", "fr", "--json", "--store", store)

    assert [row["name"] for row in json.loads(result.stdout)] == ["Chine"]


def test_coverage_asks_what_the_source_has(flag_server: FlagServer) -> None:
    """Two countries that it lacks are named; each was asked for once."""
    for code in ("AQ", "BV"):
        flag_server.script(flag_url_path(code), [answer(404)])

    result = run("coverage", "--source", flag_server.url)

    assert result.exit_code == 0
    assert "has 247 of 249 countries." in result.stdout
    assert "It lacks AQ BV." in result.stdout
    assert len(flag_server.requests) == 249


def test_coverage_of_every_pair_finds_codes_beyond_the_standard(flag_server: FlagServer) -> None:
    """Over AA to ZZ: the European Union, Kosovo, the United Nations and some islands have flags too."""
    result = run("coverage", "--every", "--source", flag_server.url)

    assert "Beyond ISO 3166-1 it has AC CP CQ DG EA EU IC TA UN XK." in result.stdout
    assert len(flag_server.requests) == 26 * 26


def test_coverage_that_is_not_known_is_not_made_up(flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A country that answers nonsense is neither there nor lacking; the exit code says that something is open."""
    monkeypatch.setenv("FLAG_ATTEMPTS", "1")
    flag_server.script(flag_url_path("FR"), [answer(500)])

    result = run("coverage", "--json", "--source", flag_server.url)

    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert list(found["unknown"]) == ["FR"]
    assert "FR" not in found["has"] + found["lacks"]
    assert found["beyond_iso_3166_1"] == []
