import copy
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch
import yaml
from lightning.pytorch import Trainer
from places import Place
from rslearn.dataset import Dataset, Window
from rslearn.train.dataset import ModelDataset
from rslearn.train.prediction_writer import RslearnWriter
from upath import UPath

from olmoearth_nb.errors import ConfigError, InferenceError
from olmoearth_nb.model.finetune import TrainingResult
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.predict import predict_windows


def states(outcomes: list[Any]) -> Counter[str]:
    return Counter(outcome.state for outcome in outcomes)


def regression_config() -> dict[str, Any]:
    config = scenes.raster_model_config(crop_size=12, overlap=6)
    model = config["model"]["init_args"]["model"]
    model["class_path"] = "rslearn.models.singletask.SingleTaskModel"
    decoder = model["init_args"].pop("decoders")["segment"]
    decoder[0]["init_args"]["out_channels"] = 1
    decoder[1] = {"class_path": "rslearn.train.tasks.per_pixel_regression.PerPixelRegressionHead"}
    model["init_args"]["decoder"] = decoder
    data = config["data"]["init_args"]
    data["inputs"]["targets"] = data["inputs"].pop("label")
    data["task"] = {
        "class_path": "rslearn.train.tasks.per_pixel_regression.PerPixelRegressionTask",
        "init_args": {"nodata_value": -1},
    }
    writer = config["trainer"]["callbacks"][1]["init_args"]
    del writer["selector"]
    return config


def regression_dataset() -> dict[str, Any]:
    config = scenes.raster_dataset_config()
    config["layers"]["output"]["band_sets"] = [{"bands": ["output"], "dtype": "float32", "nodata_value": -1}]
    return config


def vector_crops() -> dict[str, Any]:
    config = scenes.vector_model_config()
    config["data"]["init_args"]["predict_config"] |= {"load_all_crops": True, "crop_size": 16}
    return config


def add_unlabelled(dataset: Dataset) -> None:
    """Windows of two sizes, neither of them a multiple of the crops, over places that differ."""
    for index, (x, y) in enumerate([(0, 0), (37, 5), (64, 64), (90, 3), (11, 80)]):
        scenes.add_window(dataset, f"w{index}", (x, y, x + 29, y + 29))
    scenes.add_window(dataset, "w5", (3, 50, 3 + 29, 50 + 20))


def as_rslearn_predicts(loaded: LoadedModel, dataset_path: Path) -> None:
    """``rslearn model predict``, without its command line."""
    data: Any = copy.copy(loaded.data)
    data.inputs, data.path = dict(data.inputs), UPath(dataset_path)
    assert loaded.writer is not None
    writer = copy.copy(loaded.writer)
    writer._path = str(dataset_path)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[writer],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=dataset_path.parent,
    )
    trainer.predict(loaded.module, datamodule=data, return_predictions=False)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("model", "dataset"),
    [
        (scenes.raster_model_config(), scenes.raster_dataset_config()),
        (regression_config(), regression_dataset()),
        (vector_crops(), scenes.vector_dataset_config()),
    ],
    ids=["segmentation", "regression", "classification"],
)
def test_results_are_those_of_rslearn(
    place: Callable[..., Place], model: dict[str, Any], dataset: dict[str, Any], workers: int
) -> None:
    here = place(model, dataset)
    add_unlabelled(here.dataset)
    torch.manual_seed(3)
    loaded = here.load()
    theirs = here.folder / "theirs"
    shutil.copytree(here.dataset_path, theirs)
    as_rslearn_predicts(loaded, theirs)
    windows = here.windows()[::-1]
    outcomes = predict_windows(loaded, windows, num_workers=workers, batch_size=3)
    assert [(outcome.group, outcome.name, outcome.state) for outcome in outcomes] == [
        (window.group, window.name, "written") for window in windows
    ]
    expected = Place(here.folder, here.model_yaml, Dataset(UPath(theirs))).outputs()
    for key, output in here.outputs().items():
        np.testing.assert_array_equal(output, expected[key], err_msg=str(key))
    files = [path.relative_to(theirs) for path in theirs.rglob("*")]
    assert all((here.dataset_path / path).exists() for path in files)


