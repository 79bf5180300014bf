from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from olmoearth_nb.model import gpus


@pytest.fixture(autouse=True)
def current(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """GPUs that were made the current one; there are four, and no claims but those of the test."""
    made: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(gpus, "_folder", lambda: tmp_path / "claims")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield made
    for _, lock in gpus._held:
        lock.release()


def _claim(folder: Path, told: Any) -> None:
    inherited, gpus._held = gpus._held, []  # released if it were collected
    told.send(gpus.claim_number(folder))
    time.sleep(600)
    del inherited


def _worker(folder: Path) -> tuple[multiprocessing.process.BaseProcess, int]:
    context = multiprocessing.get_context("fork")
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=_claim, args=(folder, told), daemon=True)
    process.start()
    return process, heard.recv()


def test_a_worker_takes_the_lowest_free_number_and_leaves_it_when_it_dies(tmp_path: Path, current: list[int]) -> None:
    folder = tmp_path / "claims"
    workers = [_worker(folder), _worker(folder)]
    try:
        assert [number for _, number in workers] == [0, 1]
        assert gpus.worker_device(None, given=False) == "cuda:2"
        assert gpus.worker_device("cuda", given=False) == "cuda:2"  # the same worker
        workers[0][0].kill()
        workers[0][0].join()
        workers.append(_worker(folder))
        assert workers[-1][1] == 0
    finally:
        for process, _ in workers:
            process.kill()
            process.join()
    assert current == [2, 2]


def test_more_workers_than_gpus_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(6))
    monkeypatch.setattr(gpus, "claim_number", lambda _: next(numbers))
    assert [gpus.worker_device("auto", given=True) for _ in range(6)] == [f"cuda:{i}" for i in (0, 1, 2, 3, 0, 1)]


@pytest.mark.parametrize("asked", ["cpu", "cuda:3", "mps"])
def test_a_device_that_is_named_is_taken(asked: str) -> None:
    assert gpus.worker_device(asked, given=True) == asked


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_to_be_shared_out(monkeypatch: pytest.MonkeyPatch, count: int, current: list[int]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert gpus.worker_device(None, given=False) is None
    assert gpus.worker_device("cuda", given=True) == "cuda"
    assert gpus._held == current == []


@pytest.mark.parametrize(
    ("visible", "given", "number"),
    [
        (None, True, None),
        ("", True, None),
        ("0,1,2,3", True, None),  # the first worker of dask-cuda, or everybody's: numbers are claimed
        ("1,2,3,0", True, 0),  # the second one of dask-cuda
        ("3,0,1,2", True, 0),
        ("10,9", True, 0),
        ("9,10", True, None),
        ("GPU-8f,GPU-02", True, 0),
        ("1,2,3,0", False, None),  # what somebody's shell says to all processes
    ],
)
def test_what_a_cluster_gave_is_taken(visible: str | None, given: bool, number: int | None) -> None:
    assert gpus.gpu_of(visible, count=4, given=given) == number


def test_workers_of_dask_cuda_each_have_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible in ("0,1,2,3", "1,2,3,0", "2,3,0,1", "3,0,1,2"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus.worker_device(None, given=True) == "cuda:0"
