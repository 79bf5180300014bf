from __future__ import annotations

from pathlib import Path

import pytest
import scenes

from olmoearth_nb.store.dataset import ScratchDataset, open_dataset, write_dataset_config
from olmoearth_nb.store.windows import create_window
from olmoearth_nb.types import WindowSpec


def spec(name: str, x: int, y: int, size: int = 32) -> WindowSpec:
    """A window at pixels of the scene."""
    x0, y0 = scenes.CORNER[0] + x, scenes.CORNER[1] + y
    return WindowSpec(
        name=name,
        group="group_partition_0",
        projection=scenes.PROJECTION,
        bounds=(x0, y0, x0 + size, y0 + size),
        time_range=None,
        features=(0,),
    )


@pytest.fixture
def dataset(tmp_path: Path) -> ScratchDataset:
    """A dataset over one scene of 128 pixels, no windows yet."""
    scenes.write_scene(tmp_path / "scenes")
    config = scenes.raster_dataset_config()
    config["layers"]["scene"]["data_source"]["init_args"]["src_dir"] = str(tmp_path / "scenes")
    write_dataset_config(tmp_path / "dataset", config)
    return open_dataset(tmp_path / "dataset")


def create(dataset: ScratchDataset, *specs: WindowSpec) -> list[WindowSpec]:
    for one in specs:
        create_window(dataset, one)
    return list(specs)