def test_a_trained_model_finds_the_classes(raster: Place, trained: TrainingResult) -> None:
    predict_windows(raster.load(trained.best_checkpoint), raster.windows())
    classes = scenes.class_map()
    right = [
        scenes.read_output(raster.dataset, window)[0] == classes[_rows(window), _columns(window)]
        for window in raster.windows()
    ]
    assert np.mean(right) > 0.9


def _rows(window: Window) -> slice:
    return slice(window.bounds[1] - scenes.CORNER[1], window.bounds[3] - scenes.CORNER[1])


def _columns(window: Window) -> slice:
    return slice(window.bounds[0] - scenes.CORNER[0], window.bounds[2] - scenes.CORNER[0])


def test_windows_with_output_are_skipped_unless_overwritten(raster: Place) -> None:
    loaded, windows = raster.load(), raster.windows()
    first = predict_windows(loaded, windows[:5])
    assert states(first) == {"written": 5}
    before = raster.outputs_of(windows[:5])
    with torch.no_grad():
        for weights in loaded.module.parameters():
            weights.mul_(-1)
    second = predict_windows(loaded, windows)
    assert states(second) == {"skipped": 5, "written": 11}
    assert second[0].reason == "it has its output already"
    assert raster.outputs_of(windows[:5]) == before
    (windows[0].window_root / "layers" / "output" / "stale.txt").write_text("of an earlier run")
    assert states(predict_windows(loaded, windows[:5], overwrite=True)) == {"written": 5}
    assert raster.outputs_of(windows[:5]) != before
    assert not (windows[0].window_root / "layers" / "output" / "stale.txt").exists()


def test_what_is_missing_is_filled_in_with_the_batches_of_a_whole_run(raster: Place) -> None:
    loaded, windows = raster.load(), raster.windows()
    seen: list[list[tuple[str, int]]] = []
    failing(loaded, lambda metadatas: seen.append([(one.window_name, one.crop_idx) for one in metadatas]))
    predict_windows(loaded, windows, batch_size=4, chunk=6)
    whole, expected = list(seen), raster.outputs_of(windows)
    ordered = list(dict.fromkeys(name for batch in whole for name, _ in batch))
    lost = {ordered[1], ordered[9]}  # one in the first chunk, one in the second; all of the third is there
    kept = [window for window in windows if window.name not in lost]
    for window in windows:
        if window.name in lost:
            shutil.rmtree(window.window_root / "layers" / "output")
    times = {
        window.name: (window.window_root / "layers" / "output" / "completed").stat().st_mtime_ns for window in kept
    }
    seen.clear()
    assert states(predict_windows(loaded, windows, batch_size=4, chunk=6, fill=True)) == {"skipped": 14, "written": 2}
    assert seen == [batch for batch in whole if lost & {name for name, _ in batch}]
    assert any({name for name, _ in batch} - lost for batch in seen)
    assert raster.outputs_of(windows) == expected
    for window in kept:
        assert (window.window_root / "layers" / "output" / "completed").stat().st_mtime_ns == times[window.name]


def test_bad_windows_are_reported_and_the_others_go_on(raster: Place) -> None:
    windows = raster.windows()
    broken, missing, half = windows[1], windows[4], windows[7]
    tif = next((broken.window_root / "layers" / "scene").glob("*/geotiff.tif"))
    tif.write_bytes(b"no GeoTIFF")
    (missing.window_root / "layers" / "scene" / "completed").unlink()
    next((half.window_root / "layers" / "scene").glob("*/geotiff.tif")).unlink()
    outcomes = predict_windows(raster.load(), windows, batch_size=4)
    assert states(outcomes) == {"written": 13, "failed": 2, "dropped": 1}
    assert "not recognized as being in a supported file format" in (outcomes[1].reason or "")
    assert outcomes[4].reason == "nothing was materialized for the input 'image' (layer scene)"
    assert outcomes[7].state == "failed"
    assert "No such file" in (outcomes[7].reason or "")
    assert not any(window.is_layer_completed("output") for window in (broken, missing, half))
    assert "\n" not in "".join(outcome.reason or "" for outcome in outcomes)


