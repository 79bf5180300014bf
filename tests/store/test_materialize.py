from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
import scenes
from rslearn.tile_stores import DefaultTileStore

from olmoearth_nb.errors import ConfigError, MissingStepError
from olmoearth_nb.runners import engines
from olmoearth_nb.store.dataset import ScratchDataset, open_dataset, write_dataset_config
from olmoearth_nb.store.materialize import BuildOptions, RunJobs, build_windows
from olmoearth_nb.store.windows import as_window

from .conftest import create, spec

HERE = BuildOptions(workers=0)


def _pixels(dataset: ScratchDataset, window: object) -> np.ndarray:
    layer = dataset.layers["scene"]
    bands = list(layer.band_sets[0].bands)
    raster = window.data.read_raster("scene", bands, layer.band_sets[0].instantiate_raster_format())  # type: ignore[attr-defined]
    return raster.get_chw_array()


def test_a_window_gets_the_pixels_under_it(dataset: ScratchDataset) -> None:
    inside = spec("inside", 8, 40)
    outcome = build_windows(Path(str(dataset.path)), create(dataset, inside), options=HERE, progress=False)
    assert outcome == {("group_partition_0", "inside"): None}
    np.testing.assert_array_equal(_pixels(dataset, as_window(dataset, inside)), scenes.scene_array()[:, 40:72, 8:40])


def test_windows_outside_the_imagery_are_named_with_the_reason(dataset: ScratchDataset) -> None:
    windows = create(dataset, spec("inside", 0, 0), spec("half", 112, 0), spec("outside", 500, 0))
    outcome = build_windows(Path(str(dataset.path)), windows, options=HERE, progress=False)
    assert outcome[("group_partition_0", "inside")] is None
    assert outcome[("group_partition_0", "half")] is None
    assert "no imagery of the source covers the window" in str(outcome[("group_partition_0", "outside")])


def test_what_is_complete_is_not_built_again(dataset: ScratchDataset) -> None:
    windows = create(dataset, spec("a", 0, 0))
    path = Path(str(dataset.path))
    build_windows(path, windows, options=HERE, progress=False)
    assert build_windows(path, windows, options=HERE, progress=False) == {}


def test_a_broken_image_is_a_reason_not_a_crash(dataset: ScratchDataset, tmp_path: Path) -> None:
    (tmp_path / "scenes" / "scene.tif").write_bytes(b"not a GeoTIFF")
    windows = create(dataset, spec("a", 0, 0), spec("b", 32, 0))
    outcome = build_windows(Path(str(dataset.path)), windows, options=HERE, progress=False)
    assert len(outcome) == 2
    assert all("layer scene" in str(reason) and "scene.tif" in str(reason) for reason in outcome.values())


def test_an_image_that_can_not_be_ingested_is_the_reason_and_not_what_follows_from_it(
    dataset: ScratchDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 50 MiB")

    monkeypatch.setattr(DefaultTileStore, "write_raster_file", no_memory)
    outcome = build_windows(Path(str(dataset.path)), create(dataset, spec("a", 0, 0)), options=HERE, progress=False)
    (reason,) = outcome.values()
    assert "can't be ingested: MemoryError: Unable to allocate 50 MiB" in str(reason)


class _DiesOnce(NamedTuple):
    """Work whose first worker is killed."""

    work: Callable[[Any], Any]
    sign: Path

    def __call__(self, job: Any) -> Any:
        if not self.sign.exists():
            self.sign.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(job)


@pytest.mark.parametrize("forks", [True, False])
def test_workers_give_the_same_as_this_process_also_if_one_is_killed(
    dataset: ScratchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, forks: bool
) -> None:
    monkeypatch.setattr(engines, "can_fork", lambda: forks)
    windows = create(dataset, *(spec(f"w{i}", 8 * (i % 12), 8 * (i // 12), 16) for i in range(40)))
    used: list[int] = []

    def processes(workers: int) -> RunJobs:
        used.append(workers)
        return lambda work, jobs: engines.Processes(workers, []).run(_DiesOnce(work, tmp_path / "died"), jobs)

    outcome = build_windows(
        Path(str(dataset.path)), windows, options=BuildOptions(workers=2), progress=False, in_workers=processes
    )
    assert used == [2]
    assert (tmp_path / "died").exists()
    assert set(outcome.values()) == {None}
    last = windows[-1]
    np.testing.assert_array_equal(_pixels(dataset, as_window(dataset, last)), scenes.scene_array()[:, 24:40, 24:40])


def test_replaced_imagery_is_read_anew(dataset: ScratchDataset, tmp_path: Path) -> None:
    path = Path(str(dataset.path))
    build_windows(path, create(dataset, spec("a", 0, 0)), options=HERE, progress=False)
    (tmp_path / "scenes" / "scene.tif").unlink()
    scenes.write_scene(tmp_path / "scenes", name="other", seed=5)
    again = spec("b", 32, 0)
    assert build_windows(path, create(dataset, again), options=HERE, progress=False) == {
        ("group_partition_0", "b"): None
    }
    np.testing.assert_array_equal(
        _pixels(dataset, as_window(dataset, again)), scenes.scene_array(seed=5)[:, :32, 32:64]
    )


def test_progress_counts_every_window_twice(dataset: ScratchDataset) -> None:
    seen: list[int] = []

    class Bar:
        def update(self, n: int = 1, /) -> None:
            seen.append(n)

        def close(self) -> None:
            seen.append(-1)

    totals: list[int] = []

    def factory(*, total: int, desc: str, unit: str) -> Bar:
        totals.append(total)
        return Bar()

    windows = create(dataset, *(spec(f"w{i}", i, 0, 16) for i in range(20)))
    build_windows(Path(str(dataset.path)), windows, options=HERE, progress=factory)
    assert totals == [40]
    assert sum(seen[:-1]) == 40
    assert seen[-1] == -1


def test_a_missing_dataset_and_a_bad_configuration_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingStepError, match="no dataset yet"):
        open_dataset(tmp_path)
    write_dataset_config(tmp_path, {"layers": {"x": {"type": "nonsense"}}})
    with pytest.raises(ConfigError, match="rslearn refuses"):
        open_dataset(tmp_path)


def test_nothing_is_left_beside_the_imagery_but_the_listing(dataset: ScratchDataset, tmp_path: Path) -> None:
    build_windows(Path(str(dataset.path)), create(dataset, spec("a", 0, 0)), options=HERE, progress=False)
    names = sorted(path.name for path in (tmp_path / "scenes").iterdir())
    assert names == ["scene.tif", "summary.json"]
    with rasterio.open(tmp_path / "scenes" / "scene.tif") as source:
        assert source.count == 3
