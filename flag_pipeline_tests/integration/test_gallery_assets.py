"""The catalog and its pictures through Dagster: what the UI shows, what follows what, and the same bytes twice."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image, ImageFile

from flag_pipeline.catalog.rows import load_rows
from flag_pipeline.core.layout import thumbnail_path
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY
from flag_pipeline.images.child_process import ChildProcess
from flag_pipeline.images.features import describe_features
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.svgs import svg

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
DERIVED = {FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY}


@pytest.fixture
def settings(flag_server: FlagServer, store: Path) -> Settings:
    """Settings for the test's own server and store."""
    return load_settings(source=flag_server.url, store=str(store), attempts=1)


def refresh(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Fetch three countries, failed or not."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    config = {**QUIET, "ops": {"fetch_flags": {"config": {"countries": ["CN", "FR", "US"]}}}}
    job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def rebuild(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Derive everything that is derived."""
    job = build_definitions(settings).resolve_job_def("rebuild_catalog")
    assert job.execute_in_process(instance=instance, run_config=QUIET).success


def metadata_of(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, dg.MetadataValue[Any]]:
    """What the asset's latest materialization says."""
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata


def test_catalog_shows_counts_columns_preview_and_picture(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """Counts are numbers, so the UI plots them; the columns have their meaning."""
    flag_server.break_country("US", answer(500))
    refresh(instance, settings)
    rebuild(instance, settings)

    metadata = metadata_of(instance, FLAG_CATALOG)

    assert metadata["dagster/row_count"].value == 249
    assert [metadata[name].value for name in ("n_ok", "n_stale", "n_missing", "n_failed", "n_changed")] == [
        2,
        0,
        247,
        1,
        0,
    ]
    assert isinstance(metadata["bytes"].value, int)
    assert isinstance(metadata["seconds"].value, float)
    columns: Any = metadata["dagster/column_schema"].value
    assert {column.name: column.type for column in columns.columns}["changed_at"].startswith("timestamp")
    preview: Any = metadata["preview"].value
    assert [record.data["code"] for record in preview.records][:2] == ["AD", "AE"]
    assert "](data:image/webp;base64," in str(metadata["contact_sheet"].value)


def test_catalog_counts_flags_that_changed_since_the_one_before(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """One other flag is one; built again, none."""
    refresh(instance, settings)
    rebuild(instance, settings)
    flag_server.script(flag_url_path("FR"), [answer(200, striped("red", "gold", kind="GIF"))])
    refresh(instance, settings)

    rebuild(instance, settings)
    first = metadata_of(instance, FLAG_CATALOG)["n_changed"].value
    rebuild(instance, settings)

    assert (first, metadata_of(instance, FLAG_CATALOG)["n_changed"].value) == (1, 0)


def test_everything_is_derived_the_same_twice(instance: dg.DagsterInstance, settings: Settings, store: Path) -> None:
    """The same stored files give the same catalog, history and pictures, byte for byte."""
    refresh(instance, settings)
    rebuild(instance, settings)
    first = derived_files(store)
    for path in first:
        (store / path).unlink()
    rebuild(instance, settings)

    assert {Path(path).name for path in first} >= {
        "catalog.parquet",
        "changes.parquet",
        "index.html",
        "page.js",
        "0.js",
        "contact_sheet.png",
        "mosaic.webp",
    }
    assert derived_files(store) == first


@pytest.mark.parametrize("thumbnail", ["", "data:image/webp;base64,A", "data:image/webp;base64,AAAA"])
def test_catalog_decodes_no_flag_that_its_record_describes(
    instance: dg.DagsterInstance, settings: Settings, store: Path, monkeypatch: pytest.MonkeyPatch, thumbnail: str
) -> None:
    """Features come from the record, and the mosaic from the event's thumbnail, unless that is damaged."""
    refresh(instance, settings)
    path = store / "records/FR.json"
    if thumbnail:
        document = json.loads(path.read_bytes())
        document["image"]["derived"]["thumbnail"] = thumbnail
        path.write_text(json.dumps(document))
    decoded: list[str | None] = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image.format) or load(image))  # type: ignore[func-returns-value]

    job = build_definitions(settings).resolve_job_def("rebuild_catalog")
    assert job.execute_in_process(instance=instance, run_config=QUIET, asset_selection=[FLAG_CATALOG]).success

    assert ("GIF" in decoded) == bool(thumbnail)
    rows = {row.code: row for row in load_rows((store / "catalog/catalog.json").read_bytes())}
    for code in ("CN", "FR", "US"):
        [file] = (store / "flags").glob(f"{code}-*")
        assert (rows[code].phash, rows[code].n_frames) == (describe_features(file.read_bytes()).phash, 1)


@pytest.mark.parametrize("has_features", [False, True])
def test_features_of_an_earlier_version_are_computed_again(
    instance: dg.DagsterInstance, settings: Settings, store: Path, *, has_features: bool
) -> None:
    """Neither a record nor a catalog of an earlier version keeps the colours that it had."""
    refresh(instance, settings)
    rebuild(instance, settings)
    catalog, record = store / "catalog/catalog.json", store / "records/FR.json"
    expected = catalog.read_bytes()
    wrong = [{"hex": "#e6e6e6", "share": 0.38}]
    rows = json.loads(expected)
    next(row for row in rows if row["code"] == "FR")["colours"] = wrong
    catalog.write_text(json.dumps(rows))
    schema = json.loads((store / "catalog/schema.json").read_bytes())
    (store / "catalog/schema.json").write_text(json.dumps({**schema, "schema_version": 3}))
    document = json.loads(record.read_bytes())
    features = {key: value for key, value in document["image"]["derived"]["features"].items() if "aspect" not in key}
    document["image"]["derived"] |= {"version": "1.1", "features": {**features, "colours": wrong}}
    if not has_features:
        del document["image"]["derived"]
    record.write_text(json.dumps(document))

    rebuild(instance, settings)

    assert catalog.read_bytes() == expected


def derived_files(store: Path) -> dict[str, bytes]:
    """Every file of the catalog and the history's tables, by path."""
    paths = [*(store / "catalog").rglob("*.*"), *(store / "history").glob("*.*")]
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("n_shown", [3, 2], ids=["thumbnail kept", "thumbnail lost"])
def test_a_flag_overwritten_by_somebody_is_not_shown(
    instance: dg.DagsterInstance, settings: Settings, store: Path, n_shown: int
) -> None:
    """The page shows the thumbnail of the checked flag, or none."""
    refresh(instance, settings)
    file = next((store / "flags").glob("FR-*"))
    thumbnail = store / thumbnail_path(hashlib.sha256(file.read_bytes()).hexdigest())
    before = thumbnail.read_bytes()
    file.write_bytes(b"tampered")
    if n_shown == 2:
        thumbnail.unlink()
    rebuild(instance, settings)

    assert metadata_of(instance, FLAG_GALLERY)["n_flags"].value == n_shown
    assert (thumbnail.read_bytes() if thumbnail.exists() else before) == before


def test_pictures_are_drawn_once_more_if_their_process_is_killed(
    instance: dg.DagsterInstance, settings: Settings, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is short of memory kills it, and the page would be lost too."""
    refresh(instance, settings)
    ask, killed = ChildProcess.ask, list[int]()

    def kill_first(child: ChildProcess, request: bytes, **limits: Any) -> bytes:
        if not killed:
            killed.append(child.pid)
            child.kill()
        return ask(child, request, **limits)

    monkeypatch.setattr(ChildProcess, "ask", kill_first)
    rebuild(instance, settings)

    assert len(killed) == 1
    assert {"contact_sheet.png", "mosaic.webp", "index.html"} <= {path.name for path in (store / "catalog").iterdir()}


def test_only_new_flags_are_drawn(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, store: Path
) -> None:
    """Other thumbnails and an unchanged contact sheet stay the same files; what is no longer shown goes."""
    refresh(instance, settings)
    rebuild(instance, settings)
    thumbnails, sheet = store / "catalog/thumbnails/v2", store / "catalog/contact_sheet.png"
    before = {path: written(path) for path in [*thumbnails.iterdir(), sheet, store / "catalog/mosaic.webp"]}
    for name in ("thumbnails/v2/of-another-flag.webp", "details/9.js"):
        (store / "catalog" / name).write_bytes(b"old")
    rebuild(instance, settings)

    assert {path: written(path) for path in before} == before
    assert len(list(thumbnails.iterdir())) == 3
    assert [path.name for path in (store / "catalog/details").iterdir()] == ["0.js"]

    flag_server.script(flag_url_path("FR"), [answer(200, striped("red", "gold", kind="GIF"))])
    refresh(instance, settings)
    rebuild(instance, settings)

    # The replaced flag is shown in the history.
    assert len(list(thumbnails.iterdir())) == 4
    changed = {path for path in before if written(path) != before[path]}
    assert changed == {sheet, store / "catalog/mosaic.webp"}


def test_svg_is_shown_as_a_large_picture_while_it_is_the_flag(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, store: Path
) -> None:
    """It is drawn once, as large as a screen needs, and removed with the SVG."""
    flag_server.script(flag_url_path("FR"), [answer(200, svg())])
    refresh(instance, settings)
    rebuild(instance, settings)
    [picture] = (store / "catalog/pictures/v2").iterdir()
    before = written(picture)
    rebuild(instance, settings)

    assert picture.stem == row_of("FR", store)["sha256"]
    assert written(picture) == before
    with Image.open(picture) as image:
        assert image.width == 1280

    flag_server.script(flag_url_path("FR"), [answer(200, striped("red", "gold", kind="GIF"))])
    refresh(instance, settings)
    rebuild(instance, settings)
    assert list((store / "catalog/pictures/v2").iterdir()) == []


def test_pictures_of_an_earlier_version_are_removed(
    instance: dg.DagsterInstance, settings: Settings, store: Path
) -> None:
    """No page refers to them any more."""
    for folder in ("thumbnails", "pictures"):
        (store / "catalog" / folder / "v1").mkdir(parents=True)
        (store / "catalog" / folder / "v1" / f"{'0' * 64}.webp").write_bytes(b"old")
    refresh(instance, settings)
    rebuild(instance, settings)

    assert not list((store / "catalog").glob("*/v1/*"))
    assert len(list((store / "catalog/thumbnails/v2").iterdir())) == 3


def written(path: Path) -> tuple[int, int]:
    """When the file was written, and which file it is."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_damaged_thumbnail_leaves_a_gap_on_the_sheet(
    instance: dg.DagsterInstance, settings: Settings, store: Path
) -> None:
    """The gallery is drawn without it."""
    refresh(instance, settings)
    rebuild(instance, settings)
    for path in (store / "catalog/thumbnails/v2").iterdir():
        path.write_bytes(b"damaged")
    (store / "catalog/contact_sheet.png").unlink()

    rebuild(instance, settings)

    assert (store / "catalog/contact_sheet.png").exists()


def test_features_of_a_damaged_flag_are_kept(instance: dg.DagsterInstance, settings: Settings, store: Path) -> None:
    """The catalog takes it from the one before; a catalog of another version tells nothing, and stands in no way."""
    refresh(instance, settings)
    rebuild(instance, settings)
    before = row_of("FR", store)
    next((store / "flags").glob("FR-*")).write_bytes(b"tampered")
    rebuild(instance, settings)

    assert before["phash"]
    assert row_of("FR", store) == before

    (store / "catalog" / "catalog.json").write_text('[{"of": "another version"}]')
    rebuild(instance, settings)

    assert row_of("FR", store)["phash"] == ""
    assert row_of("CN", store)["phash"]


def row_of(code: str, store: Path) -> dict[str, Any]:
    """The country's row in the stored catalog."""
    rows: list[dict[str, Any]] = json.loads((store / "catalog" / "catalog.json").read_bytes())
    return next(row for row in rows if row["code"] == code)


def test_gallery_without_a_catalog_says_what_to_do(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Materialized alone on an empty store, it fails with that one sentence."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    result = job.get_subset(asset_selection={FLAG_GALLERY}).execute_in_process(
        instance=instance, run_config=QUIET, raise_on_error=False
    )

    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    assert "materialize flag_catalog first" in (failure.user_failure_data.description or "")


def test_what_is_derived_follows_a_change_once(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """All three after the first fetch, none after an unchanged one, all three after a changed flag."""
    definitions = build_definitions(settings)
    cursor = None
    requested: list[set[dg.AssetKey]] = []

    def tick() -> None:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(
            definitions, instance, asset_selection=dg.AssetSelection.assets(*DERIVED), cursor=cursor
        )
        cursor = result.cursor
        keys = {key for key in DERIVED if result.get_num_requested(key)}
        requested.append(keys)
        if keys:
            rebuild(instance, settings)

    tick()
    refresh(instance, settings)
    tick()
    tick()
    refresh(instance, settings)
    tick()
    flag_server.script(flag_url_path("FR"), [answer(200, striped("red", "gold", kind="GIF"))])
    refresh(instance, settings)
    tick()
    tick()

    assert requested == [set(), DERIVED, set(), set(), DERIVED, set()]
