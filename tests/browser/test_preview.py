from __future__ import annotations

import pytest
from browser.harness import Lab, near

pytestmark = pytest.mark.browser

GRID = """
import geopandas as gpd
from shapely.geometry import box
from olmoearth_nb import preview

SIDE = {side}
cells = [box(x / 50, 60 + y / 50, x / 50 + 0.02, 60.02 + y / 50) for y in range(SIDE) for x in range(SIDE)]
table = gpd.GeoDataFrame(
    {{
        "name": [f"window_{{i}}" for i in range(len(cells))],
        "group": [f"group_partition_{{i % 7}}" for i in range(len(cells))],
        "state": ["planned", "built", "predicted", "failed", "built"] * (len(cells) // 5),
    }},
    geometry=cells,
    crs=4326,
)
view = preview(table)
view
"""


@pytest.mark.parametrize("side", [5, 100])
def test_windows(lab: Lab, side: int) -> None:
    notebook = lab.open([GRID.format(side=side)])
    seen = notebook.map(0)
    notebook.shot("page")
    seen.shot("map")
    seen.hover(0.05, 60.05)
    seen.shot("hover")
    seen.click(0.05, 60.05)
    x = side * 2 + 2
    assert notebook.run("print(view.selected)") == f"window_{x}"
    assert near(seen.shot("selected"), (255, 0, 200)).sum() > 8
