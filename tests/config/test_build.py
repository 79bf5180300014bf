from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection

from olmoearth_nb.config import ObjectSpec, build_object, check_object, role_for
from olmoearth_nb.errors import ConfigError

REQUESTS = "partition_strategies.partition_request_geometry"
WINDOWS = "partition_strategies.prepare_window_geometries"
SAMPLER = "window_prep.sampler"
PREPARER = "window_prep.labeled_window_preparer"
SPLITTER = "window_prep.data_splitter"
WINDOW_RESULT = "postprocessing_strategies.process_window"
DATASET_RESULT = "postprocessing_strategies.process_dataset"

CUSTOM = '''
from dataclasses import dataclass
from olmoearth_run.runner.tools.partitioners.partition_interface import PartitionInterface
from olmoearth_run.runner.tools.postprocessors.postprocess_inferface import PostprocessInterface
from olmoearth_run.runner.tools.postprocessors.postprocess_interface import PostprocessInterfaceVector
from olmoearth_run.runner.tools.data_splitters.data_splitter_interface import DataSplitterInterface
from olmoearth_run.runner.models.training.labeled_data import LabeledWindow
from olmoearth_run.shared.models.data_split_type import DataSplitType
from rslearn.utils import Projection

MADE = []

@dataclass
class Options:
    size: int
    name: str = "x"

class Part:
    def __init__(self, weight: float):
        self.weight = weight

class Splitter(DataSplitterInterface):
    def __init__(self, threshold: float, parts: list[Part] = (), table: dict[str, Part] | None = None,
                 options: Options | None = None):
        if threshold > 1:
            raise ValueError(f"threshold {threshold} is above 1")
        self.threshold, self.parts, self.table, self.options = threshold, parts, table, options
        MADE.append(self)

    def choose_split_for_window(self, labeled_window: LabeledWindow) -> DataSplitType:
        return DataSplitType.VAL

class Empty(PartitionInterface):
    """Defines nothing."""

class Anything:
    def __init__(self, **options):
        self.options = options

    def sample(self, tasks):
        return tasks

class RasterPost(PostprocessInterface):
    def process_window(self, request, path): ...
    def process_dataset(self, paths, output_dir): return []

class VectorPost(PostprocessInterfaceVector):
    def process_dataset(self, results): return results[0]

def make_sampler(seed: int):
    return Anything(seed=seed)

def make_number():
    return 3
'''


@pytest.fixture
def custom(tmp_path: Path) -> Iterator[list[Path]]:
    (tmp_path / "oe_build_custom.py").write_text(CUSTOM)
    yield [tmp_path]
    sys.modules.pop("oe_build_custom", None)


def spec(path: str, class_path: str, **init_args: Any) -> ObjectSpec:
    return ObjectSpec({"class_path": class_path, "init_args": init_args}, path)


def both(one: ObjectSpec, message: str, *, data_type: Any = None, search_path: list[Path] | None = None) -> None:
    """Checking and building find the same, with the path in front."""
    role = role_for(one, data_type)
    problems = check_object(one, role, search_path=search_path or [])
    assert len(problems) == 1
    with pytest.raises(ConfigError, match=message):
        build_object(one, role, search_path=search_path or [])
    with pytest.raises(ConfigError, match=message):
        raise ConfigError(str(problems[0]))


def test_nested_objects_and_crs_texts() -> None:
    projection = {
        "class_path": "rslearn.utils.geometry.Projection",
        "init_args": {"crs": "EPSG:3857", "x_resolution": 10, "y_resolution": -10},
    }
    one = spec(WINDOWS, "GridPartitioner", grid_size=64, output_projection=projection, use_utm=True)
    made = build_object(one, role_for(one))
    assert made.output_projection == Projection(CRS.from_epsg(3857), 10, -10)
    assert made.use_utm is True


