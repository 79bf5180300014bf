from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from drawings import color_at, legend_of, write_geotiff

from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.prediction import plot_prediction

COVER = ClassLegend("cover", 1, (ClassEntry(1, "water", (0, 0, 250)), ClassEntry(2, "forest", (0, 99, 0))))
HEIGHT = RangeLegend("height", 2, 0.0, 10.0, "gray")
LEGEND = Legend("RASTER", classes=(COVER,), ranges=(HEIGHT,))


def raster(path: Path) -> Path:
    """Water in the west, forest in the east, nothing in the last row; height grows southwards."""
    classes = np.repeat([[1, 1, 1, 2]], 4, axis=0)
    height = np.repeat([[1], [4], [7], [10]], 4, axis=1)
    classes[3], height[3] = 0, 0
    return write_geotiff(path, np.stack([classes, height]).astype(np.uint8), nodata=0)


def features(path: Path, geometries: list[shapely.Geometry], **columns: list[Any]) -> Path:
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    found = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": row}
        for geometry, row in zip(geometries, rows, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    return path


def test_classes_of_a_raster(tmp_path: Path) -> None:
    (ax,) = plot_prediction(raster(tmp_path / "a.tif"), LEGEND).axes
    assert legend_of(ax) == ["water  75%", "forest  25%"]
    assert color_at(ax, 600_005, 4_999_995) == (0, 0, 250)
    assert color_at(ax, 600_035, 4_999_975) == (0, 99, 0)
    assert color_at(ax, 600_020, 4_999_965) == (244, 244, 242)


def test_measurements_of_a_raster(tmp_path: Path) -> None:
    ax, bar = plot_prediction([raster(tmp_path / "a.tif")], LEGEND, field="height").axes
    assert (bar.get_ylabel(), bar.get_ylim()) == ("height", (0, 10))
    assert color_at(ax, 600_005, 4_999_975) == HEIGHT.color_of(7)
    with pytest.raises(UsageError, match=r"no field 'heigth'. Expected one of cover, height"):
        plot_prediction([raster(tmp_path / "a.tif")], LEGEND, field="heigth")


def test_a_raster_without_a_legend_has_a_colour_a_value(tmp_path: Path) -> None:
    (ax,) = plot_prediction(raster(tmp_path / "a.tif")).axes
    assert legend_of(ax) == ["1  75%", "2  25%"]
    assert ax.get_title(loc="left") == "a.tif"
    assert color_at(ax, 600_005, 4_999_995) != color_at(ax, 600_035, 4_999_975)


def test_classes_of_features(tmp_path: Path) -> None:
    path = features(
        tmp_path / "result.geojson",
        [shapely.Point(10, 50), shapely.box(10.5, 50, 11, 50.5)],
        oe_start_time=["2024-01-01T00:00:00Z"] * 2,
        cover=["forest", "water"],
        score=[0.5, 0.9],
    )
    (ax,) = plot_prediction(path, LEGEND).axes
    assert legend_of(ax) == ["water  50%", "forest  50%"]
    assert color_at(ax, 10, 50) == (0, 99, 0)
    red, green, blue = color_at(ax, 10.75, 50.25)
    assert red == pytest.approx(green, abs=2)
    assert blue > red + 100
    ax, bar = plot_prediction(path, LEGEND, field="score").axes
    assert bar.get_ylim() == pytest.approx((0.5, 0.9), abs=0.01)
    with pytest.raises(UsageError, match=r"no property 'scor'"):
        plot_prediction(path, LEGEND, field="scor")


def test_no_features_are_a_result(tmp_path: Path) -> None:
    path = tmp_path / "result.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    figure = plot_prediction(path, LEGEND)
    assert [text.get_text() for text in figure.texts] == ["result.geojson has no features."]


def test_the_request_is_drawn_above(tmp_path: Path) -> None:
    request = features(
        tmp_path / "request.geojson",
        [shapely.Point(4.2708, 45.1464).buffer(0.0001)],
        oe_start_time=["2024-01-01"],
        oe_end_time=["2024-01-02"],
    )
    (ax,) = plot_prediction(raster(tmp_path / "a.tif"), LEGEND, request=request).axes
    assert len(ax.collections) == 1


def test_files_that_can_not_be_shown(tmp_path: Path) -> None:
    broken = tmp_path / "a.geojson"
    broken.write_text("{")
    with pytest.raises(InputFileError, match=r"a\.geojson: The result can't be read"):
        plot_prediction(broken)
    with pytest.raises(UsageError, match=r"Vector results are one file"):
        plot_prediction([broken, broken])
    with pytest.raises(InputFileError, match="no GeoTIFF"):
        plot_prediction([])
