"""The webserver's answers, without a browser and in this process."""

from collections.abc import Iterator

import dagster as dg
import httpx
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from starlette.applications import Starlette

from flag_pipeline.ui.webserver import SameOriginWebserver

MUTATION = "mutation { wipeAssets(assetPartitionRanges: []) { __typename } }"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starlette]:
    """A webserver below a path, with a proxy's name, that has nothing loaded."""
    home = str(tmp_path_factory.mktemp("home"))
    with (
        dg.DagsterInstance.local_temp(home) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        yield SameOriginWebserver(context, "/flags", hosts=["flags.example.org"]).create_asgi_app()


@pytest.fixture
def client(app: Starlette) -> httpx.AsyncClient:
    """A program that speaks to it."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://flags.example.org")


@pytest.mark.parametrize("query", [MUTATION, f"query A {{ version }} {MUTATION}", "subscription { x }"])
@pytest.mark.parametrize("accepts", ["application/json", "text/html"])
async def test_a_mutation_by_get_is_refused(client: httpx.AsyncClient, query: str, accepts: str) -> None:
    """It is refused whatever else the document has, also when GraphiQL's page is requested."""
    reply = await client.get(
        "/flags/graphql", params={"query": query, "operationName": "A"}, headers={"Accept": accepts}
    )

    assert (reply.status_code, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(("query", "status"), [("{ version }", 200), ("{", 400)])
async def test_a_query_by_get_is_answered(client: httpx.AsyncClient, query: str, status: int) -> None:
    """Reading is what GET is there to do; text that does not parse is the asker's mistake."""
    assert (await client.get("/flags/graphql", params={"query": query})).status_code == status


async def test_a_mutation_by_post_is_executed(client: httpx.AsyncClient) -> None:
    """A program, or the UI's own page, changes something by POST."""
    reply = await client.post("/flags/graphql", json={"query": MUTATION})

    assert "wipeAssets" in reply.json()["data"]


async def test_probes_are_answered_by_any_name(client: httpx.AsyncClient) -> None:
    """A health check below the path prefix needs no known name; a page does."""
    stranger = {"Host": "10.1.2.3"}

    assert (await client.get("/flags/server_info", headers=stranger)).status_code == 200
    assert (await client.get("/flags/runs", headers=stranger)).status_code == 403


async def test_no_other_page_may_show_ours_in_a_frame(client: httpx.AsyncClient) -> None:
    """A frame could make a person click where they do not look."""
    assert (await client.get("/flags/runs")).headers["X-Frame-Options"] == "SAMEORIGIN"
