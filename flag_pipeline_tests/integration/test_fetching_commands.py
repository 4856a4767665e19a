"""`run`, `retry` and `status` on a persistent instance: what they cost, what they leave, what they say."""

import gc
import json
import re
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import pytest

from flag_pipeline.cli import runs
from flag_pipeline.cli.run_locks import COMMAND_LINE, LAUNCHED_BY_TAG
from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline.definitions import build_definitions
from flag_pipeline.settings import load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path, head, metadata_url_path, raw
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.shell import Shell

pytestmark = pytest.mark.timeout(180)

ESCAPE = "\x1b[31m"


def state_of(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, time and size of everything below *root*, folders included: they tell of files that came and went."""
    found = {str(path.relative_to(root)): path.lstat() for path in root.rglob("*")}
    return {path: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


def test_unchanged_refresh_of_the_world_rewrites_nothing(shell: Shell, flag_server: FlagServer) -> None:
    """249 countries, 498 questions, 498 times 304 without a body, and no file or folder of the store is touched."""
    source = ("--source", flag_server.url)
    first = shell.json("run", *source)
    before = state_of(shell.store)
    flag_server.requests.clear()
    flag_server.body_bytes = 0

    second = shell.json("run", *source)

    assert (first["saved"], first["requests"]) == (249, 498)
    assert (second["unchanged"], second["requests"], second["bytes"], second["retries"]) == (249, 498, 0, 0)
    assert (len(flag_server.requests), flag_server.statuses[304], flag_server.body_bytes) == (498, 498, 0)
    assert {len(list((shell.store / folder).iterdir())) for folder in ("flags", "metadata")} == {249}
    assert state_of(shell.store) == before


def n_rebuilt() -> int:
    """How often the catalog was rebuilt."""
    with runs.open_instance() as instance:
        return len(instance.get_runs(dg.RunsFilter(job_name="rebuild_catalog")))


def test_catalog_is_rebuilt_only_when_something_changed(shell: Shell, flag_server: FlagServer) -> None:
    """The command says that it is unchanged; the check of its age is still evaluated."""
    source = ("run", "CN,FR", "--source", flag_server.url)
    shell(*source)
    with runs.open_instance() as instance:
        [before] = instance.fetch_materializations(dg.AssetKey("flag_catalog"), limit=1).records

    said = shell(*source).stdout

    assert "catalog.csv, 249 rows, unchanged" in said
    assert n_rebuilt() == 1
    key = dg.AssetCheckKey(dg.AssetKey("flag_catalog"), "fresh")
    with runs.open_instance() as instance:
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    targets = [record.event.dagster_event.asset_check_evaluation_data.target_materialization_data for record in history]  # type: ignore[union-attr]
    assert [target and target.storage_id for target in targets] == [before.storage_id] * 2
    flag_server.script(flag_url_path("FR"), [answer(200, striped("red", "gold", kind="GIF"))])
    assert shell.json(*source)["catalog_rows"] == 249
    assert n_rebuilt() == 2


@pytest.mark.parametrize("lost", ["catalog/index.html", "records/CN.json"])
def test_catalog_is_rebuilt_when_its_files_or_the_records_are_lost(
    shell: Shell, flag_server: FlagServer, lost: str
) -> None:
    """The run itself has nothing to save of the others."""
    shell("run", "CN,FR", "--source", flag_server.url)
    (shell.store / lost).unlink()

    shell("run", "FR", "--source", flag_server.url)

    assert n_rebuilt() == 2
    assert (shell.store / "catalog/index.html").exists()


def test_catalog_is_rebuilt_for_another_store_or_instance(
    shell: Shell, flag_server: FlagServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance's assets then show what is in the store."""
    for store in ("other", "", "other"):
        shell("run", "CN", "--source", flag_server.url, *(["--store", str(tmp_path / store)] if store else []))
    assert n_rebuilt() == 3
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home2"))

    shell("run", "CN", "--source", flag_server.url)

    assert n_rebuilt() == 1


def unused_port() -> int:
    """A loopback port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def know_no_name(host: object, *_rest: object, **_more: object) -> NoReturn:
    """Look a name up as a system without any DNS server does; the question does not leave the process."""
    raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}")


@pytest.mark.parametrize("how", ["refused", "unknown to DNS"])
def test_host_that_is_down_costs_seconds_and_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """All 249 fail with kind `source_down`, long before 15 seconds: exit code 1, one reason, all in the catalog."""
    if how == "refused":
        url = f"http://127.0.0.1:{unused_port()}"
    else:
        url = "http://flags.invalid"
        monkeypatch.setattr(socket, "getaddrinfo", know_no_name)

    said = shell("run", "--source", url, expect=1).stdout

    standing = shell.json("status")["flag_image"]
    spent = re.search(r"^(\d+) requests, \d+ retries, 0\.0 kB, ([\d.]+) s$", said, re.MULTILINE)
    lines = [line for line in said.splitlines() if "source_down" in line]
    assert len(lines) == 1
    assert re.match(r"AD AE .+ and 237 more source_down: ", lines[0])
    assert spent is not None
    assert int(spent[1]) < 100
    assert float(spent[2]) < 15
    assert said.startswith("249 requested: 0 saved, 0 unchanged, 0 not found, 249 failed\n")
    assert (len(standing["failed"]), standing["materialized"]) == (249, 0)
    assert "catalog.csv, 249 rows" in said


def test_what_fails_is_listed_and_retried_alone(shell: Shell, flag_server: FlagServer) -> None:
    """A scattered failure, a country that the source lacks, and a retry that asks for these and nothing else."""
    source = ("--source", flag_server.url)
    flag_server.break_country("AL", answer(500))
    flag_server.break_country("AQ", answer(404))

    said = shell("run", "A", *source, expect=1).stdout
    told = shell("status").stdout
    flag_server.break_country("AL")
    flag_server.requests.clear()
    healed = shell.json("retry", *source)
    nothing = shell("run", "A", *source, "--verbose").stdout

    assert f"AL server_error: {flag_server.url}/al/metadata.json answered 500" in said
    assert "The source does not have AQ." in said
    assert "flag-pipeline retry" in said
    assert "AL server_error" in told
    assert (healed["saved"], healed["not_found"], healed["requested"]) == (234, ["AQ"], 235)
    assert "0 saved, 15 unchanged, 1 not found, 0 failed" in nothing


def test_retry_of_some_countries_leaves_the_others(shell: Shell, flag_server: FlagServer) -> None:
    """`retry AFG` fetches Afghanistan again, and leaves Albania, which failed too, and Andorra, which did not."""
    source = ("--source", flag_server.url)
    for code in ("AF", "AL"):
        flag_server.break_country(code, answer(500))
    shell("run", "A", *source, expect=1)
    for code in ("AF", "AL"):
        flag_server.break_country(code)

    retried = shell.json("retry", "AFG,AD", *source)

    assert (retried["requested"], retried["saved"]) == (1, 1)
    assert shell.json("status")["flag_image"]["failed"] == ["AL"]


def test_store_that_cannot_be_used_is_one_line(shell: Shell, flag_server: FlagServer) -> None:
    """A file in place of the folder: nothing is asked of the source, exit code 1 and the reason."""
    shell.store.write_bytes(b"")

    result = shell("run", "CN", "--source", flag_server.url, expect=1)

    assert "The run failed: cannot use" in result.stdout
    assert "Not a directory" in result.stdout or "File exists" in result.stdout
    assert flag_server.requests == []


def test_store_that_cannot_even_be_looked_for_is_one_line(shell: Shell, flag_server: FlagServer) -> None:
    """The run says so and is recorded, although the command looks into the store before it."""
    result = shell("run", "CN", "--source", flag_server.url, "--store", str(shell.store / ("a" * 300)), expect=1)

    assert "The run failed: cannot use" in result.stdout
    assert "File name too long" in result.stdout
    assert flag_server.requests == []


@pytest.mark.parametrize("command", ["run", "status", "catalog"])
def test_hostile_answers_do_not_reach_the_terminal(shell: Shell, flag_server: FlagServer, command: str) -> None:
    """Names, redirect targets, reason phrases and header names: escape sequences and markup are shown, not obeyed."""
    flag_server.script(metadata_url_path("AD"), [answer(200, _document("AD", f"{ESCAPE}red"))])
    flag_server.script(metadata_url_path("AE"), [raw(head("302 Found", Location=f"http://evil.example/{ESCAPE}"))])
    flag_server.script(metadata_url_path("AF"), [answer(200, _document("AF", "[bold]x :smile: [link=http:e]"))])
    flag_server.script(metadata_url_path("AG"), [raw(f"HTTP/1.1 200 {ESCAPE}\x07\r\nX{ESCAPE}: y\r\n\r\n".encode())])
    run = shell("run", "AD", "AE", "AF", "AG", "--source", flag_server.url, expect=1)

    said = run.output if command == "run" else shell(command).output

    assert re.sub(r"\s", "", said).isprintable()
    assert "AE" in said
    if command == "catalog":
        # Shown as they are, not as bold text, a picture and a link.
        assert {"[bold]x", ":smile:", "[link=http:e]"} <= {*said.split()}


def runs_by_job(job_name: str) -> dict[str, dg.DagsterRunStatus]:
    """How the stored runs of a job ended, by run."""
    with runs.open_instance() as instance:
        stored = instance.get_runs(dg.RunsFilter(job_name=job_name))
        return {run.run_id: run.status for run in stored}


def store_run(instance: dg.DagsterInstance, **like: Any) -> dg.DagsterRun:
    """Store a fetching run that is under way."""
    job = build_definitions(load_settings()).resolve_job_def("refresh_flags")
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, **like)


def test_a_reexecution_elsewhere_repeats_source_and_store_or_is_refused(
    shell: Shell, flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run configuration has source, store and options, not the environment's limits; the source has to be allowed."""
    monkeypatch.setenv("FLAG_ATTEMPTS", "1")
    flag_server.break_country("FR", answer(500))
    run_id = shell.json("run", "FR", "--source", flag_server.url, "-m", "2", expect=1)["run_id"]
    flag_server.break_country("FR")
    flag_server.requests.clear()

    with runs.open_instance() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        results = []
        for allowed in ("", flag_server.url):
            monkeypatch.setenv("FLAG_ALLOWED_SOURCES", allowed)
            job = build_definitions(load_settings()).resolve_job_def("refresh_flags")
            results.append(
                job.execute_in_process(
                    run_config=run.run_config, partition_key="FR", instance=instance, raise_on_error=False
                )
            )

    refused, repeated = results
    assert run.run_config["resources"] == {
        "flag_source": {"config": {"source": flag_server.url, "max_requests": 2}},
        "file_sink": {"config": {"store": str(shell.store)}},
    }
    assert not refused.success
    assert (
        f"add it to FLAG_ALLOWED_SOURCES and reload, or use the command line: flag-pipeline retry --source"
        f" {flag_server.url}"
    ) in runs._error_of(refused.all_events)  # noqa: SLF001 - the line that the command line would print
    assert repeated.success
    assert set(flag_server.codes_asked_for()) == {"FR"}


def test_a_reexecution_under_way_is_left_alone(shell: Shell, flag_server: FlagServer) -> None:
    """It carries the tags of the command line's run that it repeats, but another process executes it."""
    flag_server.break_country("CN", answer(500))
    parent_id = shell.json("run", "CN", "--source", flag_server.url, expect=1)["run_id"]
    with runs.open_instance() as instance:
        parent = instance.get_run_by_id(parent_id)
        assert parent is not None
        child = store_run(instance, tags=parent.tags, parent_run_id=parent_id, root_run_id=parent_id)

    shell("run", "US", "--source", flag_server.url)

    assert runs_by_job("refresh_flags")[child.run_id] == dg.DagsterRunStatus.STARTED


def test_a_run_is_seen_to_be_alive_from_the_moment_it_is_stored(
    shell: Shell, flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command that comes at that very moment leaves it alone; neither leaves a file behind."""
    create = dg.DagsterInstance.create_run_for_job

    def create_and_be_looked_at(instance: dg.DagsterInstance, *given: Any, **named: Any) -> dg.DagsterRun:
        run = create(instance, *given, **named)
        if run.job_name == "refresh_flags":
            runs.rebuild(instance, load_settings())
            seen.append(runs_by_job("refresh_flags")[run.run_id])
        return run

    seen: list[dg.DagsterRunStatus] = []
    with monkeypatch.context() as watched:
        watched.setattr(dg.DagsterInstance, "create_run_for_job", create_and_be_looked_at)

        shell("run", "CN", "--source", flag_server.url)

    assert seen == [dg.DagsterRunStatus.NOT_STARTED]
    assert list((shell.store.parent / "home/command_line_runs").iterdir()) == []


def test_a_run_that_ends_while_it_is_judged_keeps_its_end(
    shell: Shell, flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed as unfinished, finished before its lock was asked for: it stays what it became."""
    get_runs = dg.DagsterInstance.get_runs

    def get_runs_and_end_one(instance: dg.DagsterInstance, *given: Any, **named: Any) -> Any:
        listed = get_runs(instance, *given, **named)
        instance.report_run_canceled(run)
        return listed

    with runs.open_instance() as instance:
        run = store_run(instance, tags={LAUNCHED_BY_TAG: COMMAND_LINE})
        folder = Path(instance.root_directory) / "command_line_runs"
    folder.mkdir()
    (folder / f"{run.run_id}.lock").touch()
    with monkeypatch.context() as hurried:
        hurried.setattr(dg.DagsterInstance, "get_runs", get_runs_and_end_one)

        shell("run", "CN", "--source", flag_server.url)

    assert runs_by_job("refresh_flags")[run.run_id] == dg.DagsterRunStatus.CANCELED
    assert list(folder.iterdir()) == []


def test_a_failed_country_does_not_hide_why_the_run_failed(shell: Shell, flag_server: FlagServer) -> None:
    """AL failed, and later the event log refuses to be written to: both are said, and no catalog is built of it."""
    source = ("--source", flag_server.url, "-m", "1")
    flag_server.break_country("AL", answer(403))
    of_countries = shell("run", "AL", *source, expect=1).stdout
    with sqlite3.connect(shell.store.parent / "home/history/runs/index.db") as index:
        index.execute(
            "CREATE TRIGGER full BEFORE INSERT ON event_logs"
            " WHEN new.partition = 'AZ' AND new.dagster_event_type = 'ASSET_MATERIALIZATION'"
            " BEGIN SELECT raise(ABORT, 'database or disk is full'); END"
        )
    index.close()

    said = shell("run", "A", *source, expect=1).stdout

    assert "AL contract" in said
    assert "The run failed: database or disk is full" in said
    assert "The catalog is" not in said
    assert "The run failed" not in of_countries


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize(
    "how",
    [(signal.SIGINT, 130, dg.DagsterRunStatus.CANCELED), (signal.SIGTERM, 1, dg.DagsterRunStatus.FAILURE)],
)
@pytest.mark.parametrize(
    "where",
    [
        ("refresh_flags", dg.DagsterEventType.RESOURCE_INIT_STARTED),
        ("refresh_flags", dg.DagsterEventType.STEP_START),
        ("rebuild_catalog", dg.DagsterEventType.STEP_START),
        ("rebuild_catalog", dg.DagsterEventType.ASSET_MATERIALIZATION),
    ],
)
def test_ctrl_c_cancels_a_run_wherever_it_is(
    shell: Shell,
    flag_server: FlagServer,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, dg.DagsterEventType],
    how: tuple[signal.Signals, int, dg.DagsterRunStatus],
) -> None:
    """Before the first country and in the catalog too, where SIGTERM is a failure, which the daemon retries."""
    number, code, status = how
    store_event = EmbeddedEventLogStorage.store_event

    def store_and_signal(storage: EmbeddedEventLogStorage, event: dg.EventLogEntry) -> None:
        store_event(storage, event)
        if (event.job_name, event.dagster_event_type) == where and not sent:
            sent.append(event)
            signal.raise_signal(number)

    sent: list[dg.EventLogEntry] = []
    with monkeypatch.context() as signalled:
        signalled.setattr(EmbeddedEventLogStorage, "store_event", store_and_signal)

        said = shell("run", "CN", "US", "--source", flag_server.url, expect=code).stdout

    assert [*runs_by_job(where[0]).values()] == [status]
    is_catalog_canceled = where[0] == "rebuild_catalog" and number == signal.SIGINT
    assert ("The catalog was not rebuilt: it was interrupted" in said) == is_catalog_canceled
    # Dagster drops a step's coroutine if it is interrupted just before; what is ignored here must be collected here.
    gc.collect()


def _document(code: str, name: str) -> bytes:
    return json.dumps({"country": name, "iso_cc": code}).encode()
