"""`flag-pipeline ui` in a real browser: its own pages work, and pages of other origins can do nothing with it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from flag_pipeline_tests.e2e import browser
from flag_pipeline_tests.e2e.deployment import LOCATION, Deployment, free_port, wait_for
from flag_pipeline_tests.flag_server import FlagServer, answer, running_flag_server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.timeout(280),
    pytest.mark.skipif(browser.chromium() is None, reason="Chromium is not installed"),
]

EVIL = "evil.example"
# The name leads to this machine, as the name of a page does whose owner changes its address (DNS rebinding).
ARGUMENTS = [f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
SELECTOR = ", ".join(f"{key}: {json.dumps(value)}" for key, value in {**LOCATION, "jobName": "refresh_flags"}.items())
LAUNCH = (
    f'mutation {{ launchRun(executionParams: {{selector: {{{SELECTOR}}}, runConfigData: "{{}}"}}) {{ __typename }} }}'
)
# What a page may try with the UI at `ui`, and with a `mutation`. Each ends with the word of what happened.
TRIES = {
    "image": """() => new Promise(done => {
        const image = new Image(); image.onload = () => done("loaded"); image.onerror = () => done("refused");
        image.src = `${ui}/graphql?query=${mutation}`; document.body.append(image); })""",
    "fetch by GET": """() => fetch(`${ui}/graphql?query=${mutation}`, {mode: "no-cors", credentials: "include"})
        .then(() => "sent", () => "refused")""",
    "text/plain": """() => fetch(`${ui}/graphql?query=${mutation}`, {method: "POST", mode: "no-cors", body: "x"})
        .then(() => "sent", () => "refused")""",
    "JSON": """() => fetch(`${ui}/graphql`, {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({query: decodeURIComponent(mutation)})}).then(() => "answered", () => "refused")""",
    "form": """() => new Promise(done => {
        const frame = document.createElement("iframe"); frame.name = "form"; document.body.append(frame);
        const form = document.createElement("form"); form.method = "POST"; form.enctype = "multipart/form-data";
        form.target = "form"; form.action = `${ui}/graphql?query=${mutation}`; document.body.append(form);
        frame.onload = () => done("sent"); form.submit(); })""",
    "report": """() => fetch(`${ui}/report_asset_materialization/flag_image?partition=CN`,
        {method: "POST", mode: "no-cors"})
        .then(() => "sent", () => "refused")""",
    "WebSocket": """() => new Promise(done => {
        const socket = new WebSocket(`${ui.replace("http", "ws")}/graphql`, "graphql-ws");
        socket.onopen = () => done("open"); socket.onerror = () => done("refused"); })""",
}
UNREADABLE = {"sent"}  # the page cannot tell a refusal from an answer, but the browser can


@pytest.fixture(scope="module")
def server() -> Iterator[FlagServer]:
    """The source of the UI's runs."""
    with running_flag_server() as server:
        yield server


