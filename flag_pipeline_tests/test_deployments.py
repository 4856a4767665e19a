"""The files of deploy/ say the same as the program, as far as that can be seen without an engine or a cluster."""

import re
from pathlib import Path
from typing import Any

import pytest
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema, validate_concurrency_config
from dagster_shared.yaml_utils import load_yaml_from_path

from flag_pipeline.settings import Settings, project_root

DEPLOY = project_root() / "deploy"


def yaml_of(name: str) -> Any:
    """The document in one of the files."""
    return load_yaml_from_path(str(DEPLOY / name))


def test_dagster_takes_the_instance_of_the_fleet() -> None:
    """Every key and value of it."""
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


def test_slots_are_workers_times_concurrency() -> None:
    """Compose starts as many as the instance reckons with."""
    worker = yaml_of("distributed/compose.yaml")["services"]["worker"]
    concurrency = int(worker["command"][worker["command"].index("--concurrency") + 1])

    slots = yaml_of("distributed/dagster.yaml")["concurrency"]["runs"]["max_concurrent_runs"]
    assert worker["deploy"]["replicas"] * concurrency == slots


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("*.*")), ids=lambda file: file.name)
def test_settings_that_are_named_exist(file: Path) -> None:
    """A misspelt FLAG_ name would be ignored without a word; FLAG_VERSION is the image's, not ours."""
    named = set(re.findall(r"\bFLAG_([A-Z_]+)\b", file.read_text(encoding="utf-8"))) if file.is_file() else set()

    assert {name.lower() for name in named} <= {*Settings.model_fields, "version"}
