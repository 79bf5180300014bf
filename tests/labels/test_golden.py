"""Windows and labels of generated tasks are those that olmoearth-runner 0.1.14 makes, but for its known mistakes.

Its windows are cut towards zero, so that bounds may differ by a pixel (and with them the squares of a grid); a band
whose only label is null is filled with 255 there, whatever nodata_value says.
"""

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry import shape

from olmoearth_nb import labels
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry, LabeledWindow, RasterLabel

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"
CASES = json.loads((GOLDEN / "labels.json").read_text()) if (GOLDEN / "labels.json").exists() else []

pytestmark = pytest.mark.skipif(not CASES, reason="the golden outputs are not beside the checkout")


def _task(case: dict[str, Any]) -> AnnotationTask:
    times = tuple(datetime.fromisoformat(moment) for moment in case["time_range"])
    return AnnotationTask(
        task_id=uuid.UUID(case["task_id"]),
        task_st_geometry=STGeometry(WGS84_PROJECTION, shape(case["task"]), times),
        annotations=[
            LabeledSTGeometry(
                st_geometry=STGeometry(WGS84_PROJECTION, shape(annotation["geometry"]), times),
                labels=annotation["labels"],
            )
            for annotation in case["annotations"]
        ],
    )


def _windows(case: dict[str, Any]) -> dict[str, LabeledWindow[Any]]:
    preparer = getattr(labels, case["class"])(**case["init_args"])
    return {window.name: window for window in preparer.prepare_labeled_windows(_task(case))}


def _named(case: dict[str, Any]) -> str:
    strategy = (case["init_args"].get("grid_config") or {}).get("gridding_strategy", "")
    return f"{case['class']}-{strategy}-{case['task_id'][:4]}"


def _golden_array(case: dict[str, Any], window: dict[str, Any], number: int) -> np.ndarray:
    with np.load(GOLDEN / "labels.npz") as arrays:
        array = arrays[window["array"]].copy()
    if case["class"] == "PointToRasterWindowPreparer":
        for band, name in enumerate(window["bands"]):
            if case["annotations"][number]["labels"][name] is None:
                assert (array[band] == 255).all()
                array[band] = case["init_args"]["nodata_value"]
    return array


works = pytest.mark.parametrize("case", [case for case in CASES if "fails" not in case], ids=_named)


@works
def test_the_same_windows_as_the_old_tool(case: dict[str, Any]) -> None:
    windows = _windows(case)

    assert set(windows) <= {golden["name"] for golden in case["windows"]}
    assert len(windows) >= len(case["windows"]) - 1
    for number, golden in enumerate(case["windows"]):
        if golden["name"] not in windows:
            # A grid that begins a pixel later: all labels of this square are in the square before it.
            array = _golden_array(case, golden, number)
            assert (array[:, 1:-1, 1:-1] == case["init_args"]["nodata_value"]).all()
            continue
        window = windows[golden["name"]]
        assert window.projection.serialize() == Projection.deserialize(golden["projection"]).serialize()
        assert np.abs(np.subtract(window.bounds, golden["bounds"])).max() <= 1


@works
def test_labels_are_equal_where_both_windows_are(case: dict[str, Any]) -> None:
    windows = _windows(case)

    for number, golden in enumerate(case["windows"]):
        window = windows.get(golden["name"])
        if window is None:
            continue
        if "vector" in golden:
            (label,) = window.labels
            (expected,) = golden["vector"]
            assert label.labels == expected["labels"]
            x, y = expected["xy"]
            # Cut towards zero there, so one too far south where y is negative.
            assert label.st_geometry.shp.coords[0] == (x, y - 1 if y < 0 else y)
            continue
        assert [label.key for label in window.labels] == golden["bands"]
        ours = np.stack([label.value for label in window.labels])
        theirs = _golden_array(case, golden, number)
        x0, y0 = np.maximum(window.bounds[:2], golden["bounds"][:2])
        x1, y1 = np.minimum(window.bounds[2:], golden["bounds"][2:])
        assert (x1 - x0) * (y1 - y0) > 0
        common = ours[:, y0 - window.bounds[1] : y1 - window.bounds[1], x0 - window.bounds[0] : x1 - window.bounds[0]]
        gx, gy = golden["bounds"][:2]
        np.testing.assert_array_equal(common, theirs[:, y0 - gy : y1 - gy, x0 - gx : x1 - gx])


@works
def test_the_same_splits_for_the_same_bounds(case: dict[str, Any]) -> None:
    splitter = getattr(labels, case["splitter"]["class"])(**case["splitter"]["init_args"])
    for golden in case["windows"]:
        projection = Projection.deserialize(golden["projection"])
        x0, y0, x1, y1 = golden["bounds"]
        window = LabeledWindow(
            name=golden["name"],
            st_geometry=STGeometry(projection, shapely.box(x0, y0, x1, y1), None),
            labels=[RasterLabel(key="label", value=np.zeros((y1 - y0, x1 - x0)))],
        )
        assert splitter.choose_split_for_window(window) == golden["split"]


@pytest.mark.parametrize("case", [case for case in CASES if "fails" in case], ids=_named)
def test_what_the_old_tool_fails_on_works(case: dict[str, Any]) -> None:
    (window,) = _windows(case).values()

    assert window.projection.crs == CRS.from_epsg(32737)
    (label,) = window.labels
    values = {annotation["labels"]["category"] for annotation in case["annotations"]}
    assert values <= set(np.unique(label.value)) <= values | {255}
