"""How far what is tested on lies from what is trained on: in metres, across zones, near poles and at 180°."""

from __future__ import annotations

from collections.abc import Iterator

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio.warp
import shapely
from pyproj import Geod
from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry
from scipy.spatial import cKDTree

from olmoearth_nb.globe import Shapes, project_all, shape_array, utm_projection_for
from olmoearth_nb.labels.report.bounds import FAR_METRES, LEAST_APART_METRES
from olmoearth_nb.labels.report.findings import LabelFinding, named, percent, plural, worst
from olmoearth_nb.labels.report.planned import SplitWindows
from olmoearth_nb.lonlat import unwrap_antimeridian
from olmoearth_nb.types import shape_of

__all__ = ["EARTH_METRES", "check_leakage", "check_task_splits", "nearest_in_training", "on_sphere"]

Numbers = npt.NDArray[np.float64]

_GEOD = Geod(ellps="WGS84")
EARTH_METRES = 6_371_008.8
"""Mean radius."""

# Windows beside each other touch; those that share pixels still do when one is smaller by this, in pixels.
_LESS = 0.25


def nearest_in_training(windows: SplitWindows) -> gpd.GeoDataFrame:
    """For each window of ``val`` and ``test`` the nearest one of ``train``.

    Args:
        windows: With their splits.

    Returns:
        ``window``, ``split``, ``train`` (names), ``metres`` from edge to edge (0 where they share pixels; of windows
        further away than 100 km, from centre to centre), ``width_m`` (the window's longer side), ``shared`` (whether
        they share pixels), and a line from centre to centre.
    """
    table = windows.table
    asked = np.flatnonzero(table["split"].isin(["val", "test"]))
    known = np.flatnonzero(table["split"] == "train")
    if not len(asked) or not len(known):
        columns = ["window", "split", "train", "metres", "width_m", "shared"]
        return gpd.GeoDataFrame(pd.DataFrame(columns=columns), geometry=[], crs=4326)
    outlines = shape_array(list(table.geometry))
    centres = shapely.get_coordinates(shapely.centroid(outlines))
    sphere = on_sphere(centres)
    chords, places = cKDTree(sphere[known]).query(sphere[asked])
    metres = 2 * EARTH_METRES * np.arcsin(np.minimum(chords / 2, 1.0))
    nearest = known[places]
    shared = np.zeros(len(asked), dtype=bool)
    reach = float(table["width_m"].max()) * 1.5
    for group in _by_zone(centres[asked]):
        near = known[_within(sphere[known], sphere[asked[group]], FAR_METRES + reach)]
        if not len(near):
            continue
        found, away, touching = _nearest_there(outlines, asked[group], near, table["pixel_m"].to_numpy())
        closer = away < FAR_METRES
        chosen = group[closer]
        nearest[chosen], metres[chosen], shared[chosen] = found[closer], away[closer], touching[closer]
    lines = [
        unwrap_antimeridian(shapely.LineString([one, other]))
        for one, other in zip(centres[asked].tolist(), centres[nearest].tolist(), strict=True)
    ]
    data = {
        "window": table["name"].to_numpy()[asked],
        "split": table["split"].to_numpy()[asked],
        "train": table["name"].to_numpy()[nearest],
        "metres": metres,
        "width_m": table["width_m"].to_numpy()[asked],
        "shared": shared,
    }
    return gpd.GeoDataFrame(data, geometry=lines, crs=4326)


