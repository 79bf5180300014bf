"""For tests of the browser of windows: a small dataset with series, labels and predictions, and its windows table."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
from drawings import ZONE_31, add_window, make_dataset, raster_layer, write_layer
from rslearn.dataset.window import WindowLayerData
from scenes import BANDS, CORNER, class_map, scene_array

from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.maps.widgets.source import DatasetSource
from olmoearth_nb.store.windows import WindowRow, window_frame

SIDE, SIZE = 4, 32
ENTRIES = (
    ClassEntry(0, "water", (30, 90, 220)),
    ClassEntry(1, "forest", (20, 120, 50)),
    ClassEntry(2, "field & <b>meadow</b>", (230, 200, 60)),
)
LEGEND = Legend("RASTER", classes=(ClassLegend("cover", 1, ENTRIES, confidence_band_index=2),))
STATES = ("planned", "built", "predicted", "failed")


def make_windows(folder: Path, *, steps: int = 3) -> tuple[gpd.GeoDataFrame, DatasetSource]:
    """16 windows of 32 pixels in a square, ``w00`` in the upper left corner and ``w33`` in the lower right.

    Those of a row are planned, built, predicted and failed; planned and failed ones have a label only.

    Args:
        folder: Where to.
        steps: Images of the series.
    """
    dataset = make_dataset(
        folder,
        scene=raster_layer(list(BANDS), source=True),
        label=raster_layer(["cover"], nodata_value=255),
        output=raster_layer(["cover", "score"], nodata_value=255),
    )
    pixels, classes = scene_array(), class_map()
    rows = []
    for y in range(SIDE):
        for x in range(SIDE):
            cut = np.s_[y * SIZE : (y + 1) * SIZE, x * SIZE : (x + 1) * SIZE]
            bounds = (
                CORNER[0] + x * SIZE,
                CORNER[1] + y * SIZE,
                CORNER[0] + (x + 1) * SIZE,
                CORNER[1] + (y + 1) * SIZE,
            )
            window = add_window(dataset, f"w{y}{x}", bounds)
            write_layer(dataset, window, "label", classes[cut][None])
            if STATES[x] in ("built", "predicted"):
                images = [pixels[:, *cut] * (1 + 0.15 * step) for step in range(steps)]
                write_layer(dataset, window, "scene", *images)
                items = WindowLayerData("scene", [[_item(step)] for step in range(steps)])
                (folder / "windows" / "default" / window.name / "items.json").write_text(
                    json.dumps([items.serialize()])
                )
            if STATES[x] == "predicted":
                guess = np.roll(classes[cut], y, axis=0)
                write_layer(dataset, window, "output", np.stack([guess, 40 + 20 * guess]))
            rows.append(
                WindowRow(
                    key=("default", window.name),
                    projection=ZONE_31,
                    bounds=bounds,
                    time_range=None,
                    columns={
                        "partition": f"partition_{y}",
                        "partitions": f"partition_{y}, partition_{(y + 1) % SIDE}",
                        "split": ("train", "train", "val", "test")[y],
                        "state": STATES[x],
                        "reason": "No image <i>at all</i>." if STATES[x] == "failed" else None,
                    },
                )
            )
    labels, prediction = (LabelView(layer=name, legend=LEGEND) for name in ("label", "output"))
    table = window_frame(rows, ["partition", "partitions", "split", "state", "reason"])
    return table, DatasetSource(dataset=dataset, labels=labels, prediction=prediction)


def _item(step: int) -> dict[str, object]:
    time = f"2024-{step + 4:02d}-05T10:30:00+00:00"
    return {"name": f"S2B_MSIL2A_20240{step + 4}05T103029_N0510_R108_T31TFK", "geometry": {"time_range": [time, time]}}