def test_module_and_callable() -> None:
    crs = {"_module_": "rasterio.crs", "_callable_": "CRS.from_epsg", "code": 3857}
    arguments = {"crs": crs, "x_resolution": 9.5, "y_resolution": -9.5}
    projection = {"class_path": "rslearn.utils.Projection", "init_args": arguments}
    one = spec(WINDOWS, "FixedWindowPartitioner", window_size=128, output_projection=projection)
    assert build_object(one, role_for(one)).output_projection == Projection(CRS.from_epsg(3857), 9.5, -9.5)
    whole = ObjectSpec({"_module_": "rslearn.utils.geometry", "_callable_": "Projection", **arguments}, "x.y")
    assert build_object(whole).x_resolution == 9.5


def test_empty_init_args() -> None:
    one = ObjectSpec({"class_path": "NoopPartitioner", "init_args": None}, REQUESTS)
    assert type(build_object(one, role_for(one))).__name__ == "NoopPartitioner"


def test_a_value_transform_is_passed_as_a_mapping() -> None:
    one = spec(DATASET_RESULT, "CombineGeotiff", value_transform={"scale": 2, "output_dtype": "uint8"})
    assert build_object(one, role_for(one, "RASTER")).value_transform.scale == 2
    old = "olmoearth_run.runner.tools.postprocessors.combine_geotiff.LinearValueTransform"
    nested = spec(DATASET_RESULT, "CombineGeotiff", value_transform={"class_path": old, "init_args": {"scale": 3.0}})
    assert build_object(nested, role_for(nested, "RASTER")).value_transform.scale == 3.0


def test_a_custom_class_with_objects_in_lists_and_mappings(custom: list[Path]) -> None:
    part = {"class_path": "oe_build_custom.Part", "init_args": {"weight": 2}}
    one = spec(SPLITTER, "oe_build_custom.Splitter", threshold=0.5, parts=[part, part], table={"a": part})
    assert check_object(one, role_for(one), search_path=custom) == []
    assert sys.modules["oe_build_custom"].MADE == []
    made = build_object(one, role_for(one), search_path=custom)
    assert [part.weight for part in made.parts] == [2, 2]
    assert made.table["a"].weight == 2
    assert made.choose_split_for_window(None) == "val"


def test_a_custom_class_on_pythonpath(custom: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(custom[0]))
    one = spec(SAMPLER, "oe_build_custom.Anything", whatever=[1, {"a": 2}])
    assert build_object(one, role_for(one)).options == {"whatever": [1, {"a": 2}]}


