"""Generates docs/settings.md, and the list that `dg list envs` reads, from `flag_pipeline.settings.Settings`.

`python -m flag_pipeline_tests.settings_page` writes both, and a test fails when one is out of date.
"""

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from flag_pipeline.core.config import SourceSettings
from flag_pipeline.defs.resources import SINK_KEY, SOURCE_KEY
from flag_pipeline.settings import PREFIX, Settings, StoreSettings, project_root

PAGE = project_root() / "docs" / "settings.md"
ENVIRONMENT = project_root() / "flag_pipeline" / "defs" / "environment" / "defs.yaml"

HEAD = """\
# Settings

<!-- Generated: `uv run python -m flag_pipeline_tests.settings_page` writes this page. Edit that module, or the
descriptions in flag_pipeline/settings.py, core/config.py and fetching/config.py. -->

Every setting is an environment variable. An empty variable counts as unset. Settings of the source and the store are
also fields of the Dagster resources `{source}` and `{store}`: a launch can set them, and a field that it does not
set keeps the environment's value. [operating.md](operating.md) describes secrets, redirects, proxies and certificates.
"""

# Variables that other code reads: name, default, meaning.
OTHERS = (
    (
        "FLAG_HEADERS",
        "",
        'Secret request headers for the source, as JSON: `{"Authorization": "Bearer TOKEN"}`.',
    ),
    (
        "SSL_CERT_FILE",
        "",
        "A PEM file of certificate authorities to trust, because the source's certificate is private.",
    ),
    ("DAGSTER_HOME", "`dagster_home`", "The folder of the Dagster instance, an absolute path."),
)


def settings_page() -> str:
    """Return the text of docs/settings.md."""
    source, store = SourceSettings.model_fields, StoreSettings.model_fields
    rest = {name: field for name, field in Settings.model_fields.items() if name not in {*source, *store}}
    parts = [
        HEAD.format(source=SOURCE_KEY, store=SINK_KEY),
        _section("The source", _rows(source)),
        _section("The store", _rows(store)),
        _section("The pipeline", _rows(rest)),
        _section("Other variables", [f"| `{name}` | {default} |  | {meaning} |" for name, default, meaning in OTHERS]),
    ]
    return "\n".join(parts)


def environment_file() -> str:
    """Return the text of a component file that requires each variable: `dg list envs` reads only such files."""
    names = sorted([*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *(name for name, _, _ in OTHERS)])
    head = "# Generated for `dg list envs`: uv run python -m flag_pipeline_tests.settings_page"
    return "\n".join(
        [head, "type: dagster.DefsFolderComponent", "requirements:", "  env:", *(f"    - {name}" for name in names), ""]
    )


def _section(title: str, rows: list[str]) -> str:
    return "\n".join([f"## {title}", "", "| variable | default | limits | meaning |", "|---|---|---|---|", *rows, ""])


def _rows(fields: dict[str, FieldInfo]) -> list[str]:
    return [
        f"| `{PREFIX}{name.upper()}` | {_default_of(field)} | {_limits_of(field)} | {field.description} |"
        for name, field in sorted(fields.items(), key=lambda item: item[0] not in {"source", "store"})
    ]


def _default_of(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    return "" if default in (None, []) else f"`{default}`"


def _limits_of(field: FieldInfo) -> str:
    """Return the range of a number, such as `1 to 512` or `more than 0`."""
    bounds = {type(bound): bound for bound in field.metadata}
    low, above, high = bounds.get(Ge), bounds.get(Gt), bounds.get(Le)
    start = f"at least {low.ge}" if low else f"more than {above.gt}" if above else ""
    if high is None:
        return start
    return f"{low.ge} to {high.le}" if low else f"{start}, at most {high.le}"


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
    ENVIRONMENT.write_text(environment_file(), encoding="utf-8")
