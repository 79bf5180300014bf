from __future__ import annotations

import pytest
from browser.harness import Lab, near

pytestmark = pytest.mark.browser

VIEW = """
import geopandas as gpd
from shapely.geometry import box
from olmoearth_nb import preview
from olmoearth_nb.maps.features import windows_layer

cells = [box(x / 50, 60, x / 50 + 0.02, 60.02) for x in range(10)]
table = gpd.GeoDataFrame({"name": [f"w{i}" for i in range(10)], "state": "built"}, geometry=cells, crs=4326)
view = preview(table)
view
"""


def test_a_map_that_changes_while_the_browser_still_makes_it_shows_the_last_change(lab: Lab) -> None:
    change = "view.show([windows_layer(table[:{}].assign(state='predicted'))])"
    notebook = lab.open([VIEW, *(change.format(count) for count in (2, 4, 6, 8))])
    seen = notebook.map(0)
    assert near(seen.shot("changed"), (0, 158, 115), 30).sum() > 500
