from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import scenes
import yaml

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.config import CheckReport, Project
from olmoearth_nb.errors import (
    BuildError,
    InferenceError,
    MissingStepError,
    ModelError,
    OlmoEarthError,
    ProjectError,
    StaleScratchError,
    UsageError,
)


def _runner(project: Path, scratch: str = "scratch", **options: object) -> OlmoEarthRunPredictRunner:
    return OlmoEarthRunPredictRunner(project, project.parent / scratch, progress=False, **options)  # type: ignore[arg-type]


def _read(path: Path) -> tuple[np.ndarray, rasterio.Affine]:
    with rasterio.open(path) as source:
        return source.read(1), source.transform


def _accuracy(path: Path) -> float:
    """Share of pixels of a combined result that have the class of the scene, inside the scene."""
    pixels, transform = _read(path)
    column = round((transform.c - scenes.ORIGIN[0]) / scenes.RESOLUTION)
    row = round((scenes.ORIGIN[1] - transform.f) / scenes.RESOLUTION)
    truth = np.full((scenes.SIZE * 3, scenes.SIZE * 3), 254, dtype=np.uint8)
    truth[scenes.SIZE : 2 * scenes.SIZE, scenes.SIZE : 2 * scenes.SIZE] = scenes.class_map()
    row, column = row + scenes.SIZE, column + scenes.SIZE
    wanted = truth[row : row + pixels.shape[0], column : column + pixels.shape[1]]
    inside = (wanted != 254) & (pixels != 255)
    return float((pixels == wanted)[inside].mean())


def _set_request(project: Path, *boxes: tuple[float, float, float, float]) -> None:
    times = {"oe_start_time": scenes.TIMES[0], "oe_end_time": scenes.TIMES[1]}
    features = [(scenes.pixel_box(*box), {**times, "name": f"box {i}"}) for i, box in enumerate(boxes)]
    (project / "prediction_request_geometry.geojson").write_text(json.dumps(scenes.collection(features)))


def _change_run(project: Path, section: str, key: str, value: object) -> None:
    path = project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    config[section][key] = value
    path.write_text(yaml.safe_dump(config))


def test_from_request_to_combined_raster(raster_project: Path) -> None:
    runner = _runner(raster_project)
    partition, build, infer, postprocess, combine = runner.run_pipeline()
    assert partition.counts["windows"] == 16
    assert partition.counts["partitions"] >= 4
    assert build.counts["built"] == infer.counts["predicted"] == 16
    assert postprocess.counts["processed"] == partition.counts["partitions"]
    (path,) = combine.files
    assert path.relative_to(runner.workspace.root) == Path("results/results_raster/result_epsg32631_0.tif")
    assert _accuracy(path) > 0.9
    with rasterio.open(path) as source:
        assert (source.crs.to_epsg(), source.nodata, source.dtypes) == (32631, 255, ("uint8",))
        assert source.shape == (128, 128)


def test_shared_windows_are_made_once_and_belong_to_every_partition(raster_project: Path) -> None:
    runner = _runner(raster_project)
    ids = runner.partition()
    table = runner.windows()
    assert not table.duplicated(["x0", "y0", "crs"]).any()
    shared = table[table["partitions"].str.contains(",")]
    assert len(shared) == ids.counts["shared"] > 0
    folders = list((runner.workspace.dataset / "windows").glob("*/*/metadata.json"))
    told = {(json.loads(path.read_text())["group"], json.loads(path.read_text())["name"]) for path in folders}
    assert told == {path.parts[-3:-1] for path in folders}
    assert len(folders) == len(table) == 16
    assert sum(ids.partitions.values()) == 16 + sum(row.count(",") for row in table["partitions"])


