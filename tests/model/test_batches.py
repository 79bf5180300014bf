from collections.abc import Callable
from typing import Any

import pytest
import scenes
from places import Place

from olmoearth_nb.model.batches import batches, read_chunks, window_order
from olmoearth_nb.model.samples import WindowStream

SIZES = {"a": 40, "b": 8, "c": 29, "d": 16, "e": 40}


def crops(size: int) -> int:
    """Crops of 16 pixels that overlap by 4 along a side: one every 12, the last one flush with the edge."""
    return 1 if size <= 16 else len(range(0, size - 16, 12)) + 1


@pytest.fixture
def stream(place: Callable[..., Place]) -> WindowStream:
    here = place()
    for name, size in SIZES.items():
        scenes.add_window(here.dataset, name, (3, 5, 3 + size, 5 + size))
    windows = sorted(here.windows(), key=window_order)
    assert [window.name for window in windows[:3]] == ["b", "d", "c"]
    data: Any = here.load().data
    return WindowStream(windows, here.dataset, data, split="predict", chunk_size=3)


@pytest.mark.parametrize("workers", [0, 1, 2, 9])
def test_windows_come_whole_and_in_order(stream: WindowStream, workers: int) -> None:
    chunks = list(read_chunks(stream, workers))
    indices = [chunk.index for chunk in chunks]
    assert indices == sorted(indices)
    for index, window in enumerate(stream.windows.get_dataset_examples()):
        own = [chunk for chunk in chunks if chunk.index == index]
        metadatas = [sample[2] for chunk in own for sample in chunk.samples]
        count = crops(SIZES[window.name]) ** 2
        assert [metadata.crop_idx for metadata in metadatas] == list(range(count))
        assert {metadata.window_name for metadata in metadatas} == {window.name}
        assert [chunk.last for chunk in own] == [False] * (len(own) - 1) + [True]
        assert all(len(chunk.samples) <= 3 for chunk in own)


def test_the_number_of_workers_is_the_configurations_unless_given(stream: WindowStream) -> None:
    stream.num_workers = 2
    assert len(list(read_chunks(stream, None))) == len(list(read_chunks(stream, 0)))


def test_batches_span_windows(stream: WindowStream) -> None:
    made = list(batches(stream, size=5, num_workers=0, failed=lambda *_: pytest.fail("nothing fails")))
    # Crops are of one size, even those of a window that is smaller: 1 + 1 + 9 + 9 + 9 of them here.
    total = sum(crops(size) ** 2 for size in SIZES.values())
    assert [len(batch) for batch in made] == [5] * (total // 5) + [total % 5] * (total % 5 > 0)
    assert any(len({index for index, _ in batch}) > 1 for batch in made)


def test_rasters_of_a_batch_have_one_size(place: Callable[..., Place]) -> None:
    here = place(scenes.raster_model_config(crop_size=None))
    for name, size in SIZES.items():
        scenes.add_window(here.dataset, name, (3, 5, 3 + size, 5 + size))
    data: Any = here.load().data
    windows = sorted(here.windows(), key=window_order)
    stream = WindowStream(windows, here.dataset, data, split="predict", chunk_size=8)
    made = list(batches(stream, size=8, num_workers=0, failed=lambda *_: pytest.fail("nothing fails")))
    shapes = [{tuple(sample[0]["image"].image.shape[-2:]) for _, sample in batch} for batch in made]
    assert shapes == [{(8, 8)}, {(16, 16)}, {(29, 29)}, {(40, 40)}]


def test_a_window_that_fails_is_told_once(stream: WindowStream) -> None:
    windows = stream.windows.get_dataset_examples()
    next((windows[2].window_root / "layers" / "scene").glob("*/geotiff.tif")).write_bytes(b"no GeoTIFF")
    told: list[tuple[int, str]] = []
    made = list(batches(stream, size=5, num_workers=0, failed=lambda *what: told.append(what)))
    assert [index for index, _ in told] == [2]
    assert {index for batch in made for index, _ in batch} == {0, 1, 3, 4}
