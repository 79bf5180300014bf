from __future__ import annotations

from pathlib import Path

import numpy as np

from .conftest import OURS, THEIRS, build, layer, rasters, window, write_raster


def test_it_gives_the_arrays_of_local_files_and_writes_nothing_beside_the_imagery(tmp_path: Path) -> None:
    write_raster(tmp_path / "imagery" / "scene.tif")
    spec = window("w", 8, 20)
    ours, outcome = build(tmp_path / "ours", layer(OURS, tmp_path / "imagery"), [spec])
    assert outcome == {"w": None}
    assert [path.name for path in (tmp_path / "imagery").iterdir()] == ["scene.tif"]
    assert not (tmp_path / "ours" / "tiles").exists()
    theirs, _ = build(tmp_path / "theirs", layer(THEIRS, tmp_path / "imagery"), [spec])
    np.testing.assert_array_equal(rasters(ours, spec)[0].array, rasters(theirs, spec)[0].array)