def test_targets_stay_in_the_data_module(raster: Place) -> None:
    loaded = raster.load()
    predict_windows(loaded, raster.windows()[:1])
    data: Any = loaded.data
    assert sorted(data.inputs) == ["image", "label"]


def test_groups_and_tags_of_the_configuration_do_not_matter(place: Callable[..., Place]) -> None:
    config = scenes.raster_model_config()
    config["data"]["init_args"]["predict_config"] |= {"groups": ["nowhere"], "tags": {"split": "x"}, "num_samples": 1}
    here = place(config)
    # The same name in two groups: each has its own output.
    for group, corner in (("a", 0), ("b", 64)):
        for name in ("w0", "w1"):
            scenes.add_window(here.dataset, name, (corner, corner, corner + 32, corner + 32), group=group)
    loaded = here.load()
    assert states(predict_windows(loaded, here.windows(), batch_size=7)) == {"written": 4}
    together = here.outputs()
    for window in here.windows():
        predict_windows(loaded, [window], overwrite=True, batch_size=1)
    np.testing.assert_array_equal(list(together.values()), list(here.outputs().values()))
    assert not np.array_equal(together["a", "w0"], together["b", "w0"])


def test_the_same_window_twice_is_predicted_once(raster: Place) -> None:
    window = raster.windows()[0]
    ticks: list[int] = []
    outcomes = predict_windows(raster.load(), [window, window], progress=_Ticks(ticks))
    assert [outcome.state for outcome in outcomes] == ["written", "written"]
    assert sum(ticks) == 2


class _Ticks:
    def __init__(self, ticks: list[int]) -> None:
        self.ticks = ticks

    def __call__(self, *, total: int, desc: str, unit: str) -> "_Ticks":
        self.total = total
        return self

    def update(self, n: int = 1, /) -> None:
        self.ticks.append(n)

    def close(self) -> None:
        self.ticks.append(0)


def test_crops_read_one_by_one_give_the_same(place: Callable[..., Place]) -> None:
    config = scenes.raster_model_config()
    here = place(config)
    add_unlabelled(here.dataset)
    torch.manual_seed(3)
    predict_windows(here.load(), here.windows())
    before = here.outputs()
    config["data"]["init_args"]["use_map_all_crops_dataset"] = True
    here.model_yaml.write_text(yaml.safe_dump(config))
    torch.manual_seed(3)
    assert states(predict_windows(here.load(), here.windows(), overwrite=True, num_workers=2)) == {"written": 6}
    for key, output in here.outputs().items():
        np.testing.assert_array_equal(output, before[key])


def test_old_names_mean_the_same(place: Callable[..., Place]) -> None:
    config = scenes.raster_model_config()
    here = place(config)
    add_unlabelled(here.dataset)
    torch.manual_seed(3)
    predict_windows(here.load(), here.windows())
    before = here.outputs()
    init_args = {"load_all_patches": True, "patch_size": 16, "overlap_ratio": 0.25, "skip_targets": True}
    config["data"]["init_args"]["predict_config"] = {
        "class_path": "rslearn.train.dataset.SplitConfig",
        "init_args": init_args,
    }
    config["trainer"]["callbacks"][1]["init_args"]["merger"]["init_args"] = {"padding": 2}
    here.model_yaml.write_text(yaml.safe_dump(config))
    torch.manual_seed(3)
    assert states(predict_windows(here.load(), here.windows(), overwrite=True)) == {"written": 6}
    for key, output in here.outputs().items():
        np.testing.assert_array_equal(output, before[key])