@pytest.fixture(scope="module")
def ui(server: FlagServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The UI as `flag-pipeline ui` starts it, with a test source."""
    folder = tmp_path_factory.mktemp("ui")
    home = folder / "home"
    home.mkdir()
    settings = {"FLAG_SOURCE": server.url, "FLAG_STORE": str(folder / "store"), "FLAG_ATTEMPTS": "1"}
    deployment = Deployment(home, settings)
    try:
        deployment.start_ui()
        yield deployment
    finally:
        deployment.stop()


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>another page</title><body>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
        """Say nothing."""


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """The port of another web server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser for all tests of this file."""
    with browser.page(width_px=800, height_px=600, arguments=ARGUMENTS) as page:
        assert page.context.browser is not None
        yield page.context.browser


@contextmanager
def nothing_happens(ui: Deployment) -> Iterator[None]:
    """Nothing is launched and no partition is reported inside the block."""
    yield
    assert ui.runs_of("refresh_flags") == []
    assert ui.partition_stats("flag_image")["numMaterialized"] == 0


def attempt(page: Page, ui: Deployment, name: str) -> tuple[str, list[int]]:
    """Let the page try it, and return what the page saw and the statuses that the browser got from the UI."""
    statuses: list[int] = []
    page.context.on("response", lambda reply: statuses.append(reply.status) if reply.url.startswith(ui.url) else None)
    page.evaluate(f"() => {{ window.ui = {json.dumps(ui.url)}; window.mutation = {json.dumps(quote(LAUNCH))} }}")
    saw = str(page.evaluate(TRIES[name]))
    return saw, statuses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", EVIL])
@pytest.mark.parametrize("name", TRIES)
def test_pages_of_another_origin_are_refused(
    ui: Deployment, chromium: Browser, other_port: int, host: str, name: str
) -> None:
    """A page on another port of this machine, or of another host, launches nothing and reports nothing."""
    with nothing_happens(ui), chromium.new_page() as page:
        page.goto(f"http://{host}:{other_port}/")

        saw, statuses = attempt(page, ui, name)

        assert saw in {"refused", *UNREADABLE}
        assert set(statuses) <= {403}
        assert statuses or saw == "refused"


def test_a_name_that_was_pointed_to_this_machine_is_refused(ui: Deployment, chromium: Browser) -> None:
    """DNS rebinding is refused: the page and its requests have one origin, but its name is not the UI's."""
    with nothing_happens(ui), chromium.new_page() as page:
        first = page.goto(f"http://{EVIL}:{ui.port}/")
        assert first is not None

        posted = page.evaluate(
            """query => fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
                body: JSON.stringify({query})}).then(reply => reply.status)""",
            LAUNCH,
        )

        assert (first.status, posted) == (403, 403)
        assert "FLAG_UI_HOSTS" in first.text()


def test_links_open_pages_and_mutate_nothing(ui: Deployment, chromium: Browser, other_port: int) -> None:
    """A link on another page opens a page of the UI; one to a mutation is answered 405, in whatever spelling."""
    with nothing_happens(ui), chromium.new_page() as page:
        page.goto(f"http://{EVIL}:{other_port}/")
        paths = {
            "/assets/flag_image": 200,
            f"/graphql?query={quote(LAUNCH)}": 405,
            f"/%67raphql?%71uery={quote(LAUNCH, safe='')}": 405,
            f"/graphql?query={quote('{version}')}&query={quote(LAUNCH)}": 405,
            f"/graphql?query={quote('query A { version } ' + LAUNCH)}&operationName=A": 405,
        }
        for path, status in paths.items():
            with page.context.expect_page() as opened:
                page.evaluate("url => { window.open(url, '_blank', 'noopener') }", "about:blank")
            popup = opened.value
            with popup.expect_response(lambda reply: reply.request.is_navigation_request()) as reply:
                popup.evaluate("url => { location.href = url }", f"{ui.url}{path}")
            assert reply.value.status == status, path
            popup.close()


def test_programs_change_nothing_by_get(ui: Deployment) -> None:
    """GET and HEAD of a mutation are refused for programs too; a query by GET is answered."""
    with nothing_happens(ui):
        assert ui.status("GET", f"/graphql?query={quote(LAUNCH)}") == 405
        assert ui.status("HEAD", f"/graphql?query={quote(LAUNCH)}") == 405
        assert ui.status("OPTIONS", f"/graphql?query={quote(LAUNCH)}") == 405
        assert ui.status("GET", f"/graphql?query={quote('{version}')}") == 200
        assert ui.status("GET", "/server_info", Host="10.1.2.3") == 200


def test_a_second_ui_is_refused(ui: Deployment, tmp_path: Path) -> None:
    """A second daemon on the instance, and a second server on the port, are refused in one line with exit code 2."""
    homes = {ui.home: free_port(), tmp_path: ui.port}
    command = [sys.executable, "-m", "flag_pipeline", "ui", "--port"]

    refused = [
        subprocess.run(
            [*command, str(port)],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        for home, port in homes.items()
    ]

    assert [(done.returncode, done.stderr) for done in refused] == [
        (2, f"flag-pipeline: flag-pipeline ui is running on {ui.home} already: stop it first\n"),
        (
            2,
            f"flag-pipeline: port {ui.port} cannot be used (Address already in use): choose another with --port\n",
        ),
    ]


def test_the_uis_own_materialize_works(ui: Deployment, chromium: Browser, artifacts: Path) -> None:
    """A click on the UI's own page launches a run, and its WebSocket shows the run's events."""
    with chromium.new_page(viewport={"width": 1280, "height": 800}) as page:
        sockets: list[str] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda _frame: sockets.append(socket.url)))
        page.goto(f"http://localhost:{ui.port}/assets/country_metadata?view=partitions&partition=FR")
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_role("button", name="Launch 1 run").click()
        (run,) = wait_for("the run", lambda: ui.runs_of("country_metadata"))
        page.goto(f"http://localhost:{ui.port}/runs/{run['runId']}")
        # As long as `wait_for` waits, because the daemon starts a process for the run.
        page.get_by_text("ASSET_MATERIALIZATION").first.wait_for(timeout=90_000)
        page.screenshot(path=artifacts / "ui-run.png")

        assert sockets
        assert ui.finished_run(run["runId"]) == "SUCCESS"
    assert ui.partition_stats("country_metadata")["numMaterialized"] == 1


