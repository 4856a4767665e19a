"""Disk space of a Dagster home with daily runs, before and after `flag-pipeline prune`: `python -m benchmarks.pruning`.

Each run fetches 249 flags of the book's size from a local server, then the runs are moved into the past, a day apart.
The statuses of all partitions must be the same before and after.
"""

import argparse
import json
import os
import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from PIL import Image, ImageDraw

from benchmarks.measuring import FLAG_PIPELINE, Place, measure, new_place, server
from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.defs.keys import FETCHED_ASSETS
from flag_pipeline.defs.partitions import country_partitions
from flag_pipeline.defs.statuses import read_country_statuses
from flag_pipeline.settings import load_settings
from flag_pipeline_tests.pruned import age_runs, partition_statuses, shown_by_the_ui

SIZE_PX = (400, 268)
N_DOTS = 170  # makes a GIF of about 12 kB


def draw_flags(folder: Path, codes: list[str]) -> int:
    """Draw a flag of stripes and dots for each code, with a metadata document; return their mean size in bytes."""
    sizes = []
    for seed, code in enumerate(codes):
        country = folder / code.lower()
        country.mkdir(parents=True)
        path = country / f"{code.lower()}.gif"
        _flag(random.Random(seed)).save(path)  # noqa: S311 - repeatable, not secret
        document = {"country": iso_country(code).name, "iso_cc": code, "tld_cc": f".{code.lower()}"}
        (country / "metadata.json").write_text(json.dumps(document), encoding="utf-8")
        sizes.append(path.stat().st_size)
    return sum(sizes) // len(sizes)


def _flag(chance: random.Random) -> Image.Image:
    width, height = SIZE_PX
    image = Image.new("RGB", SIZE_PX)
    pen = ImageDraw.Draw(image)

    def colour() -> tuple[int, ...]:
        return tuple(chance.randrange(256) for _ in range(3))

    for stripe in range(3):
        pen.rectangle((0, height * stripe // 3, width, height * (stripe + 1) // 3), fill=colour())
    for _ in range(N_DOTS):
        x, y, radius = chance.randrange(60, 340), chance.randrange(40, 230), chance.randrange(3, 24)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour())
    return image.convert("P", palette=Image.Palette.ADAPTIVE, dither=Image.Dither.FLOYDSTEINBERG)


def run_daily(place: Place, codes: list[str], n_runs: int) -> None:
    """Fetch all countries *n_runs* times; the two last ones are missing in the last run."""
    flags = place.root / "source"
    print(f"flags of {draw_flags(flags, codes)} bytes on average", flush=True)
    mirror = [*FLAG_PIPELINE, "mirror", "--port", "0", "--directory", str(flags)]
    with server(mirror, place) as url:
        for number in range(n_runs):
            if number == n_runs - 1:
                for code in codes[-2:]:
                    (flags / code.lower() / "metadata.json").write_text("{}", encoding="utf-8")
            failed = int(number == n_runs - 1)
            done = measure([*FLAG_PIPELINE, "run", "--json", *codes], place.environment(source=url), exit_code=failed)
            report = done.json()
            print(f"run {number + 1}: {report['saved']} saved, {report['unchanged']} unchanged", flush=True)


def make_old(place: Place, n_runs: int) -> None:
    """Let a day pass between the runs; the catalog's run goes with the one before it."""
    with dg.DagsterInstance.from_config(str(place.home)) as instance:
        ages, days = dict[str, timedelta](), n_runs
        for record in instance.get_run_records(ascending=True):
            days -= record.dagster_run.job_name == "refresh_flags"
            ages[record.dagster_run.run_id] = timedelta(days=days, hours=1)
    age_runs(place.home, ages)


def statuses(place: Place, codes: list[str]) -> dict[str, Any]:
    """Return all statuses, by Dagster's cache and storages, by ours, and by the webserver."""
    partitions = country_partitions(load_settings())
    with dg.DagsterInstance.from_config(str(place.home)) as instance:
        return {
            "dagster": partition_statuses(instance, dict.fromkeys(FETCHED_ASSETS, partitions)),
            "ours": {str(key): read_country_statuses(instance, key, codes) for key in FETCHED_ASSETS},
            "ui": shown_by_the_ui(instance, "flag_pipeline.definitions"),
        }


def size_mb(folder: Path) -> float:
    """Return what the files in the folder take on the disk, in millions of bytes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    """Print the sizes; fail if a status changed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--countries", type=int, default=249)
    given = parser.parse_args()
    codes = list(iso_codes()[: given.countries])
    with new_place() as place:
        # The code server of the UI needs them too.
        os.environ |= place.environment()
        run_daily(place, codes, given.runs)
        make_old(place, given.runs)
        before, size_before = statuses(place, codes), size_mb(place.home)
        started_at = time.perf_counter()
        command = [*FLAG_PIPELINE, "prune", "--older-than", "7d", "--yes", "--json"]
        done = measure(command, place.environment()).json()
        elapsed_s = time.perf_counter() - started_at
        after = statuses(place, codes)
        print(f"home before: {size_before:.1f} MB, after: {size_mb(place.home):.1f} MB")
        print(f"{len(done['runs'])} runs deleted, {len(done['kept'])} older ones kept, {elapsed_s:.1f} s")
        for name in before:
            print(f"statuses by {name}: {'the same' if before[name] == after[name] else 'CHANGED'}")
        if before != after:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
