"""What a stage of postprocessing changed: the nouns; :mod:`changes_raster` and :mod:`changes_vector` find it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd

__all__ = ["Changes", "changes_frame"]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What was done to pixels or features.

    Attributes:
        table: A row for each change, with its place in WGS84; the column ``change`` says of which kind.
        counts: What is said about all of it: name -> number.
        pictures: Of rasters, GeoTIFFs that say what happened to each pixel.
        notes: What could not be compared.
    """

    table: gpd.GeoDataFrame
    counts: Mapping[str, int]
    pictures: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def changes_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> gpd.GeoDataFrame:
    """A table of changes.

    Args:
        rows: Cells by column, ``geometry`` among them.
        columns: All columns but the geometry, in order; they are there without rows too.
    """
    cells = {name: [row.get(name) for row in rows] for name in columns}
    return gpd.GeoDataFrame(cells, geometry=[row["geometry"] for row in rows], crs="EPSG:4326")
