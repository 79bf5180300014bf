"""Hours and money, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from olmoearth_nb.planning.rates import Rates, figures_of
from olmoearth_nb.planning.steps import StepCost, Work, step_costs, total_of
from olmoearth_nb.planning.volume import ImageryVolume, LayerVolume

MODEL = {"seconds_per_window": 3.0, "gflop_per_window": 500.0}


def layer(*, local: bool = False, fetched: int = 6_000_000_000) -> LayerVolume:
    """1,000 images in 3,000 rasters, 2 GB of pixels."""
    return LayerVolume(
        name="s2",
        local=local,
        images=1000,
        rasters=3000,
        reads=12_000,
        total_bytes=2_000_000_000,
        fetched_bytes=0 if local else fetched,
    )


def steps(*layers: LayerVolume, imagery: bool = True, found: dict[str, float] | None = None, **rates: Any) -> Any:
    volume = ImageryVolume(sum(one.total_bytes for one in layers), (), layers) if imagery else None
    work = Work(windows=1000, uses=1500, pixels=65_536_000, imagery=volume)
    given = {"build_ms_per_raster": 10, "build_ms_per_mb": 20, "core_dollars_per_hour": 0.06, "workers": 4, **rates}
    return {one.step: one for one in step_costs(work, figures_of(Rates(**given), found or {}))}


def test_building_from_local_files() -> None:
    found = steps(layer(local=True))["dataset_build"]
    # 3,000 × 10 ms and 2,000 MB × 20 ms, by four.
    assert found.seconds == pytest.approx((30 + 40) / 4)
    assert found.core_hours == pytest.approx(70 / 3600)
    assert found.dollars == pytest.approx(70 / 3600 * 0.06)
    assert found.within == 1.0  # all of it is given


def test_building_from_a_catalogue() -> None:
    rates = {"items_per_image": 2, "download_ratio": 0.5, "seconds_per_read": 0.1, "download_mb_per_s": 10}
    found = steps(layer(), **rates, catalogue_mb_per_s=1000)["dataset_build"]
    # 24,000 reads of 0.1 s, 6,000 MB at 10 MB/s, and what writing takes.
    assert found.seconds == pytest.approx((2400 + 600 + 70) / 4)
    assert found.note == "mostly waiting for the catalogue"
    slow = steps(layer(), **rates, catalogue_mb_per_s=2)["dataset_build"]
    assert slow.seconds == pytest.approx(3000)  # however many workers
    assert slow.note == "as fast as the catalogue gives"
    assert steps(layer(), catalogue_mb_per_s=2)["dataset_build"].within == 3.0  # the others are assumed


def test_inference_on_cpus_and_gpus() -> None:
    rates = {"inference_ms_per_window": 10, "inference_ms_per_mb": 5, "gpus": 2, "gpu_tflops": 100}
    found = steps(layer(), found=MODEL, **rates, gpu_utilisation=0.1, gpu_dollars_per_hour=2)
    # 1,000 × (10 ms + 3 s) and 2,000 MB × 5 ms.
    assert found["inference on CPUs"].seconds == pytest.approx((10 + 10 + 3000) / 4)
    assert found["inference on CPUs"].within == 1.5
    # 500,000 GFLOP at 10,000 a second, by two.
    gpu = found["inference on GPUs"]
    assert gpu.seconds == pytest.approx(25)
    assert gpu.gpu_hours == pytest.approx(50 / 3600)
    assert gpu.dollars == pytest.approx(50 / 3600 * 2 + 100 / 3600 * 0.06)
    waits = steps(layer(), found=MODEL, **rates, gpu_utilisation=1)["inference on GPUs"]
    assert waits.seconds == pytest.approx(20 / 4)
    assert "wait" in waits.note
    measured = steps(layer(), **rates, gpu_seconds_per_window=0.1)
    assert measured["inference on GPUs"].seconds == pytest.approx(50)
    assert measured["inference on CPUs"].seconds is None


def test_what_is_not_known_is_said() -> None:
    found = steps(imagery=False)
    assert found["dataset_build"].seconds is None
    assert "measure=True" in found["inference on CPUs"].note
    assert "gflop_per_window" in found["inference on GPUs"].note
    total = total_of(tuple(found.values()), "CPUs")
    assert total.seconds is None


def test_totals_count_inference_once() -> None:
    parts = tuple(
        StepCost(step=name, seconds=number, dollars=number)
        for name, number in (("combine", 1.0), ("inference on CPUs", 10.0), ("inference on GPUs", 100.0))
    )
    assert total_of(parts, "CPUs").seconds == 11
    assert total_of(parts, "GPUs").dollars == 101
    assert total_of(parts, "GPUs").note == "mostly inference on GPUs"


def test_postprocessing_counts_shared_windows_as_often_as_they_are_used() -> None:
    rates = {"postprocess_ms_per_window": 4, "postprocess_ms_per_megapixel": 100, "combine_ms_per_megapixel": 50}
    found = steps(layer(), **rates, partition_ms_per_window=2)
    assert found["postprocess"].seconds == pytest.approx((1500 * 0.004 + 6.5536) / 4)
    assert found["combine"].seconds == pytest.approx(65.536 * 0.05)
    assert found["partition"].seconds == pytest.approx(2)
    assert found["partition"].core_hours == pytest.approx(2 / 3600)  # in one process
