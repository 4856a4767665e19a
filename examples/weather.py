"""Weather stations as partitions: a station that is down costs no other its temperature.

Try it with the stations in a second terminal; Ctrl-C ends either:

    uv run python examples/weather_server.py
    uv run dagster dev -f examples/weather.py
"""

import json
import os
import urllib.error
import urllib.request

import dagster as dg

from flag_pipeline.isolation import Absent, PartitionsConfig, healing_sensor, per_partition

STATIONS = dg.StaticPartitionsDefinition(["Bergen", "Cairo", "Lima", "Oslo", "Perth", "Quito"])
SINGLE_RUN = dg.BackfillPolicy.single_run()


class Weather(dg.ConfigurableResource):
    """The server of the stations."""

    url: str

    def read(self, station: str) -> float | None:
        """Return the station's temperature, None if it is closed."""
        try:
            with urllib.request.urlopen(f"{self.url}/{station}", timeout=5) as answer:  # noqa: S310 - our own server
                return float(json.load(answer)["celsius"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise


@dg.asset(partitions_def=STATIONS, backfill_policy=SINGLE_RUN, code_version="1")
@per_partition(max_concurrent=4, retry_policy=dg.RetryPolicy(max_retries=1, delay=0.1))
def temperature(partition_key: str, config: PartitionsConfig, weather: Weather) -> Absent | dg.MaterializeResult:
    """The temperature at each station, in degrees Celsius."""
    celsius = weather.read(partition_key)  # whatever is raised here fails this station only
    if celsius is None:
        return Absent("the station is closed")
    return dg.MaterializeResult(value=celsius, metadata={"celsius": celsius})


@dg.asset(partitions_def=STATIONS, automation_condition=dg.AutomationCondition.eager())
def forecast(temperature: float) -> dg.MaterializeResult:
    """Tomorrow's weather will be today's; made by Dagster's automation for each station that has a new temperature."""
    return dg.MaterializeResult(metadata={"celsius": temperature})


read_stations = dg.define_asset_job("read_stations", [temperature])
healing = healing_sensor(temperature, read_stations)
weather = Weather(url=os.environ.get("WEATHER_URL", "http://127.0.0.1:8765"))
defs = dg.Definitions([temperature, forecast], jobs=[read_stations], sensors=[healing], resources={"weather": weather})