def test_a_configuration_that_reads_labels_needs_them(place: Callable[..., Place]) -> None:
    config = scenes.raster_model_config()
    del config["data"]["init_args"]["predict_config"]["skip_targets"]
    here = place(config)
    scenes.add_window(here.dataset, "with", (0, 0, 32, 32), layers=("scene", "label"))
    scenes.add_window(here.dataset, "without", (0, 0, 32, 32))
    outcomes = {outcome.name: outcome for outcome in predict_windows(here.load(), here.windows())}
    assert outcomes["with"].state == "written"
    assert outcomes["without"].state == "dropped"
    assert "'label'" in (outcomes["without"].reason or "")
    assert "skip_targets: true" in (outcomes["without"].reason or "")


def test_a_worker_that_dies_is_reported(raster: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        os._exit(3)

    monkeypatch.setattr(ModelDataset, "get_raw_inputs", die)
    with pytest.raises(InferenceError, match=r"process that reads data has died.*num_workers=0"):
        predict_windows(raster.load(), raster.windows(), num_workers=1)


def failing(loaded: LoadedModel, spoil: Callable[[list[Any]], None]) -> None:
    """Lets the model's prediction fail when ``spoil`` does."""
    module: Any = loaded.module
    original = module.predict_step

    def predict_step(batch: Any, batch_idx: int) -> Any:
        spoil(batch[2])
        return original(batch, batch_idx)

    module.predict_step = predict_step


def test_a_window_that_the_model_fails_on_is_singled_out(raster: Place) -> None:
    loaded, windows = raster.load(), raster.windows()
    bad = windows[3].name

    def spoil(metadatas: list[Any]) -> None:
        # Not its first crop: some of its crops wait for the rest.
        if any(metadata.window_name == bad and metadata.crop_idx == 4 for metadata in metadatas):
            raise ValueError("all values are nan")

    failing(loaded, spoil)
    outcomes = predict_windows(loaded, windows, batch_size=4)
    assert states(outcomes) == {"written": 15, "failed": 1}
    assert outcomes[3].reason == "The model fails on it: ValueError: all values are nan."
    assert not windows[3].is_layer_completed("output")
    assert loaded.writer is not None
    assert loaded.writer.pending_outputs == {}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError("no room")])
def test_memory_that_runs_out_ends_the_run(raster: Place, error: Exception) -> None:
    loaded = raster.load()

    def spoil(_: list[Any]) -> None:
        raise error

    failing(loaded, spoil)
    with pytest.raises(InferenceError, match=r"Memory ran out in a batch of 4: .*Use a smaller batch_size"):
        predict_windows(loaded, raster.windows())


