from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import scenes
from rslearn.dataset import Dataset

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.store.dataset import open_dataset, write_dataset_config
from olmoearth_nb.store.local_listing import drop_outdated_listings
from olmoearth_nb.store.materialize import BuildOptions, build_windows
from olmoearth_nb.store.windows import as_window

from .conftest import create, spec

BANDS = ["B1", "B2", "B3"]


def local(folder: Path, bands: list[str]) -> dict[str, Any]:
    specs = [{"fnames": ["scene.tif"], "bands": [bands]}]
    arguments = {"src_dir": str(folder), "raster_item_specs": specs}
    source = {
        "class_path": "rslearn.data_sources.local_files.LocalFiles",
        "init_args": arguments,
        "query_config": {"space_mode": "INTERSECTS", "max_matches": 1},
    }
    return {"type": "raster", "band_sets": [{"bands": BANDS, "dtype": "uint16"}], "data_source": source}


def test_two_projects_that_name_the_bands_of_one_file_differently_each_get_their_own(tmp_path: Path) -> None:
    scenes.write_scene(tmp_path / "scenes")
    read: list[Any] = []
    for name, bands in [("one", BANDS), ("other", BANDS[::-1]), ("again", BANDS)]:
        write_dataset_config(tmp_path / name, {"layers": {"scene": local(tmp_path / "scenes", bands)}})
        dataset: Dataset = open_dataset(tmp_path / name)
        windows = create(dataset, spec("w", 0, 0))
        build_windows(tmp_path / name, windows, options=BuildOptions(workers=0), progress=False)
        window = as_window(dataset, windows[0])
        band_set = dataset.layers["scene"].band_sets[0]
        raster = window.data.read_raster("scene", BANDS, band_set.instantiate_raster_format())
        read.append(raster.get_chw_array())
    assert (read[0] == read[1][::-1]).all()
    assert (read[0][0] != read[0][2]).any()
    assert (read[2] == read[0]).all()


def test_a_listing_that_says_what_is_meant_stays(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    scenes.write_scene(folder)
    listing = folder / "summary.json"
    listing.write_text(
        f'[{{"src_dir": "{folder}", "spec": {{"fnames": ["scene.tif"], "bands": [["B1", "B2", "B3"]]}}}}]'
    )
    drop_outdated_listings({"layers": {"a": local(folder, BANDS)}})
    assert listing.exists()
    drop_outdated_listings({"layers": {"a": local(folder, BANDS[::-1])}})
    assert not listing.exists()


def test_two_layers_that_say_different_things_of_a_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    scenes.write_scene(folder)
    config = {"layers": {"a": local(folder, BANDS), "b": local(folder, BANDS[::-1])}}
    with pytest.raises(ConfigError, match=r"'a' and 'b' read different items from one folder"):
        drop_outdated_listings(config)
