"""Duplicates among polygons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely

from benchmarks.measure import Result, in_process, other, timed


def polygons(count: int) -> list[shapely.Polygon]:
    """Polygons of which a third are moved copies of others, as dense at any number."""
    random = np.random.default_rng(0)
    centres = random.uniform(0, 0.01 * count**0.5, (count, 2))
    third = count // 3
    centres[-third:] = centres[:third] + random.normal(0, 0.00005, (third, 2))
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = random.uniform(0.002, 0.004, count)
    radii[-third:] = radii[:third]
    rings = centres[:, None] + radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return list(shapely.polygons(rings))


def collection(count: int) -> dict[str, object]:
    """The polygons as results."""
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(shape), "properties": {"index": index}}
        for index, shape in enumerate(polygons(count))
    ]
    return {"type": "FeatureCollection", "features": features}


def ours(folder: Path, *, count: int) -> float:  # noqa: ARG001
    """The postprocessor of partitions."""
    from olmoearth_nb.geojson import PredictionResultCollection
    from olmoearth_nb.postprocess.vector import CombineAndDeduplicateGeojson

    results = [PredictionResultCollection.model_validate(collection(count))]
    return timed(lambda: CombineAndDeduplicateGeojson().process_partition(results))


def limit(folder: Path, *, count: int) -> float:  # noqa: ARG001
    """Building an index, and one query for each."""
    shapes = polygons(count)

    def work() -> None:
        tree = shapely.STRtree(shapes)
        for shape in shapes:
            tree.query(shape)

    return timed(work)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:
    """Measures it."""
    for count in (200, 1_000, 3_000, 100_000, *((1_000_000,) if large else ())):
        theirs = None
        if against is not None and count <= 1_000:
            (folder / "results.geojson").write_text(json.dumps(collection(count)))
            theirs = other(against, "duplicates.py", folder / "results.geojson")
        yield Result(
            name="duplicates", size=f"{count:,} polygons", part=in_process("duplicates:ours", folder, count=count),
            limit=in_process("duplicates:limit", folder, count=count).seconds,
            limit_is="an index and one query each", target="≤ 10 s" if count == 100_000 else "", against=theirs,
        )  # fmt: skip
