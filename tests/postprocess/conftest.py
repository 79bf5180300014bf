"""Small rasters and collections whose values a shift or a flip would change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from olmoearth_nb.geojson import PredictionRequestFeature, PredictionResultCollection

UTM_SOUTH = "EPSG:32733"
TIMES = {"oe_start_time": "2024-03-01T00:00:00Z", "oe_end_time": "2024-06-01T00:00:00Z"}


def write_tif(path: Path, data: Any, *, left: float, top: float, res: float = 10.0, **options: Any) -> Path:
    """Writes a north-up GeoTIFF of (C, H, W) or (H, W); ``mask`` becomes its internal mask."""
    data = np.asarray(data)
    data = data if data.ndim == 3 else data[None]
    mask, names = options.pop("mask", None), options.pop("descriptions", None)
    transform = options.pop("transform", Affine(res, 0, left, 0, -res, top))
    profile = {"driver": "GTiff", "count": data.shape[0], "height": data.shape[1], "width": data.shape[2]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", dtype=data.dtype, transform=transform, **profile, **({"crs": UTM_SOUTH} | options)
        ) as file,
    ):
        file.write(data)
        if names:
            file.descriptions = names
        if mask is not None:
            file.write_mask(np.asarray(mask, dtype=bool))
    return path


@pytest.fixture(scope="session")
def tif() -> Callable[..., Path]:
    return write_tif


@pytest.fixture(scope="session")
def gradient() -> Callable[..., Any]:
    """A (H, W) array in which every pixel has a value of its own modulo ``top``, none of them 0."""

    def make(height: int, width: int, dtype: str = "uint8", *, seed: int = 0, top: int = 251) -> Any:
        return ((np.arange(height * width) * 7 + seed * 13) % top + 1).reshape(height, width).astype(dtype)

    return make


@pytest.fixture(scope="session")
def collection() -> Callable[..., PredictionResultCollection]:
    """A result from geometries (dicts) and properties."""

    def make(*features: tuple[Any, Any]) -> PredictionResultCollection:
        return PredictionResultCollection.model_validate(
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "geometry": g, "properties": p} for g, p in features],
            }
        )

    return make


@pytest.fixture(scope="session")
def request_feature() -> PredictionRequestFeature:
    return PredictionRequestFeature.model_validate(
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[20, -31], [21, -31], [21, -30], [20, -30], [20, -31]]]},
            "properties": {"name": "field 7", "score": 1.0, **TIMES},
        }
    )
