from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from olmoearth_nb.planning.amounts import Amounts
from olmoearth_nb.planning.limits import Limit, Machine, limits_of, look_at
from olmoearth_nb.planning.rates import Rates, figures_of
from olmoearth_nb.planning.steps import StepCost

GB = 10**9


def found(*, steps: tuple[StepCost, ...] = (), inodes: int | None = None, workers: int = 2) -> dict[str, Limit]:
    amounts = Amounts(
        fetched_bytes=None,
        imagery_bytes=None,
        scratch_bytes=50 * GB,
        scratch_files=1000,
        folder_entries=10_000,
        result_bytes=1,
        plan_memory=GB,
        worker_memory=2 * GB,
        combine_memory=GB // 2,
    )
    machine = Machine(cores=2, memory=8 * GB, disk=100 * GB, inodes=inodes)
    limits = limits_of(amounts, steps, figures_of(Rates(patience_hours=10, workers=workers), {}), machine, windows=1000)
    assert list(limits) == sorted(limits, key=lambda one: -one.share)
    return {one.what: one for one in limits}


def test_shares_and_where_it_breaks() -> None:
    limits = found(inodes=500)
    assert next(iter(limits)) == "files at the scratch"
    assert limits["files at the scratch"].share == 2.0
    assert limits["files at the scratch"].breaks_at == 500
    assert limits["disk at the scratch"].share == 0.5
    assert limits["disk at the scratch"].breaks_at == 2000
    assert limits["memory of planning"].breaks_at == 8000
    assert limits["memory of the workers"].breaks_at is None
    assert "memory of the workers" not in found(workers=64)  # they are elsewhere
    assert "files at the scratch" not in found()  # the file system does not say


def test_time_is_a_limit_and_the_faster_inference_counts() -> None:
    steps: Any = [
        StepCost(step=name, seconds=seconds)
        for name, seconds in (("inference on CPUs", 720_000.0), ("inference on GPUs", 7200.0), ("combine", None))
    ]
    limits = found(steps=tuple(steps))
    assert "time of inference on CPUs" not in limits
    assert limits["time of inference on GPUs"].share == pytest.approx(0.2)
    assert "time of combine" not in limits
    assert "more GPUs" in limits["time of inference on GPUs"].fix


def test_a_machine_is_looked_at_before_the_scratch_is_there(tmp_path: Path) -> None:
    machine = look_at(tmp_path / "not" / "there")
    assert machine.disk > 0
    assert machine.cores >= 1
    assert not (tmp_path / "not").exists()
