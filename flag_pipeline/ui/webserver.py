"""Dagster's webserver with a same-origin check: `python -m flag_pipeline.ui.webserver`."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from dagster._cli.utils import get_instance_for_cli
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver import cli as dagster_cli
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from flag_pipeline.settings import load_settings, use_dagster_home
from flag_pipeline.ui.same_origin import SameOriginMiddleware

GRACEFUL_SHUTDOWN_S = 5
# Dagster's default.
LIVE_DATA_POLL_MS = 2000


class SameOriginWebserver(DagsterWebserver[WorkspaceProcessContext, Any]):
    """Dagster's webserver with a same-origin check; *hosts* is `FLAG_UI_HOSTS`."""

    def __init__(self, context: WorkspaceProcessContext, path_prefix: str = "", *, hosts: Sequence[str] = ()) -> None:
        self.hosts = hosts
        super().__init__(context, path_prefix, LIVE_DATA_POLL_MS)

    def build_middleware(self) -> list[Middleware]:
        """Put the check first, except on `/server_info`."""
        exempt = {f"{self._app_path_prefix}/server_info"}
        return [Middleware(SameOriginMiddleware, hosts=self.hosts, exempt_paths=exempt), *super().build_middleware()]

    def make_security_headers(self) -> dict[str, str]:
        """Forbid frames in pages of another origin."""
        return {**super().make_security_headers(), "X-Frame-Options": "SAMEORIGIN"}

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Refuse mutations by GET, because links use GET."""
        if request.method != "POST" and any(map(_changes_something, request.query_params.getlist("query"))):
            return PlainTextResponse("A mutation must be sent by POST.\n", 405, headers={"Allow": "POST"})
        response: Response = await super().graphql_http_endpoint(request)
        return response


def _changes_something(query: str) -> bool:
    """Whether a valid text has an operation other than a query."""
    try:
        document = parse(query)
    except GraphQLError:
        return False
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return any(operation.operation is not OperationType.QUERY for operation in operations)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    workspace: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Workspace file.")] = Path(
        "workspace.yaml"
    ),
    path_prefix: Annotated[str, typer.Option(help="Path below which a proxy serves the UI, such as /flags.")] = "",
    log_level: Annotated[str, typer.Option(help="Log level of the webserver and its code servers.")] = "info",
) -> None:
    """Serve the Dagster UI until a signal ends it."""
    # A signal before Uvicorn installs its handlers must end the code servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configure_loggers(log_level=log_level.upper())
    use_dagster_home()
    target = WorkspaceFileTarget([str(workspace)])
    try:
        with (
            get_instance_for_cli() as instance,
            WorkspaceProcessContext(instance, target, __version__, code_server_log_level=log_level) as context,
        ):
            instance.optimize_for_webserver(
                dagster_cli.DEFAULT_DB_STATEMENT_TIMEOUT,
                dagster_cli.DEFAULT_POOL_RECYCLE,
                dagster_cli.DEFAULT_POOL_MAX_OVERFLOW,
            )
            app = SameOriginWebserver(context, path_prefix, hosts=load_settings().ui_hosts).create_asgi_app()
            uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    typer.run(serve)