def test_a_run_that_is_ended_while_it_writes_is_taken_up_again(raster: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, windows = raster.load(), raster.windows()
    predict_windows(loaded, windows)
    expected = raster.outputs_of(windows)
    marked = Window.mark_layer_completed
    done: list[str] = []

    def killed(self: Window, layer: str, group_idx: int = 0) -> None:
        if len(done) == 6:
            tif = next((self.window_root / "layers" / layer).glob("*/geotiff.tif"))
            tif.write_bytes(tif.read_bytes()[:100])
            raise KeyboardInterrupt
        done.append(self.name)
        marked(self, layer, group_idx)

    monkeypatch.setattr(Window, "mark_layer_completed", killed)
    with pytest.raises(KeyboardInterrupt):
        predict_windows(loaded, windows, overwrite=True)
    monkeypatch.undo()
    # The window that was being written had an output before, whose mark must not vouch for half a file.
    assert sum(window.is_layer_completed("output") for window in windows) == 15
    assert states(predict_windows(loaded, windows)) == {"skipped": 15, "written": 1}
    assert raster.outputs_of(windows) == expected


def test_a_window_that_can_not_be_written_is_reported(raster: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, windows = raster.load(), raster.windows()
    process = RslearnWriter.process_output

    def full(self: RslearnWriter, window: Window, *arguments: Any) -> None:
        if window.name == "w2":
            raise OSError("No space left on device")
        process(self, window, *arguments)

    monkeypatch.setattr(RslearnWriter, "process_output", full)
    outcomes = {outcome.name: outcome for outcome in predict_windows(loaded, windows)}
    assert states(list(outcomes.values())) == {"written": 15, "failed": 1}
    assert outcomes["w2"].reason == "It can't be written: OSError: No space left on device."


def test_nothing_is_left_behind(raster: Place, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    # Not tmp_path: processes that read send tensors through a socket there, whose path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="t") as temporary, monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", temporary)
        _predict_and_look(raster, Path(temporary), capfd)


def _predict_and_look(raster: Place, temporary: Path, capfd: Any) -> None:
    threads = torch.get_num_threads()
    predict_windows(raster.load(), raster.windows(), num_workers=2, progress=False)
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
    assert capfd.readouterr() == ("", "")
    assert torch.get_num_threads() == threads


def test_only_one_batch_of_crops_is_in_memory(raster: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []
    merge = RslearnWriter.process_output

    def watched(self: RslearnWriter, *arguments: Any) -> None:
        merge(self, *arguments)
        waiting.append(sum(map(len, self.pending_outputs.values())))

    monkeypatch.setattr(RslearnWriter, "process_output", watched)
    predict_windows(raster.load(), raster.windows(), batch_size=2)
    # 9 crops a window: those of one window wait at most.
    assert max(waiting) == 8
    assert waiting[-1] == 0


def test_dataset_and_configuration_have_to_fit(place: Callable[..., Place], raster: Place) -> None:
    config = scenes.raster_dataset_config()
    del config["layers"]["output"]
    here = place(dataset=config)
    with pytest.raises(ConfigError, match=r"no layer 'output' to write to.*found scene, label"):
        predict_windows(here.load(), [])
    model = scenes.raster_model_config()
    model["data"]["init_args"]["inputs"]["image"]["layers"] = ["sentinel2.1"]
    here = place(model, name="layers")
    window = scenes.add_window(here.dataset, "w", (0, 0, 32, 32))
    with pytest.raises(ConfigError, match=r"no layer 'sentinel2.1'.*Expected one of scene, label, output"):
        predict_windows(here.load(), [window])
    model = scenes.raster_model_config(crop_size=8, overlap=8)
    here = place(model, name="crops")
    window = scenes.add_window(here.dataset, "w", (0, 0, 32, 32))
    with pytest.raises(ConfigError, match=r"predict_config: overlap_pixels has to be smaller than crop_size"):
        predict_windows(here.load(), [window])


def test_several_tasks_need_a_writer(place: Callable[..., Place]) -> None:
    config = scenes.raster_model_config()
    task = config["data"]["init_args"]["task"]["init_args"]
    task["tasks"]["other"] = task["tasks"]["segment"]
    task["input_mapping"]["other"] = {"label": "targets"}
    decoders = config["model"]["init_args"]["model"]["init_args"]["decoders"]
    decoders["other"] = decoders["segment"]
    del config["trainer"]
    with pytest.raises(ConfigError, match=r"several tasks and there is no RslearnWriter"):
        predict_windows(place(config).load(), [])


def test_bfloat16_gives_nearly_the_same(place: Callable[..., Place]) -> None:
    here = place(regression_config(), regression_dataset())
    add_unlabelled(here.dataset)
    torch.manual_seed(3)
    predict_windows(here.load(), here.windows())
    exact = here.outputs()
    torch.manual_seed(3)
    predict_windows(here.load(precision="bf16-mixed"), here.windows(), overwrite=True)
    for key, output in here.outputs().items():
        assert not np.array_equal(output, exact[key])
        np.testing.assert_allclose(output, exact[key], atol=0.05)
