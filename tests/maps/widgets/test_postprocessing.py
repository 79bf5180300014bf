from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import predictions
import pytest
import scenes
import shapely
from ipywidgets.widgets import widget as widget_module
from PIL import Image

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import ConfigError, MissingStepError, UsageError
from olmoearth_nb.maps.trial import draw_trial
from olmoearth_nb.maps.widgets.postprocessing import PostprocessingView

MARKUP = "<img src=x onerror=alert(1)>"
TIMES_TEN = {"nodata_value": 255, "value_transform": {"scale": 10.0, "output_dtype": "uint8"}}


@pytest.fixture(scope="module")
def rasters(tmp_path_factory: pytest.TempPathFactory) -> OlmoEarthRunPredictRunner:
    folder = tmp_path_factory.mktemp("rasters")
    runner = predictions.predicted_rasters(scenes.make_raster_project(folder / "project"))
    runner.postprocess()
    return runner


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> OlmoEarthRunPredictRunner:
    folder = tmp_path_factory.mktemp("vectors")
    project = scenes.make_vector_project(folder / "project")
    keep = {"class_path": "CombineGeojson", "init_args": {"geometry_source": "result"}}
    predictions.configure(project, "postprocessing_strategies", process_window=keep)
    spots = [shapely.Point(*spot) for spot in scenes.request_spots()]
    shapes = {MARKUP: shapely.box(spots[4].x - 3, spots[4].y - 3, spots[5].x + 3, spots[5].y + 3)}
    shapes |= {f"own {n}": spot.buffer(1.9, quad_segs=16) for n, spot in enumerate(spots)}
    runner = predictions.predicted_features(project, shapes)
    runner.postprocess()
    return runner


@pytest.fixture
def view(rasters: OlmoEarthRunPredictRunner) -> Iterator[PostprocessingView]:
    view = rasters.explore_postprocessing()
    yield view
    view.close()


def layer_names(view: PostprocessingView) -> list[str]:
    return [layer.name for layer in view.map.layers]


def test_it_opens_with_what_the_project_has(view: PostprocessingView) -> None:
    assert (view.stage, view.partition) == ("partition", "partition_0")
    assert view.component.endswith("CombineGeotiff")
    assert view.arguments == {"nodata_value": 255}
    assert view.counts["pixels before"] == view.counts["pixels after"] > 1000
    assert len(view.changes) == 0
    assert layer_names(view) == ["before", "after", "windows"]
    assert [layer.shown for layer in view.map.layers] == [False, True, True]
    assert view.controls.reset.disabled
    assert "Nothing changed" in view._table.value
    assert set(view.files["side"]) == {"before", "after"}
    assert (view.files["bytes"] > 100).all()


def test_another_argument_runs_the_stage_again(view: PostprocessingView) -> None:
    first = view.trial
    view.arguments = TIMES_TEN
    assert view.trial is not first
    assert not any(path.exists() for path in first.after)
    assert view.counts["value changed"] > 1000
    assert isinstance(view.changes, gpd.GeoDataFrame)
    assert (view.changes["after"] == view.changes["before"] * 10).all()
    assert layer_names(view)[-1] == "changes"
    assert "1 forest" in view._table.value
    assert f"{view.counts['value changed']:,}" in view._numbers.value
    assert "scale: 10.0" in view.settings()
    assert "scale: 10.0" in view._yaml.value
    assert view.message.value == ""


def test_classes_that_are_to_be_blended_are_told_beside_the_inputs(view: PostprocessingView) -> None:
    view.controls.arguments.widgets["overlap"].value = "mean"
    assert "Only probabilities and measurements can be blended" in view.message.value
    view.controls.arguments.widgets["overlap"].value = "first"
    assert view.message.value == ""


def test_inputs_are_made_of_the_signature_and_go_both_ways(view: PostprocessingView) -> None:
    inputs = view.controls.arguments.widgets
    kinds = {name: type(widget).__name__ for name, widget in inputs.items()}
    assert kinds == {
        "max_pixels_per_dimension": "IntText",
        "nodata_value": "FloatText",
        "value_transform": "Text",
        "overlap": "Dropdown",
    }
    assert inputs["nodata_value"].value == 255
    inputs["value_transform"].value = "{scale: 10.0, output_dtype: uint8}"
    assert view.arguments == TIMES_TEN
    assert view.counts["value changed"] > 1000
    inputs["max_pixels_per_dimension"].value = 40
    assert len(view.trial.after) > 1
    assert view.arguments["max_pixels_per_dimension"] == 40
    view.arguments = {"nodata_value": 254}
    assert inputs["value_transform"].value == ""
    assert inputs["max_pixels_per_dimension"].value == 10000
    assert inputs["nodata_value"].value == 254
    inputs["nodata_value"].value = 0
    # Whole numbers stay whole, and the project's own argument is said although it is the default.
    assert view.arguments == {"nodata_value": 0}
    assert isinstance(view.arguments["nodata_value"], int)
    view.controls.reset.click()
    assert view.arguments == {"nodata_value": 255}
    assert view.counts["value changed"] == 0


