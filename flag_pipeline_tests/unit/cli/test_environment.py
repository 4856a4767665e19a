"""Variables from `.env` in the current folder, and what the process refuses before it reads anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster._core.secrets.env_file import get_env_var_dict

from flag_pipeline.cli.environment import read_env_file
from flag_pipeline.errors import ConfigurationError

FILE = """\
# what dotenv understands
export FLAG_STORE='a "quoted" folder'
FLAG_SOURCE=flagcdn # a comment
FLAG_USER_AGENT="two
lines"
DAGSTER_HOME=${FLAG_TEST_ROOT}/home
FLAG_DEBUG
FLAG_EXTRA_CODES=
"""
NAMES = ("FLAG_STORE", "FLAG_SOURCE", "FLAG_USER_AGENT", "DAGSTER_HOME", "FLAG_DEBUG", "FLAG_EXTRA_CODES")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and an environment in which each variable is empty."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("FLAG_TEST_ROOT", "/srv")
    return tmp_path


def test_the_file_is_read_as_dagster_reads_it(folder: Path) -> None:
    """Quotes, comments, `export` and references mean what they mean to `dg` and `dagster`."""
    (folder / ".env").write_text(FILE)
    expected = get_env_var_dict(str(folder))

    read_env_file()

    assert expected["DAGSTER_HOME"] == "/srv/home"
    assert {name: os.environ[name] for name in expected} == expected
    assert os.environ["FLAG_DEBUG"] == ""


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of this one command is a choice; the file has what is usual in the folder."""
    (folder / ".env").write_text(FILE)
    monkeypatch.setenv("FLAG_STORE", "mine")

    read_env_file()

    assert os.environ["FLAG_STORE"] == "mine"
    assert os.environ["FLAG_SOURCE"] == "flagcdn"


def test_no_file_changes_nothing(folder: Path) -> None:
    """Without the file, or with a folder of its name, the environment stays as it is."""
    before = dict(os.environ)

    read_env_file()
    (folder / ".env").mkdir()
    read_env_file()

    assert dict(os.environ) == before


def test_a_file_in_another_encoding_is_named(folder: Path) -> None:
    """The error has the file's path and what to do."""
    (folder / ".env").write_bytes("FLAG_STORE=Färöer".encode("latin-1"))

    with pytest.raises(ConfigurationError, match=r"\.env is not UTF-8: save it in that encoding"):
        read_env_file()


def test_the_command_reads_it(folder: Path) -> None:
    """`flag-pipeline` checks the settings of the file like those of the environment."""
    (folder / ".env").write_text("FLAG_SORCE=flagcdn\n")

    done = subprocess.run(
        [sys.executable, "-m", "flag_pipeline", "run", "CN"], check=False, capture_output=True, text=True, cwd=folder
    )

    assert (done.returncode, done.stderr) == (
        2,
        "flag-pipeline: FLAG_SORCE is not a setting; did you mean FLAG_SOURCE?\n",
    )


def test_windows_is_told_what_is_supported() -> None:
    """There the command ends before it imports `fcntl`, with one line."""
    program = (
        "import sys; sys.platform = 'win32'; sys.modules['fcntl'] = None; import flag_pipeline.__main__ as m; m.run()"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith("flag-pipeline: Windows is not supported: use Linux, macOS")
    assert done.stderr.count("\n") == 1
