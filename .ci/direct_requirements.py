"""The direct requirements of the package and its tests: printed, or with `--lowest` compared with what is installed."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

NAME, LOWEST = re.compile(r"[\w-]+"), re.compile(r">=([\w.]+)")


def requirements() -> list[str]:
    """Return those of the package, its extras and the groups that the tests need."""
    settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = settings["project"], settings["dependency-groups"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), groups["dev"], groups["distributed"]]
    return sorted({line for lines in lists for line in lines if not line.startswith(project["name"])})


def not_lowest() -> list[str]:
    """Return the requirements of which another version than the lowest is installed."""
    return [
        f"{line}, but {installed} is installed"
        for line in requirements()
        if (lowest := LOWEST.search(line)) and (name := NAME.match(line))
        if not f"{(installed := importlib.metadata.version(name[0]))}.".startswith(f"{lowest[1]}.")
    ]


if __name__ == "__main__":
    print(*(not_lowest() if "--lowest" in sys.argv else requirements()), sep="\n")
    sys.exit(1 if "--lowest" in sys.argv and not_lowest() else 0)