def test_what_is_refused_is_shown_and_no_older_result_instead(view: PostprocessingView) -> None:
    inputs = view.controls.arguments.widgets
    inputs["max_pixels_per_dimension"].value = 0
    assert "above 0; found 0" in view.message.value
    assert "No result" in view._numbers.value
    assert layer_names(view) == []
    with pytest.raises(ConfigError, match="above 0; found 0"):
        view.changes
    with pytest.raises(ConfigError):
        view.static()
    inputs["max_pixels_per_dimension"].value = 100
    assert view.message.value == ""
    assert view.counts["pixels after"] > 1000
    inputs["value_transform"].value = f"{{a: {MARKUP}"
    assert "no YAML" in view.message.value
    assert "<img" not in view.message.value
    inputs["value_transform"].value = "[1, 2]"
    assert "Expected" in view.message.value


def test_a_class_or_arguments_that_make_no_sense(view: PostprocessingView) -> None:
    view.component = "Nothing"
    assert "no component" in view.message.value
    assert "No result" in view._numbers.value
    with pytest.raises(ConfigError, match="no component 'Nothing'"):
        view.counts
    view.choose(component="CombineGeotiff", arguments={"nodata_value": object()})
    assert "Expected a whole number or a number" in view.message.value
    assert view._yaml.value == ""
    view.controls.reset.click()
    assert view.counts["pixels after"] > 1000
    assert "CombineGeotiff" in view._yaml.value


def test_stages_partitions_and_windows(view: PostprocessingView) -> None:
    view.stage = "window"
    assert view.component.endswith("NoopRaster")
    assert view.arguments == {}
    assert view.window == view._bench.windows("partition_0")[0]
    assert list(view.trial.places["name"]) == [view.window]
    other = view._bench.windows("partition_0")[1]
    view.window = other
    assert list(view.trial.places["name"]) == [other]
    view.partition = "partition_1"
    assert view.window in view._bench.windows("partition_1")
    view.stage = "dataset"
    assert view.partition == ""
    assert set(view.trial.places["name"]) == set(view._bench.partitions())
    assert view.counts["inputs overlap and agree"] > 0
    assert view.controls.partitions.options[0] == ("all", "")
    view.controls.partitions.value = "partition_0"
    assert view.partition == "partition_0"
    view.controls.stages.value = "partition"
    assert view.stage == "partition"
    assert view.controls._window_row.layout.display == "none"