def test_a_function_may_make_the_object(custom: list[Path]) -> None:
    one = spec(SAMPLER, "oe_build_custom.make_sampler", seed=3)
    assert build_object(one, role_for(one), search_path=custom).options == {"seed": 3}
    wrong = spec(SAMPLER, "oe_build_custom.make_number")
    with pytest.raises(
        ConfigError, match=r"window_prep\.sampler: What oe_build_custom\.make_number gives has no sample"
    ):
        build_object(wrong, role_for(wrong), search_path=custom)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            spec(WINDOWS, "GridPartitioner", grid_siz=64),
            r"olmoearth_run\.yaml: 2 problems:|takes no argument 'grid_siz'\. Did you mean grid_size\?",
        ),
        (
            spec(WINDOWS, "GridPartitioner"),
            rf"{WINDOWS}\.init_args\.grid_size: GridPartitioner needs the argument 'grid_size', which is missing",
        ),
        (
            spec(WINDOWS, "GridPartitioner", grid_size="64"),
            rf"{WINDOWS}\.init_args\.grid_size: It is '64'\. Expected a number",
        ),
        (
            spec(WINDOWS, "GridPartitioner", grid_size=True),
            rf"{WINDOWS}\.init_args\.grid_size: It is True\. Expected a number",
        ),
        (spec(WINDOWS, "GridPartitioner", grid_size=-1), rf"{WINDOWS}\.init_args\.grid_size: "),
        (spec(WINDOWS, "FixedWindowPartitioner", window_size=0), rf"{WINDOWS}\.init_args\.window_size: "),
        (
            spec(WINDOWS, "GridPartitioner", grid_size=1, output_projection="EPSG:3857"),
            r"init_args\.output_projection: It is 'EPSG:3857'\. Expected an object of Projection",
        ),
        (
            spec(WINDOWS, "GridPartitioner", grid_size=1, output_projection={"class_path": "NoopSampler"}),
            r"init_args\.output_projection: It is a NoopSampler\. Expected an object of Projection",
        ),
        (
            spec(WINDOWS, "GridPartitioner", grid_size={"class_path": "NoopSampler"}),
            r"init_args\.grid_size: It is a NoopSampler\. Expected a number",
        ),
        (
            spec(
                WINDOWS,
                "GridPartitioner",
                grid_size=1,
                output_projection={
                    "class_path": "rslearn.utils.geometry.Projection",
                    "init_args": {"crs": "EPSG:99999999", "x_resolution": 1, "y_resolution": -1},
                },
            ),
            r"output_projection\.init_args\.crs: It is 'EPSG:99999999'\. Expected a CRS",
        ),
        (
            spec(PREPARER, "PointToRasterWindowPreparer", window_buffer=1.5, dtype="uint8"),
            rf"{PREPARER}\.init_args\.window_buffer: It is 1\.5\. Expected a whole number",
        ),
        (
            spec(PREPARER, "PointToRasterWindowPreparer", window_buffer=1, dtype="text"),
            rf"{PREPARER}\.init_args\.dtype: .*'text'",
        ),
        (
            spec(PREPARER, "PolygonToRasterWindowPreparer", grid_config={"window_size_px": 0}),
            rf"{PREPARER}\.init_args\.grid_config\.window_size_px: ",
        ),
        (
            spec(SPLITTER, "RandomDataSplitter", train_prop=0.5, val_prop=0.2, test_prop=0.2),
            rf"{SPLITTER}\.init_args: ",
        ),
        (
            spec(DATASET_RESULT, "CombineGeojson", geometry_source="rquest"),
            rf"{DATASET_RESULT}\.init_args\.geometry_source: It is 'rquest'\. Expected one of 'request', 'result'",
        ),
        (
            ObjectSpec({"class_path": "NoopSampler", "init_args": [1]}, SAMPLER),
            r"init_args: It is \[1\]\. Expected a map",
        ),
        (ObjectSpec({"class_path": 3}, SAMPLER), rf"{SAMPLER}\.class_path: It is 3\. Expected a dotted name"),
        (ObjectSpec({"_module_": "math", "_callable_": "pi"}, SAMPLER), rf"{SAMPLER}: math\.pi is a float"),
        (spec(SAMPLER, "NoopSamplr"), rf"{SAMPLER}\.class_path: There is no component 'NoopSamplr'.*NoopSampler"),
    ],
)
def test_arguments_that_are_refused(one: ObjectSpec, message: str) -> None:
    role = role_for(one)
    problems = check_object(one, role)
    assert problems
    with pytest.raises(ConfigError, match=message):
        build_object(one, role)
    assert all(problem.key.startswith(one.path) for problem in problems)


@pytest.mark.parametrize(
    ("one", "data_type", "message"),
    [
        (spec(WINDOWS, "NoopPartitioner"), None, rf"{WINDOWS}: NoopPartitioner can't be the partitioner for windows: "),
        (
            spec(REQUESTS, "FixedWindowPartitioner", window_size=3),
            None,
            rf"{REQUESTS}: FixedWindowPartitioner can't be",
        ),
        (spec(REQUESTS, "ReprojectionPartitioner"), None, rf"{REQUESTS}: ReprojectionPartitioner can't be"),
        (spec(REQUESTS, "NoopSampler"), None, r"does not define partition_request_geometry\(\)\. Expected one of Noop"),
        (
            spec(SAMPLER, "NoopPartitioner"),
            None,
            r"NoopPartitioner can't be the sampler: it does not define sample\(\)",
        ),
        (spec(PREPARER, "NoopSampler"), None, r"it does not define prepare_labeled_windows\(\)"),
        (spec(SPLITTER, "NoopSampler"), None, r"it does not define choose_split_for_window\(\)"),
        (
            spec(WINDOW_RESULT, "CombineGeotiff"),
            "RASTER",
            r"CombineGeotiff can't be the postprocessor of window results",
        ),
        (
            spec(DATASET_RESULT, "CombineGeojson"),
            "RASTER",
            r"CombineGeojson works on VECTOR results, and data_type is RA",
        ),
        (spec(DATASET_RESULT, "NoopRaster"), "VECTOR", r"NoopRaster works on RASTER results.*one of CombineGeojson"),
    ],
)
def test_roles_that_a_class_does_not_have(one: ObjectSpec, data_type: Any, message: str) -> None:
    both(one, message, data_type=data_type)


