"""What the fetching assets say about themselves."""

import dagster as dg
import pytest

from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.settings import load_settings


@pytest.mark.parametrize(
    ("source", "kind"),
    [("embedded", "gif"), ("fluentpython", "gif"), ("flagcdn", "png"), ("http://127.0.0.1:8765", "image")],
)
def test_the_kind_is_the_format_that_the_source_has(source: str, kind: str) -> None:
    """A preset's flags have one format; those of any other address can have each."""
    graph = build_definitions(load_settings(source=source)).resolve_asset_graph()

    kinds = {key: {*graph.get(key).tags} for key in (FLAG_IMAGE, COUNTRY_METADATA)}

    assert f"dagster/kind/{kind}" in kinds[FLAG_IMAGE]
    assert "dagster/kind/json" in kinds[COUNTRY_METADATA]


def test_the_launchpad_accepts_what_yaml_makes_of_norway() -> None:
    """Dagster validates a list with false in it; the run reads it as Norway."""
    job = build_definitions(load_settings()).resolve_job_def("refresh_flags")
    config = {"ops": {"fetch_flags": {"config": {"countries": ["CN", False]}}}}

    assert dg.validate_run_config(job, config)
