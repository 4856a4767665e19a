"""An event's text is read by Dagster as the event, whichever event came before."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.dependency import NodeHandle
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from dagster._core.execution.plan.handle import StepHandle
from dagster._serdes import deserialize_value, serialize_value
from dagster_shared.error import SerializableErrorInfo

from flag_pipeline.dagster_storage.event_json import event_json, record_json

COLUMNS = dg.TableSchema(columns=[dg.TableColumn("description")])
DATA = StepMaterializationData(dg.AssetMaterialization("flag_image", partition="CN", metadata={"sha256": "0" * 64}))
TOLD = DagsterEvent(
    event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
    job_name="refresh_flags",
    step_handle=StepHandle(NodeHandle("fetch_flags", None), "fetch_flags"),
    logging_tags={"run": "1"},
    event_specific_data=DATA,
    message="Materialized value.",
    pid=1,
)
EVENT = dg.EventLogEntry(None, "debug", "", "run", 1.5, "fetch_flags", "refresh_flags", TOLD)  # type: ignore[no-untyped-call]
OTHER_DATA = StepMaterializationData(dg.AssetMaterialization("flag_image", description='"timestamp": 1.5'))


DESCRIBED = StepMaterializationData(
    dg.AssetMaterialization(
        "flag_image",
        description='"description":null,',
        metadata={
            "description": None,
            "table": dg.TableMetadataValue([dg.TableRecord({"description": None})], COLUMNS),
        },
        tags={"description": "null"},
    )
)


def plain(**changed: Any) -> StepMaterializationData:
    """A partition's materialization with one metadata value of each plain kind."""
    metadata = {
        "name": dg.TextMetadataValue('Côte d\'Ivoire "1000000000000000"'),
        'la"bel': dg.MarkdownMetadataValue("![CI](data:;base64,AAAA)\n\ud83d\ude00"),
        "url": dg.UrlMetadataValue("https://example.org/ci.gif"),
        "requests": dg.IntMetadataValue(2**70),
        "duration_s": dg.FloatMetadataValue(1e-7),
    }
    arguments: dict[str, Any] = {
        "partition": "CI",
        "metadata": metadata,
        "tags": {"dagster/code_version": "1", "a": "b"},
    }
    return StepMaterializationData(dg.AssetMaterialization(**{"asset_key": ["flags", "image"], **arguments, **changed}))


PLAIN = [
    plain(),
    plain(partition="1000000000000000"),
    plain(tags={"a": "", "dagster/code_version": "2"}),
    plain(tags={"a": "b"}),
    plain(asset_key="other"),
    plain(metadata={}),
    plain(metadata={"requests": -1, "duration_s": 0.5}),
    plain(metadata={"requests": dg.FloatMetadataValue(1.0)}),
    plain(metadata={"requests": dg.FloatMetadataValue(None)}),
    plain(metadata={"requests": dg.FloatMetadataValue(float("inf"))}),
    plain(metadata={"requests": True}),
    plain(metadata={"requests": {"count": 1, "description": None, "more": {"description": None, "x": 1}}}),
    plain(metadata={"name": dg.TextMetadataValue(None)}),
    plain(partition=None),
    plain(tags=None),
]


PLANNED = [
    AssetMaterializationPlannedData(dg.AssetKey(["flags", "image"]), partition="CI"),
    AssetMaterializationPlannedData(dg.AssetKey("flag_image"), partition='"1000000000000000"'),
    AssetMaterializationPlannedData(dg.AssetKey("flag_image")),
]


def others() -> Iterator[dg.EventLogEntry]:
    """Events that differ from `EVENT` in one thing each, or try to be taken for what they are not."""
    changed: dict[str, Any]
    for changed in (
        {"error_info": SerializableErrorInfo("no", [], "Error")},
        {"level": 20},
        {"user_message": f'"timestamp": 1.5, {serialize_value(DATA)}'},
        {"run_id": "another"},
        {"timestamp": 1732530000.123456},
        {"timestamp": 0.0},
        {"step_key": None},
        {"job_name": None},
        {"dagster_event": None},
    ):
        yield EVENT._replace(**changed)
    for changed in (
        {"event_type_value": dg.DagsterEventType.ASSET_OBSERVATION.value},
        {"job_name": serialize_value(DATA)},
        {"step_handle": None},
        {"step_handle": StepHandle(NodeHandle("fetch_flags", None), serialize_value(DATA))},
        {"logging_tags": {"run": "2", "timestamp": "1.5"}},
        {"event_specific_data": OTHER_DATA},
        {"event_specific_data": None},
        {"message": None},
        {"message": '"event_specific_data": null'},
        {"message": '"description":null,"timestamp":1.5'},
        {"event_specific_data": DESCRIBED},
        {"pid": None},
    ):
        yield EVENT._replace(dagster_event=TOLD._replace(**changed))
    special: list[Any] = [*PLAIN, *PLANNED]
    for data in special:
        yield EVENT._replace(dagster_event=TOLD._replace(event_specific_data=data))


@pytest.mark.parametrize("other", list(others()))
def test_text_is_read_as_the_event_whatever_came_before(other: dg.EventLogEntry) -> None:
    """Alike events in a row, and the change from one kind to another and back."""
    for event in (EVENT, other, other, EVENT):
        text, stock = event_json(event), serialize_value(event)
        assert deserialize_value(text) == deserialize_value(stock)
        assert len(text) < len(stock)


@pytest.mark.parametrize("before", [{"run": "1"}, {}])
def test_tags_may_change_meanwhile(before: dict[str, str]) -> None:
    """What was remembered of an event is not what its maker makes of the tags later."""
    tags = dict(before)
    event = EVENT._replace(dagster_event=TOLD._replace(logging_tags=tags))
    event_json(event)
    tags["run"] = "2"
    assert deserialize_value(event_json(event)) == event


def test_record_is_read_as_the_record() -> None:
    """The record around an event, whatever its id."""
    for storage_id in (1, 987654321, 2**53):
        record = dg.EventLogRecord(storage_id, EVENT)
        assert deserialize_value(record_json(event_json(EVENT), storage_id)) == record
