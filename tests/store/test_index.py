from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import InputFileError, MissingStepError
from olmoearth_nb.store.index import read_index, write_index
from olmoearth_nb.types import WindowSpec

PROJECTIONS = [Projection(CRS.from_epsg(32617), 10, -10), Projection(CRS.from_epsg(3857), 9.55, -9.55)]
TIMES = [None, (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, 12, tzinfo=UTC))]
coordinates = st.integers(-(10**6), 10**6)


@st.composite
def specs(draw: st.DrawFn) -> WindowSpec:
    x0, y0 = draw(coordinates), draw(coordinates)
    return WindowSpec(
        name=draw(st.text("abc_0123", min_size=1)),
        group=draw(st.sampled_from(["group_partition_0", "group_partition_7"])),
        projection=draw(st.sampled_from(PROJECTIONS)),
        bounds=(x0, y0, x0 + draw(st.integers(1, 500)), y0 + draw(st.integers(1, 500))),
        time_range=draw(st.sampled_from(TIMES)),
        features=tuple(draw(st.lists(st.integers(0, 20), max_size=3))),
    )


@given(windows=st.lists(specs(), max_size=8))
def test_what_is_written_is_read_again(windows: list[WindowSpec], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("index") / "partition_0" / "windows.json"
    write_index(path, windows)
    assert read_index(path) == windows


def test_an_unknown_partition_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(MissingStepError, match=r"runner\.partition\(overwrite=True\)"):
        read_index(tmp_path / "partition_9" / "windows.json")


def test_a_damaged_index_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "windows.json"
    path.write_text('{"projections": [], "time_ranges": [], "windows": [["a", "g", 3, 0, 0, 1, 1, 0, []]]}')
    with pytest.raises(InputFileError, match=r"windows\.json.*damaged"):
        read_index(path)
