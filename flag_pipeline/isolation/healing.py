"""The healing sensor: when failed partitions run again."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from flag_pipeline.isolation.event_tags import DEFAULT_TAGS, EventTags
from flag_pipeline.isolation.partitions_config import PartitionsConfig
from flag_pipeline.isolation.status import LastMiss, read_statuses

Choose = Callable[[Mapping[str, LastMiss]], tuple[Mapping[str, LastMiss], str]]

NAMED = 20
MAX_TAG_CHARS = 200
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class HealingPolicy:
    """How often failed partitions are run again.

    Attempt *n* + 1 starts `delay_s * 2 ** n` seconds after the latest failure, until `max_attempts`. A delivery by
    another run resets the count.
    """

    max_attempts: int = 3
    delay_s: float = 300.0


@dataclass(frozen=True, slots=True)
class HealingPlan:
    """The decision of one tick.

    Attributes:
        keys: partitions to run now, sorted.
        attempts: by failed partition, these included.
        run_key: identical for the same attempt at the same failures.
        explanation: of partitions that are not run.
    """

    keys: list[str]
    attempts: dict[str, int]
    run_key: str
    explanation: str


def plan_healing(
    failed: Mapping[str, LastMiss],
    attempts: Mapping[str, int],
    policy: HealingPolicy,
    *,
    now: float,
    may_pass: Callable[[LastMiss], bool] = lambda miss: miss.is_transient,
) -> HealingPlan:
    """Return which *failed* partitions to run again at *now* (seconds since the epoch).

    *attempts* are earlier ones by key; *may_pass* selects failures. Partitions due within `policy.delay_s` join the due
    ones, because a run's failures are recorded seconds apart.
    """
    done = {key: attempts.get(key, 0) for key in failed}
    lasting = sorted(key for key, miss in failed.items() if not may_pass(miss))
    exhausted = sorted(failed.keys() - {*lasting, *(key for key in failed if done[key] < policy.max_attempts)})
    candidates = failed.keys() - {*lasting, *exhausted}
    due_at = {key: failed[key].at + policy.delay_s * 2 ** done[key] for key in candidates}
    is_due = any(at <= now for at in due_at.values())
    keys = sorted(key for key, at in due_at.items() if is_due and at <= now + policy.delay_s)
    return HealingPlan(
        keys=keys,
        attempts={key: number + (key in keys) for key, number in sorted(done.items()) if number or key in keys},
        run_key=_run_key({key: (failed[key].storage_id, done[key]) for key in keys}),
        explanation=_explain(lasting, exhausted, waiting=sorted(candidates - set(keys))),
    )


def _run_key(attempted: Mapping[str, tuple[int, int]]) -> str:
    # Dagster starts one run per key, and runs that recorded nothing leave the same failures.
    text = " ".join(f"{key}:{storage_id}:{done}" for key, (storage_id, done) in sorted(attempted.items()))
    return f"heal-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _explain(lasting: list[str], exhausted: list[str], *, waiting: list[str]) -> str:
    reasons = (
        ("Waiting before the next attempt", waiting),
        ("Given up after the last attempt, run them by hand", exhausted),
        ("Failed for a reason that does not pass by itself, see their observations", lasting),
    )
    texts = [f"{reason}: {_first(keys)}." for reason, keys in reasons if keys]
    return " ".join(texts) or "No partition has failed."


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{' '.join(keys[:NAMED])}{more}"


def healing_sensor(  # noqa: PLR0913 - most are optional
    asset: dg.AssetsDefinition,
    job: Any,
    *,
    name: str | None = None,
    policy: HealingPolicy | None = None,
    run_config: Callable[[Sequence[str]], Mapping[str, Any]] | None = None,
    may_pass: Callable[[LastMiss], bool] = lambda miss: miss.is_transient,
    choose: Choose = lambda failed: (failed, ""),
    run_tags: Mapping[str, str] | None = None,
    event_tags: EventTags = DEFAULT_TAGS,
    **options: Any,
) -> dg.SensorDefinition:
    """Return a sensor that runs failed partitions again, in one run of *job*, with growing delays and a limit.

    The asset's function needs a parameter `config: PartitionsConfig`, unless *run_config* makes the configuration from
    keys. *may_pass* selects failures; *choose* returns those to heal and a text about the others. Runs get *run_tags*;
    *options* go to `dg.SensorDefinition`. It requests nothing during a run of the job or asset. Raises
    `dg.DagsterInvalidDefinitionError` without partitions or that parameter.
    """
    partitions_def = asset.partitions_def
    if partitions_def is None:
        raise dg.DagsterInvalidDefinitionError(f"healing_sensor: {asset.op.name} has no partitions.")
    make_config = run_config or _listing(asset)
    chosen_policy = policy or HealingPolicy()
    name = name or f"heal_{asset.op.name}"

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if run := _unfinished_run(context.instance, asset, getattr(job, "name", None)):
            return dg.SkipReason(f"Run {run.run_id} has not ended; never two at once.")
        failed, others = choose(_failed(context.instance, asset, partitions_def, event_tags))
        if others:
            context.log.info(others)
        attempts = {str(key): int(number) for key, number in json.loads(context.cursor or "{}").items()}
        plan = plan_healing(failed, attempts, chosen_policy, now=time.time(), may_pass=may_pass)
        cursor = json.dumps(plan.attempts)
        if not plan.keys:
            texts = [others, plan.explanation] if failed or not others else [others]
            return dg.SensorResult(skip_reason=" ".join(texts).strip(), cursor=cursor)
        request = dg.RunRequest(
            run_key=plan.run_key,
            run_config=make_config(plan.keys),
            tags={f"{event_tags.namespace}/healing": ",".join(plan.keys)[:MAX_TAG_CHARS], **(run_tags or {})},
        )
        return dg.SensorResult([request], cursor=cursor)

    options = {"description": "Runs partitions again that failed for a reason that may pass.", **options}
    return dg.SensorDefinition(name=name, job=job, evaluation_fn=evaluate, **options)


def _listing(asset: dg.AssetsDefinition) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    compute: Any = asset.op.compute_fn
    if not (compute.has_config_arg() and issubclass(compute.get_config_arg().annotation, PartitionsConfig)):
        raise dg.DagsterInvalidDefinitionError(
            f"healing_sensor: {asset.op.name} cannot be run for a list of partitions. Give its function a parameter"
            " `config: PartitionsConfig`, or pass run_config."
        )
    return lambda keys: {"ops": {asset.op.name: {"config": {"partition_keys": list(keys)}}}}


def _failed(
    instance: dg.DagsterInstance,
    asset: dg.AssetsDefinition,
    partitions_def: dg.PartitionsDefinition[Any],
    tags: EventTags,
) -> dict[str, LastMiss]:
    keys = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    failed = dict[str, LastMiss]()
    for asset_key in sorted(asset.keys):
        failed.update(read_statuses(instance, asset_key, keys, tags).failed)
    return failed


def _unfinished_run(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, job_name: str | None
) -> dg.DagsterRun | None:
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if run.job_name == job_name or set(asset.keys) & set(run.asset_selection or ()):
            return run
    return None