def on_sphere(lonlat: Numbers) -> Numbers:
    """Places as points on the unit sphere, where neighbours across 180° and around poles are neighbours.

    Args:
        lonlat: Degrees, (N, 2).

    Returns:
        (N, 3).
    """
    lon, lat = np.radians(lonlat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _by_zone(centres: Numbers) -> list[npt.NDArray[np.int64]]:
    """Places by UTM/UPS zone, by their own number."""
    lon, lat = centres.T
    zone = np.where(lat > 84, 100, np.where(lat < -80, 101, np.floor((lon + 180) % 360 / 6)))
    # North and south of the equator have zones of their own, so that no zone is torn.
    keys = zone * 2 + (lat < 0)
    return [np.flatnonzero(keys == key) for key in np.unique(keys)]


def _within(known: Numbers, asked: Numbers, metres: float) -> npt.NDArray[np.bool_]:
    """Which known places are so near to any of those asked about."""
    reach = 2 * np.sin(min(metres / EARTH_METRES / 2, np.pi / 2))
    chords, _ = cKDTree(asked).query(known, distance_upper_bound=reach)
    return np.asarray(np.isfinite(chords))


def _nearest_there(
    outlines: Shapes, asked: npt.NDArray[np.int64], known: npt.NDArray[np.int64], pixel: Numbers
) -> tuple[npt.NDArray[np.int64], Numbers, npt.NDArray[np.bool_]]:
    """Nearest known window of each one asked about, metres between their edges, and whether they share pixels."""
    projection = utm_projection_for(outlines[asked[0]], 1, -1)
    rows = np.concatenate([asked, known])
    moved = project_all([STGeometry(WGS84_PROJECTION, outlines[row], None) for row in rows], [projection] * len(rows))
    shapes = shape_array([shape_of(one) for one in moved])
    here, there = shapes[: len(asked)], shapes[len(asked) :]
    inner = np.asarray(shapely.buffer(here, -_LESS * pixel[asked], join_style="mitre"), dtype=object)
    # A window of a few centimetres has nothing inside.
    inner = np.where(shapely.is_empty(inner), here, inner)
    (_, places), away = shapely.STRtree(there).query_nearest(inner, all_matches=False, return_distance=True)
    touching = away == 0
    lines = shapely.shortest_line(here, there[places])
    ends = shapely.get_coordinates(lines).reshape(-1, 2, 2) * [projection.x_resolution, projection.y_resolution]
    lon, lat = rasterio.warp.transform(projection.crs, WGS84_PROJECTION.crs, *ends.reshape(-1, 2).T.tolist())
    metres = np.asarray(_GEOD.inv(lon[::2], lat[::2], lon[1::2], lat[1::2])[2])
    return known[places], np.where(touching, 0.0, metres), touching


# ---- findings ----------------------------------------------------------------------------------------------------


def check_leakage(windows: SplitWindows) -> Iterator[LabelFinding]:
    """Whether windows of ``val`` and ``test`` share ground with those of ``train``, or lie next to them.

    Args:
        windows: With their splits.
    """
    pairs = nearest_in_training(windows)
    if not len(pairs):
        return
    near = ~pairs["shared"] & (pairs["metres"] < np.maximum(pairs["width_m"], LEAST_APART_METRES))
    texts, numbers, verdicts = [], {}, []
    for split in [one for one in ("val", "test") if (pairs["split"] == one).any()]:
        of_split = pairs["split"] == split
        shared, close, count = (int((one & of_split).sum()) for one in (pairs["shared"], near, of_split))
        metres = pairs.loc[of_split, "metres"]
        texts.append(
            f"{split}: {shared:,} of {plural(count, 'window')} share pixels with train ({percent(shared / count)}), "
            f"{close:,} lie closer than a window or {LEAST_APART_METRES:.0f} m; "
            f"nearest {_length(metres.min())}, median {_length(metres.median())}"
        )
        numbers[split] = {
            "windows": count,
            "sharing": shared,
            "near": close,
            "least_metres": float(metres.min()),
            "median_metres": float(metres.median()),
        }
        verdicts.append("bad" if shared else "look" if close else "good")
    verdict = worst(verdicts)  # type: ignore[arg-type]  # they are verdicts
    chosen = pairs[pairs["shared"] | near].reset_index(drop=True)
    yield LabelFinding(
        code="leakage",
        check="distance between splits",
        verdict=verdict,
        found="; ".join(texts) + ".",
        advice=""
        if verdict == "good"
        else "Split by place: SpatialDataSplitter with a grid_size of many windows. What is left at the borders of "
        "cells, runner.evaluate(apart_from='train') leaves out.",
        numbers=numbers,
        where=chosen if len(chosen) else None,
    )


def check_task_splits(windows: SplitWindows) -> LabelFinding:
    """Whether windows of one task are in different splits.

    Args:
        windows: With their splits.
    """
    table = windows.table
    splits = table.groupby("task", sort=False)["split"].nunique()
    torn = splits[splits > 1].index
    several = int((table.groupby("task", sort=False).size() > 1).sum())
    share = len(torn) / max(len(splits), 1)
    return LabelFinding(
        code="task-splits",
        check="tasks in several splits",
        verdict="look" if len(torn) else "good",
        found=f"{plural(len(torn), 'task')} ({percent(share)}) have windows in different splits: {named(torn, most=2)}."
        if len(torn)
        else f"Each task is in one split; {several:,} have several windows.",
        advice="One annotator on one image labelled both: split by place with cells larger than a task."
        * bool(len(torn)),
        numbers={"tasks": len(torn), "tasks_with_several_windows": several},
        where=table[table["task"].isin(torn)].reset_index(drop=True) if len(torn) else None,
    )


def _length(metres: float) -> str:
    return f"{metres:,.0f} m" if metres < 10_000 else f"{metres / 1000:,.0f} km"
