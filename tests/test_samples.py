"""The sample projects: complete, checked, made from the labels that lie beside them, and divided as they say."""

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.warp import transform, transform_bounds

from olmoearth_nb.config import Project
from olmoearth_nb.labels import make_annotations, prepare_windows, read_annotation_tasks
from olmoearth_nb.legend import ClassLegend
from olmoearth_nb.planning import Plan
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner
from olmoearth_nb.types import DataSplitType, StepName, shape_of

DATA = Path(__file__).parents[1] / "olmoearth_run_data"
IMAGE = DATA / "imagery" / "landsat7_etm_20000331.tif"
SAMPLES = ("sample", "sample_points", "sample_polygons")
MODELS = ("sample", "sample_points")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def make_annotations_call(sample: str) -> tuple[list[str], dict[str, Any]]:
    """Arguments of the call that the sample's README shows."""
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (DATA / sample / "README.md").read_text(encoding="utf-8"), re.S)
        if "make_annotations(" in block
    )
    call = next(node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    return (
        [ast.literal_eval(node) for node in call.args],
        {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords},
    )


def observed(lon: list[float], lat: list[float]) -> np.ndarray:
    """Whether the image has a value at each place."""
    with rasterio.open(IMAGE) as image:
        x, y = transform("EPSG:4326", image.crs, lon, lat)
        return np.array([bool(value[0]) for value in image.sample(zip(x, y, strict=True), indexes=1)])


def labelled_windows(sample: str) -> list[Any]:
    components = Components(Project(DATA / sample))
    tasks, annotations = components.project.annotation_paths
    return list(
        prepare_windows(
            read_annotation_tasks(tasks, annotations).tasks,
            sampler=components.sampler(),
            preparer=components.window_preparer(),
            splitter=components.data_splitter(),
        )
    )


def planned(sample: str, request: str, scratch: Path) -> Plan:
    return OlmoEarthRunPredictRunner(DATA / sample, scratch, DATA / sample / "prediction" / f"{request}.geojson").plan()


@pytest.fixture(scope="module")
def points() -> list[tuple[float, float, int, str]]:
    features = read(DATA / "labels" / "landcover_points.geojson")["features"]
    return [
        (*feature["geometry"]["coordinates"], feature["properties"]["class_id"], feature["properties"]["class_name"])
        for feature in features
    ]


@pytest.mark.parametrize("sample", SAMPLES)
def test_check_finds_nothing_but_what_is_left_to_the_user(sample: str) -> None:
    report = Project(DATA / sample).check()
    files = {problem.file for problem in report.problems}
    steps = {step for step, can_run in report.steps.items() if not can_run}
    if sample in MODELS:
        assert files == {"checkpoint.ckpt"}
        assert steps == {StepName.INFERENCE}
    else:
        assert files == {"checkpoint.ckpt", "model.yaml"}
        assert steps == {StepName.INFERENCE, StepName.FINE_TUNE}


@pytest.mark.parametrize("sample", SAMPLES)
def test_annotation_files_are_what_the_readme_says_byte_by_byte(sample: str, tmp_path: Path) -> None:
    (source, folder), options = make_annotations_call(sample)
    assert folder == f"olmoearth_run_data/{sample}"
    made = make_annotations(DATA.parent / source, tmp_path, **options)
    assert made.annotations_path.read_bytes() == (DATA / sample / made.annotations_path.name).read_bytes()
    assert made.tasks_path.read_bytes() == (DATA / sample / made.tasks_path.name).read_bytes()
    assert not made.left_out


@pytest.mark.parametrize("sample", SAMPLES)
def test_legend_has_every_class_of_the_labels_by_its_name(sample: str) -> None:
    (source, _), options = make_annotations_call(sample)
    properties = [feature["properties"] for feature in read(DATA.parent / source)["features"]]
    legend = Project(DATA / sample).legend
    assert legend is not None
    (classes,) = legend.classes
    assert isinstance(classes, ClassLegend)
    assert {entry.value: entry.label for entry in classes.entries} == {
        item["class_id"]: item["class_name"] for item in properties
    }
    assert classes.property_name == options["label_name"]
    assert len({entry.color for entry in classes.entries}) == 7


@pytest.mark.parametrize(("sample", "key"), [("sample", "class_names"), ("sample_points", "classes")])
def test_model_counts_the_classes_as_the_legend_does(sample: str, key: str) -> None:
    config = yaml.safe_load((DATA / sample / "model.yaml").read_text(encoding="utf-8"))
    names = config["data"]["init_args"]["task"]["init_args"][key]
    legend = Project(DATA / sample).legend
    assert legend is not None
    assert len(names) == 8
    assert all(names[entry.value] == entry.label for entry in legend.classes[0].entries)


@pytest.mark.parametrize("sample", SAMPLES)
def test_imagery_lies_once_beside_the_projects(sample: str) -> None:
    arguments = read(DATA / sample / "dataset.json")["layers"]["landsat"]["data_source"]["init_args"]
    folder = DATA / sample / arguments["src_dir"]
    (item,) = arguments["raster_item_specs"]
    assert (folder / item["fnames"][0]).resolve() == IMAGE
    with rasterio.open(IMAGE) as image:
        assert list(image.descriptions) == item["bands"][0]
    assert not list((DATA / sample).rglob("*.tif"))
    assert not list((DATA / sample).glob("*.ckpt"))


@pytest.mark.parametrize(
    ("sample", "request_name", "partitions", "windows"),
    [("sample", "inside", 6, 12), ("sample_points", "test_points", 4, 114), ("sample_polygons", "lakes", 1, 7)],
)
def test_requests_give_partitions(
    sample: str, request_name: str, partitions: int, windows: int, tmp_path: Path
) -> None:
    plan = planned(sample, request_name, tmp_path)
    assert (len(plan.partitions), plan.counts.windows) == (partitions, windows)


def test_inside_is_imagery_everywhere_and_beyond_is_not() -> None:
    share = {}
    for name in ("inside", "beyond"):
        (feature,) = read(DATA / "sample" / "prediction" / f"{name}.geojson")["features"]
        ring = np.array(feature["geometry"]["coordinates"][0])
        lon, lat = np.meshgrid(
            np.linspace(*np.quantile(ring[:, 0], [0, 1]), 60), np.linspace(*np.quantile(ring[:, 1], [0, 1]), 60)
        )
        share[name] = observed(lon.ravel().tolist(), lat.ravel().tolist()).mean()
    assert share["inside"] == 1
    assert 0.2 < share["beyond"] < 0.4


def test_beyond_has_windows_without_any_imagery(tmp_path: Path) -> None:
    plan = planned("sample", "beyond", tmp_path)
    specs = {spec.name: spec for partition in plan.partitions for spec in partition.windows}.values()
    with rasterio.open(IMAGE) as image:
        left, bottom, right, top = transform_bounds(image.crs, "EPSG:32617", *image.bounds)
    touching = [
        spec.bounds[0] * 30 < right
        and spec.bounds[2] * 30 > left
        and spec.bounds[1] * -30 > bottom
        and spec.bounds[3] * -30 < top
        for spec in specs
    ]
    assert Counter(touching) == {True: 4, False: 5}


def test_training_never_covers_most_test_points(points: list[tuple[float, float, int, str]]) -> None:
    places = [point[:2] for point in points]
    inside = dict(zip(places, observed([lon for lon, _ in places], [lat for _, lat in places]), strict=True))
    assert sum(inside.values()) == 513
    windows = labelled_windows("sample")
    assert len(windows) == 700
    middles, train, values = [], [], []
    for prepared, point in zip(windows, points, strict=True):
        x0, y0, x1, y1 = prepared.window.bounds
        assert (x1 - x0, y1 - y0) == (11, 11)
        assert prepared.window.labels[0].value[5, 5] == point[2]
        if prepared.split is DataSplitType.TRAIN:
            train.append((x0, y0, x1, y1))
        elif prepared.split is DataSplitType.TEST and inside[point[:2]]:
            middles.append((x0 + 5, y0 + 5))
            values.append(point[2])
    x, y = np.array(middles).T[:, :, np.newaxis]
    x0, y0, x1, y1 = np.array(train).T
    covered = ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).any(axis=1)
    # Always saying forest is right for half of them: what training has to beat.
    assert (~covered).sum() >= 140
    assert np.mean(np.array(values)[~covered] == 5) == pytest.approx(0.5, abs=0.02)


def test_point_request_holds_the_test_points_inside_the_image(points: list[tuple[float, float, int, str]]) -> None:
    requested = {
        tuple(feature["geometry"]["coordinates"]): feature["properties"]["land_cover_1996"]
        for feature in read(DATA / "sample_points" / "prediction" / "test_points.geojson")["features"]
    }
    tests = [
        point
        for point, prepared in zip(points, labelled_windows("sample_points"), strict=True)
        if prepared.split is DataSplitType.TEST
    ]
    inside = observed([point[0] for point in tests], [point[1] for point in tests])
    wanted = {point[:2]: point[2] for point, there in zip(tests, inside, strict=True) if there}
    assert requested == wanted
    assert len(wanted) == 114


def test_polygon_windows_have_labels_and_one_size() -> None:
    windows = labelled_windows("sample_polygons")
    assert len(windows) == 132
    values: Counter[int] = Counter()
    for prepared in windows:
        x0, y0, x1, y1 = prepared.window.bounds
        assert (x1 - x0, y1 - y0) == (32, 32)
        values.update(np.unique(prepared.window.labels[0].value).tolist())
    assert set(values) == set(range(8))
    assert all(shape_of(prepared.window.st_geometry).area == 32 * 32 for prepared in windows)