@pytest.mark.parametrize(
    ("class_path", "path", "data_type", "message"),
    [
        ("Empty", WINDOWS, None, r"Empty can't be .* it does not define prepare_window_geometries\(\)"),
        ("RasterPost", DATASET_RESULT, "VECTOR", r"RasterPost works on RASTER results, and data_type is VECTOR"),
        ("VectorPost", DATASET_RESULT, "RASTER", r"VectorPost works on VECTOR results, and data_type is RASTER"),
        ("VectorPost", WINDOW_RESULT, "VECTOR", r"VectorPost can't be .* it does not define process_window\(\)"),
    ],
)
def test_roles_of_custom_classes(custom: list[Path], class_path: str, path: str, data_type: Any, message: str) -> None:
    both(spec(path, f"oe_build_custom.{class_path}"), message, data_type=data_type, search_path=custom)


def test_custom_postprocessors_of_the_right_kind(custom: list[Path]) -> None:
    for class_path, data_type in (("RasterPost", "RASTER"), ("VectorPost", "VECTOR"), ("RasterPost", None)):
        one = spec(DATASET_RESULT, f"oe_build_custom.{class_path}")
        assert check_object(one, role_for(one, data_type), search_path=custom) == []  # type: ignore[arg-type]


def test_custom_classes_are_not_made_by_a_check(custom: list[Path]) -> None:
    one = spec(SPLITTER, "oe_build_custom.Splitter", threshold=2.0)
    assert check_object(one, role_for(one), search_path=custom) == []
    with pytest.raises(
        ConfigError, match=rf"{SPLITTER}\.init_args: Splitter can't be made: ValueError: threshold 2\.0"
    ):
        build_object(one, role_for(one), search_path=custom)


def test_mappings_for_records_are_checked_by_name(custom: list[Path]) -> None:
    one = spec(SPLITTER, "oe_build_custom.Splitter", threshold=1, options={"size": "big", "nam": "y"})
    found = {problem.key.rpartition(".")[2]: problem for problem in check_object(one, search_path=custom)}
    assert set(found) == {"size", "nam"}
    assert found["size"].expected == "a whole number"
    assert found["nam"].fix == "Did you mean name?"


def test_everything_wrong_is_collected(custom: list[Path]) -> None:
    part = {"class_path": "oe_build_custom.Part", "init_args": {"weight": "heavy"}, "initargs": {}}
    one = spec(SPLITTER, "oe_build_custom.Splitter", treshold=1, parts=[part, 3])
    problems = {
        problem.key.removeprefix(f"{SPLITTER}.init_args."): problem for problem in check_object(one, search_path=custom)
    }
    assert {key: problem.severity for key, problem in problems.items()} == {
        "treshold": "error",
        "threshold": "error",
        "parts[0].init_args.weight": "error",
        "parts[0].initargs": "warning",
        "parts[1]": "error",
    }
    assert problems["treshold"].fix == "Did you mean threshold?"
    with pytest.raises(ConfigError, match="4 problems"):
        build_object(one, search_path=custom)


def test_a_key_that_nobody_reads_stops_nothing() -> None:
    projection = {
        "class_path": "rslearn.utils.geometry.Projection",
        "init_args": {"crs": 3857, "x_resolution": 1, "y_resolution": -1},
        "comment": "Web Mercator",
    }
    one = spec(WINDOWS, "ReprojectionPartitioner", output_projection=projection)
    assert [problem.severity for problem in check_object(one, role_for(one))] == ["warning"]
    assert build_object(one, role_for(one)).output_projection.crs == CRS.from_epsg(3857)