def test_several_at_once_run_once(view: PostprocessingView, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []
    run = view._bench.run
    monkeypatch.setattr(view._bench, "run", lambda choice: (runs.append(choice), run(choice))[1])
    view.choose(stage="dataset", partition="partition_1", component="CombineGeotiff", arguments=TIMES_TEN)
    assert len(runs) == 1
    assert runs[0].arguments == TIMES_TEN
    assert (view.stage, view.partition, view.component) == ("dataset", "partition_1", "CombineGeotiff")
    view.choose(component="NoopRaster")
    assert view.arguments == {}
    assert view.controls.arguments.widgets == {}
    assert view.trial.notes == ("No file in epsg32631 came out of this stage.",)
    view.choose(component="NoopRaster")
    assert len(runs) == 2


def test_what_is_not_there_is_refused(view: PostprocessingView, rasters: OlmoEarthRunPredictRunner) -> None:
    with pytest.raises(UsageError, match=r"no such stage.*'window', 'partition', 'dataset'; found 'all'"):
        view.stage = "all"
    with pytest.raises(UsageError, match="no such partition"):
        view.partition = "partition_99"
    with pytest.raises(UsageError, match="no such window in this partition"):
        view.choose(stage="window", window="w")
    with pytest.raises(UsageError, match="no such partition"):
        rasters.explore_postprocessing(partition="partition_99")
    fresh = OlmoEarthRunPredictRunner(rasters.project.path, rasters.workspace.root.parent / "fresh", progress=False)
    fresh.partition()
    before = set(widget_module._instances)
    with pytest.raises(MissingStepError, match=r"run_inference\(\) first"):
        fresh.explore_postprocessing()
    assert set(widget_module._instances) == before


def test_closing_frees_widgets_and_files(rasters: OlmoEarthRunPredictRunner) -> None:
    rasters.explore_postprocessing().close()  # libraries keep some widgets of their own from the first time on
    before = set(widget_module._instances)
    view = rasters.explore_postprocessing()
    view.arguments = TIMES_TEN
    view.stage = "dataset"
    view.component = "NoopRaster"
    view.stage = "window"
    view._repr_mimebundle_()
    folder = Path(view.trial.folder.name)
    assert folder.is_dir()
    assert len(widget_module._instances) > len(before) + 40
    view.close()
    assert set(widget_module._instances) == before
    assert not folder.exists()
    with pytest.raises(UsageError, match="has been closed"):
        view.trial


def test_choosing_makes_no_more_widgets(view: PostprocessingView) -> None:
    view.arguments = TIMES_TEN
    made = len(widget_module._instances)
    for scale in (2.0, 3.0, 4.0):
        view.arguments = {"nodata_value": 255, "value_transform": {"scale": scale, "output_dtype": "uint8"}}
    assert len(widget_module._instances) == made


def test_one_output_has_three_faces(view: PostprocessingView) -> None:
    view.arguments = TIMES_TEN
    bundle = view._repr_mimebundle_()
    assert list(bundle) == ["text/plain", "image/png", "application/vnd.jupyter.widget-view+json"]
    assert bundle["text/plain"].startswith("Postprocessing of partition (partition_0) by CombineGeotiff: pixels before")
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("RGB"))
    thirds = np.array_split(drawn, 3, axis=1)
    for color in scenes.COLORS[1:]:
        # Before has the classes; after, their values times ten are no classes any more.
        assert (thirds[0] == color).all(axis=-1).sum() > 500
    assert [ax.get_title(loc="left") for ax in view.static().axes] == ["before", "after", "changes"]
    assert view._layers is not None
    assert draw_trial(view._layers).axes[2].get_legend() is not None


def test_features_that_are_dropped_are_on_the_map(vectors: OlmoEarthRunPredictRunner) -> None:
    view = vectors.explore_postprocessing("dataset")
    assert view.partition == ""
    whole = view.counts["features after"]
    view.component = "CombineAndDeduplicateGeojson"
    inputs = view.controls.arguments.widgets
    assert {name: type(one).__name__ for name, one in inputs.items()} == {
        "min_iou": "FloatText", "point_nearness": "FloatText",
    }  # fmt: skip
    assert view.counts["dropped"] == view.counts["dropped: duplicate"] == whole - view.counts["features after"] > 0
    (changes,) = [layer for layer in view.map.layers if layer.name.startswith("changes")]
    assert len(changes.shapes) == view.counts["dropped"]  # type: ignore[union-attr]
    described = changes.describe(0)  # type: ignore[union-attr]
    assert "reason: duplicate" in described
    assert "iou: 1" in described
    inputs["min_iou"].value = 1.5
    assert view.arguments == {"min_iou": 1.5}
    assert view.counts["dropped"] == 0
    view.stage = "window"
    assert list(view.controls.arguments.widgets) == ["geometry_source", "include_request_properties"]
    view.controls.arguments.widgets["geometry_source"].value = "request"
    assert set(view.changes["change"]) == {"geometry and properties"}
    view.controls.arguments.widgets["include_request_properties"].value = False
    assert set(view.changes["change"]) == {"geometry"}
    assert view.arguments == {"geometry_source": "request", "include_request_properties": False}
    view.close()


def test_names_from_files_are_text(vectors: OlmoEarthRunPredictRunner) -> None:
    before = set(widget_module._instances)
    view = vectors.explore_postprocessing("window")
    pid, window = next(
        (pid, name)
        for pid in view._bench.partitions()
        for name in view._bench.windows(pid)
        if any(MARKUP in str(f) for f in features_of(vectors, pid, name))
    )
    view.choose(partition=pid, window=window, component="CombineGeojson")
    view.map.hover(*view.changes.geometry.iloc[0].representative_point().coords[0])
    for key in set(widget_module._instances) - before:
        assert "<img" not in json.dumps(widget_module._instances[key].get_state(), default=str)
    view.close()


def features_of(runner: OlmoEarthRunPredictRunner, pid: str, name: str) -> list[Any]:
    window = runner.workspace.window(f"group_{pid}", name)
    path = window / "layers" / "output" / "data.geojson"
    return json.loads(path.read_text())["features"] if path.exists() else []