def test_what_only_fine_tuning_needs_does_not_have_a_prediction_checked_again(
    raster_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raster_project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    config.pop("window_prep", None)
    path.write_text(yaml.safe_dump(config))
    checked: list[bool] = []
    check = Project.check

    def counted(project: Project, steps: object, *, model: bool) -> CheckReport:
        checked.append(model)
        return check(project, steps, model=model)  # type: ignore[arg-type]

    monkeypatch.setattr(Project, "check", counted)
    runner = _runner(raster_project)
    assert runner.partition().notes == ()
    # The classes of model.yaml, which take seconds to import, are looked at when they matter.
    assert checked == [False]
    runner.build_dataset()
    runner.partition()
    _runner(raster_project).run_inference()
    assert checked == [False, True]
    path.write_text(path.read_text() + "# changed\n")
    _runner(raster_project).partition(overwrite=True)
    assert checked == [False, True, False]


def test_a_wrong_class_of_the_model_is_said_before_imagery_is_fetched(raster_project: Path) -> None:
    path = raster_project / "model.yaml"
    path.write_text(path.read_text().replace("SegmentationTask", "SegmentationTusk"))
    runner = _runner(raster_project)
    assert runner.partition().notes == ()
    with pytest.warns(UserWarning, match="SegmentationTusk.*This stops a later step"):
        (note,) = runner.build_dataset().notes
    assert "SegmentationTusk" in note
    with pytest.raises(ProjectError, match="SegmentationTusk"):
        runner.run_inference()


def test_the_layout_is_where_scripts_look(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.run_pipeline()
    root = runner.workspace.root
    for path in (
        "prediction_request_geometry.geojson",
        "dataset_0/config.json",
        "model_stage_0/model.yaml",
        "model_stage_0/olmoearth_run.yaml",
        "model_stage_0/checkpoint.ckpt",
    ):
        assert (root / path).is_file(), path
    (window, *_) = sorted((root / "dataset_0" / "windows" / "group_partition_0").iterdir())
    assert window.name.startswith("partition_0_")
    assert json.loads((window / "request.geojson").read_text())["properties"]["site"] == "north"
    assert (window / "layers" / "output" / "output" / "geotiff.tif").is_file()
    assert (root / "partitions" / "partition_0" / "request.geojson").is_file()
    assert list((root / "partitions" / "partition_0" / "results_raster").glob("*.tif"))


def test_every_step_works_alone_in_a_new_runner(raster_project: Path) -> None:
    ids = list(_runner(raster_project).partition())
    for pid in ids:
        _runner(raster_project).build_dataset(pid)
    assert _runner(raster_project).status()["dataset_build"] == "done"
    _runner(raster_project).run_inference(ids[:1])
    assert _runner(raster_project).status()["inference"].startswith("partly (")
    _runner(raster_project).run_inference(ids)
    for pid in ids:
        _runner(raster_project).postprocess(pid)
    result = _runner(raster_project).combine(ids)
    whole = _runner(raster_project, "whole").run_pipeline()[-1]
    np.testing.assert_array_equal(_read(result.files[0])[0], _read(whole.files[0])[0])
    assert set(_runner(raster_project).status().to_dict().values()) == {"done"}


def test_repeating_does_nothing_again(raster_project: Path) -> None:
    _runner(raster_project).run_pipeline()
    before = {path: path.stat().st_mtime_ns for path in (raster_project.parent / "scratch").rglob("geotiff.tif")}
    partition, build, infer, postprocess, _ = _runner(raster_project).run_pipeline()
    assert partition.counts["windows"] == build.counts["built before"] == infer.counts["predicted before"] == 16
    assert postprocess.counts["processed"] == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_lost_output_is_made_again_and_postprocessed(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.run_pipeline()
    lost = next((runner.workspace.dataset / "windows").glob("*/*/layers/output"))
    shutil.rmtree(lost)
    assert runner.status()["inference"] == "partly (15 of 16)"
    _, _, infer, postprocess, _ = runner.run_pipeline()
    assert infer.counts["predicted"] == 1
    assert postprocess.counts["processed"] >= 1


def test_missing_steps_name_the_call(raster_project: Path) -> None:
    runner = _runner(raster_project)
    with pytest.raises(MissingStepError, match=r"runner\.partition\(\)"):
        runner.build_dataset()
    runner.partition()
    with pytest.raises(MissingStepError, match=r"runner\.build_dataset\(\)"):
        runner.run_inference()
    with pytest.raises(MissingStepError, match=r"runner\.run_inference\(\)"):
        runner.postprocess()
    with pytest.raises(MissingStepError, match=r"runner\.postprocess\(\)"):
        runner.combine()


def test_unknown_ids_and_steps_are_told(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.partition()
    with pytest.raises(UsageError, match=r"partition_0.*found 'partition_99'"):
        runner.build_dataset("partition_99")
    with pytest.raises(UsageError, match="'infer'"):
        runner.run_pipeline(["infer"])


def test_another_request_on_the_same_scratch_is_noticed(raster_project: Path) -> None:
    _runner(raster_project).run_pipeline()
    _set_request(raster_project, (40, 40, 60, 60))
    runner = _runner(raster_project)
    with pytest.raises(StaleScratchError, match=r"request changed.*partition\(overwrite=True\)"):
        runner.partition()
    with pytest.raises(StaleScratchError):
        runner.run_inference()
    assert set(runner.status().to_dict().values()) == {"made from other files"}
    assert runner.partition(overwrite=True).counts["windows"] == 1
    assert len(list((runner.workspace.dataset / "windows").glob("*/*"))) == 1
    assert not runner.workspace.results.exists()
    assert len(runner.run_pipeline()[-1].files) == 1


def test_another_checkpoint_is_noticed(raster_project: Path) -> None:
    import torch

    _runner(raster_project).run_pipeline()
    path = raster_project / "checkpoint.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for weights in checkpoint["state_dict"].values():
        weights.zero_()
    torch.save(checkpoint, path)
    runner = _runner(raster_project)
    with pytest.raises(StaleScratchError, match=r"checkpoint changed.*run_inference\(overwrite=True\)"):
        runner.run_inference()
    assert runner.run_inference(overwrite=True).counts["predicted"] == 16
    runner.postprocess()
    (path,) = runner.combine().files
    assert len(np.unique(_read(path)[0])) == 1


def test_the_same_model_in_another_spelling_is_no_other_model(raster_project: Path) -> None:
    path = raster_project / "model.yaml"
    modern = path.read_text()
    config = yaml.safe_load(modern)
    arguments = config["model"]["init_args"]
    arguments.pop("scheduler", None)
    arguments["optimizer"] = {"class_path": "rslearn.train.optimizer.AdamW", "init_args": {"lr": 0.001}}
    path.write_text(yaml.safe_dump(config))
    _runner(raster_project).run_pipeline()
    del arguments["optimizer"]
    arguments["lr"] = 0.001
    path.write_text("# an older spelling\n" + yaml.safe_dump(config))
    assert _runner(raster_project).run_inference().counts["predicted before"] == 16
    arguments["lr"] = 0.002
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(StaleScratchError, match=r"model\.yaml changed"):
        _runner(raster_project).run_inference()


def test_a_changed_knob_of_postprocessing_runs_that_step_again(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.run_pipeline()
    combine = {"class_path": "CombineGeotiff", "init_args": {"nodata_value": 99, "max_pixels_per_dimension": 64}}
    _change_run(raster_project, "postprocessing_strategies", "process_dataset", combine)
    again = _runner(raster_project)
    assert again.postprocess().counts["processed"] == 0
    assert len(again.combine().files) == 4
    _change_run(raster_project, "postprocessing_strategies", "process_partition", combine)
    assert _runner(raster_project).postprocess().counts["unchanged"] == 0


def test_a_request_beyond_the_imagery_predicts_what_is_there(raster_project: Path) -> None:
    _set_request(raster_project, (64, 64, 200, 200))
    runner = _runner(raster_project)
    runner.partition()
    build = runner.build_dataset()
    assert build.counts["built"] > 0
    assert build.counts["without imagery"] > 0
    assert "no imagery of the source covers the window" in next(iter(build.problems.values()))
    infer = runner.run_inference()
    assert infer.counts["predicted"] == build.counts["built"]
    assert infer.counts["failed"] == build.counts["without imagery"]
    for pid in runner.partition_ids():
        runner.run_inference(pid)
    runner.postprocess()
    assert _accuracy(runner.combine().files[0]) > 0.9
    table = runner.windows()
    assert set(table["state"]) == {"predicted", "failed"}
    assert table[table["state"] == "failed"]["reason"].str.contains("no imagery").all()
    with pytest.raises(BuildError, match=r"Not every window \(\d+ of"):
        runner.build_dataset(strict=True)


def test_a_request_wholly_outside_the_imagery_is_one_error(raster_project: Path) -> None:
    _set_request(raster_project, (1000, 1000, 1040, 1040))
    runner = _runner(raster_project)
    runner.partition()
    with pytest.raises(BuildError, match=r"No window got its imagery.*no imagery of the source covers"):
        runner.build_dataset()


def test_an_unreadable_layer_fails_its_window_only(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.run_pipeline(["partition", "dataset_build"])
    broken = next((runner.workspace.dataset / "windows").glob("*/*/layers/scene/*/geotiff.tif"))
    broken.write_bytes(b"broken")
    infer = runner.run_inference()
    assert infer.counts == {"windows": 16, "predicted": 15, "predicted before": 0, "failed": 1}
    (key,) = infer.problems
    assert key.split("/")[1] == broken.parents[3].name
    postprocess = runner.postprocess()
    assert "1 of its windows" in next(iter(postprocess.problems.values()))
    with pytest.raises(InferenceError, match="Not every window"):
        runner.run_inference(strict=True)


def test_no_checkpoint_and_a_wrong_one_are_told(raster_project: Path, trained_vector: object) -> None:
    path = raster_project / "checkpoint.ckpt"
    path.write_bytes(b"nonsense")
    runner = _runner(raster_project)
    runner.run_pipeline(["partition", "dataset_build"])
    with pytest.raises(ModelError, match=r"checkpoint\.ckpt"):
        runner.run_inference()
    shutil.copyfile(trained_vector.checkpoint, path)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"another model|missing|unexpected"):
        _runner(raster_project).run_inference(overwrite=True)
    path.unlink()
    with pytest.raises(ModelError, match="no checkpoint"):
        _runner(raster_project).run_inference()
    assert not list((runner.workspace.dataset / "windows").glob("*/*/layers/output/completed"))


def test_a_mask_leaves_out_windows_and_pixels(raster_project: Path) -> None:
    mask = raster_project / "mask.geojson"
    mask.write_text(json.dumps(scenes.collection([(scenes.pixel_box(0, 0, 70, 30), {})])))
    runner = _runner(raster_project, mask_path=mask)
    partition, *_, result = runner.run_pipeline()
    assert partition.counts["windows"] == 3
    pixels, _ = _read(result.files[0])
    assert pixels.shape == (32, 96)
    assert (pixels[31, :] == 255).all()
    assert (pixels[:, 72:] == 255).all()
    assert (pixels[1:29, 1:69] != 255).all()


def test_a_scratch_without_permission_is_told(raster_project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    runner = OlmoEarthRunPredictRunner(raster_project, tmp_path / "file" / "scratch", progress=False)
    with pytest.raises(OlmoEarthError, match=r"(?s)file.*(permission|folder|directory)"):
        runner.partition()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told(raster_project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OlmoEarthError, match="permission"):
        OlmoEarthRunPredictRunner(raster_project, folder / "scratch", progress=False).partition()


def test_vector_results_for_every_feature(vector_project: Path) -> None:
    path = vector_project / "prediction_request_geometry.geojson"
    request = json.loads(path.read_text())
    twin = json.loads(json.dumps(request["features"][0]))
    twin["properties"]["name"] = "twin of spot 0"
    request["features"].append(twin)
    path.write_text(json.dumps(request))
    runner = _runner(vector_project)
    *_, result = runner.run_pipeline()
    (file,) = result.files
    assert file == runner.workspace.root / "results" / "result.geojson"
    table = gpd.read_file(file)
    assert sorted(table["name"]) == sorted([*(f"spot {i}" for i in range(12)), "twin of spot 0"])
    truth = scenes.class_map()
    classes = dict(zip(table["name"], table["category"], strict=True))
    wanted = {f"spot {i}": truth[int(y), int(x)] for i, (x, y) in enumerate(scenes.request_spots())}
    right = [classes[name] == wanted[name] for name in wanted]
    assert np.mean(right) > 0.8
    assert classes["twin of spot 0"] == classes["spot 0"]
    assert (table.geometry.geom_type == "Point").all()
