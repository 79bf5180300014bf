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
    features = [feature(shape, index) for index, shape in enumerate(polygons(count))]
    return {"type": "FeatureCollection", "features": features}


def feature(shape: shapely.Polygon, index: int) -> dict[str, object]:
    """One of them."""
    return {"type": "Feature", "geometry": shapely.geometry.mapping(shape), "properties": {"index": index}}


def ours(folder: Path, *, count: int) -> float:  # noqa: ARG001
    """The postprocessor of partitions."""
    from olmoearth_nb.geojson import PredictionResultCollection
    from olmoearth_nb.postprocess.vector import CombineAndDeduplicateGeojson

    results = [PredictionResultCollection.model_validate(collection(count))]
    return timed(lambda: CombineAndDeduplicateGeojson().process_partition(results))


def partitions(folder: Path, *, count: int) -> None:
    """Results of ten partitions, as files."""
    from olmoearth_nb.geojson_text import write_features

    shapes = polygons(count)
    for part in range(10):
        some = range(part * count // 10, (part + 1) * count // 10)
        write_features(
            folder / f"partition_{part}.geojson",
            (json.dumps(feature(shapes[index], index), separators=(",", ":")).encode() for index in some),
        )


def combined(folder: Path) -> None:
    """From the files of the partitions to that of the request."""
    from olmoearth_nb.postprocess.merging import write_merged
    from olmoearth_nb.postprocess.vector import CombineAndDeduplicateGeojson

    target, paths = folder / "combined.geojson", sorted(folder.glob("partition_*.geojson"))
    write_merged(target, CombineAndDeduplicateGeojson(), "process_dataset", paths, where=str(folder))


def copied(folder: Path) -> None:
    """Parses the files of the partitions, and writes the features again."""
    with (folder / "copied.geojson").open("w") as file:
        for path in sorted(folder.glob("partition_*.geojson")):
            file.writelines(json.dumps(one) for one in json.loads(path.read_text())["features"])


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
    many = (100_000, *((1_000_000,) if large else ()))
    for count in (200, 1_000, 3_000, *many):
        theirs = None
        if against is not None and count <= 1_000:
            (folder / "results.geojson").write_text(json.dumps(collection(count)))
            theirs = other(against, "duplicates.py", folder / "results.geojson")
        yield Result(
            name="duplicates", size=f"{count:,} polygons", part=in_process("duplicates:ours", folder, count=count),
            limit=in_process("duplicates:limit", folder, count=count).seconds,
            limit_is="an index and one query each", target="≤ 10 s" if count == 100_000 else "", against=theirs,
        )  # fmt: skip
    for count in many:
        in_process("duplicates:partitions", folder, count=count)
        yield Result(
            name="duplicates", size=f"{count:,} polygons, files", part=in_process("duplicates:combined", folder),
            limit=in_process("duplicates:copied", folder).seconds, limit_is="parsing the JSON and writing it again",
            target="≤ 300 MB" if count == 100_000 else "≤ 2 GB",
        )  # fmt: skip
