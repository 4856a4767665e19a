"""What a shell completes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flag_pipeline.cli.arguments import complete_codes, complete_source, complete_store


def completed(shell: str, line: str, folder: Path) -> str:
    """Return what the installed command answers when *shell* asks how to go on with *line*."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run(
        [Path(sys.executable).with_name("flag-pipeline")],
        env={**os.environ, **words, "_FLAG_PIPELINE_COMPLETE": f"complete_{shell}"},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_a_code_is_completed_with_its_name() -> None:
    """Codes that begin with the typed letters are offered, each with the country's name."""
    assert dict(complete_codes("F"))["FR"] == "France"
    assert {code[0] for code, _ in complete_codes("F")} == {"F"}


def test_the_last_code_of_a_list_is_completed_in_its_case() -> None:
    """What stands before the last comma stays, because the shell replaces the whole word."""
    assert ("DE,FR", "France") in list(complete_codes("DE,F"))
    assert ("de,fr", "France") in list(complete_codes("de,f"))


def test_a_source_is_completed_from_the_presets() -> None:
    """The presets that begin with the typed letters are offered."""
    assert complete_source("flagc") == ["flagcdn", "flagcdn-svg"]
    assert complete_source("flag-") == ["flag-icons", "flag-icons-square"]


def test_a_store_is_completed_from_the_folders(tmp_path: Path) -> None:
    """Folders are offered, files are not; a folder that does not exist has none."""
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags.csv").touch()

    assert complete_store(f"{tmp_path}/f") == [f"{tmp_path}/flags/"]
    assert complete_store(f"{tmp_path}/") == [f"{tmp_path}/flags/"]
    assert complete_store(f"{tmp_path}/none/f") == []


@pytest.mark.parametrize(
    ("shell", "line", "answer"),
    [
        ("bash", "flag-pipeline run F", "FR"),
        ("bash", "flag-pipeline run --source f", "flagcdn"),
        ("zsh", "flag-pipeline retry f", '"fr":"France"'),
        ("fish", "flag-pipeline stat", "status"),
    ],
)
def test_shells_are_answered(tmp_path: Path, shell: str, line: str, answer: str) -> None:
    """The scripts that `--show-completion` prints ask the command itself."""
    environment = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)

        assert answer in completed(shell, line, tmp_path)