def test_a_red_country_is_redone_without_a_warning(
    ui: Deployment, server: FlagServer, chromium: Browser, artifacts: Path
) -> None:
    """On the page of the job, "Failed" chooses the red country for both assets, and Dagster warns of nothing."""
    server.break_country("FR", answer(500))
    assert ui.finished_run(ui.launch_refresh({"dagster/partition": "FR"})) == "FAILURE"
    server.break_country("FR")
    with chromium.new_page(viewport={"width": 1280, "height": 800}) as page:
        page.goto(f"http://localhost:{ui.port}/locations/flag_pipeline/jobs/refresh_flags")
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_role("button", name="Failed", exact=True).click()
        page.get_by_text("1 partition", exact=True).wait_for()
        page.screenshot(path=artifacts / "ui-redo.png")

        assert page.get_by_text("Upstream data missing").count() == 0
        page.get_by_role("button", name="Launch 1 run").click()
        run = wait_for("the run", lambda: ui.runs_of("refresh_flags")[:-1])[0]

    assert ui.finished_run(run["runId"]) == "SUCCESS"
    assert ui.partition_stats("flag_image")["numMaterialized"] == 1


def test_the_launchpads_default_fetches_every_country(ui: Deployment, chromium: Browser, artifacts: Path) -> None:
    """Launched as the UI fills it in, without a partition, the job is one run over every country."""
    n_runs = len(ui.runs_of("refresh_flags"))
    with chromium.new_page(viewport={"width": 1280, "height": 800}) as page:
        page.goto(f"http://localhost:{ui.port}/locations/flag_pipeline/jobs/refresh_flags")
        box = page.get_by_role("button", name="Materialize").first.bounding_box()
        assert box is not None
        # The arrow beside the button has no name.
        page.mouse.click(box["x"] + box["width"] + 12, box["y"] + box["height"] / 2)
        page.get_by_text("Open launchpad").click()
        page.get_by_text("All defaults expanded").wait_for()
        page.screenshot(path=artifacts / "ui-launchpad.png")
        page.get_by_role("button", name="Materialize").last.click()
        page.get_by_role("button", name="Confirm").click()
        run = wait_for("the run", lambda: ui.runs_of("refresh_flags")[: -n_runs or None])[0]

    assert ui.finished_run(run["runId"]) == "SUCCESS"
    assert ui.partition_stats("flag_image")["numMaterialized"] == 249
