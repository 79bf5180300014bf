from __future__ import annotations

import pytest

from olmoearth_nb.remote.layout import Needs, is_passing, kind_of, mark_of

WINDOW = "dataset_0/windows/group_partition_1/window"


@pytest.mark.parametrize(
    ("path", "kind", "mark"),
    [
        (f"{WINDOW}/metadata.json", "light", None),
        (f"{WINDOW}/layers/output/completed", "light", None),
        (f"{WINDOW}/layers/output/output/geotiff.tif", "output", f"{WINDOW}/layers/output/completed"),
        (f"{WINDOW}/layers/scene.1/B1/geotiff.tif", "imagery", f"{WINDOW}/layers/scene.1/completed"),
        ("dataset/windows/g/w/layers/label/data.geojson", "imagery", "dataset/windows/g/w/layers/label/completed"),
        ("dataset_0/tiles/scene/item/B1/geotiff.tif", "tiles", "dataset_0/tiles/scene/item/B1/completed"),
        ("partitions/p/windows.json", "light", None),
        ("partitions/p/postprocessed.json", "light", None),
        ("partitions/p/results_raster/a.tif", "merged", "partitions/p/postprocessed.json"),
        ("partitions/p/result.geojson", "merged", "partitions/p/postprocessed.json"),
        ("results/results_raster/a.tif", "results", None),
        ("trainer_checkpoints/last.ckpt", "training", None),
        ("dataset_0/config.json", "light", None),
    ],
)
def test_what_files_are(path: str, kind: str, mark: str | None) -> None:
    assert (kind_of(path), mark_of(path)) == (kind, mark)
    assert not is_passing(path)


@pytest.mark.parametrize(
    "path",
    [
        ".olmoearth_nb/lock",
        ".olmoearth_nb/checked.json",
        "partitions/p/.results_raster.0a1b2c3d/a.tif",
        "results/.result.0a1b2c3d.geojson",
        f"{WINDOW}/items.json.tmp.4711",
        "dataset_0/windows.sqlite3-wal",
    ],
)
def test_what_is_on_its_way_stays_here(path: str) -> None:
    assert is_passing(path)


def test_needs_of_some_windows() -> None:
    other = WINDOW.replace("partition_1", "partition_2")
    needs = Needs(
        kinds=frozenset({"output"}),
        windows=frozenset({("group_partition_1", "window")}),
        partitions=frozenset({"partition_1"}),
    )
    raster = "layers/output/output/geotiff.tif"
    assert needs(f"{WINDOW}/{raster}")
    assert not needs(f"{other}/{raster}")
    assert not needs(f"{WINDOW}/layers/scene/B1/geotiff.tif")
    assert needs(f"{other}/metadata.json")
    assert needs("partitions/partition_2/windows.json")
    alone = Needs(kinds=needs.kinds, windows=needs.windows, partitions=needs.partitions, elsewhere=False)
    assert alone(f"{WINDOW}/metadata.json")
    assert not alone(f"{other}/metadata.json")
    assert not alone("partitions/partition_2/windows.json")
    assert alone("dataset_0/config.json")
