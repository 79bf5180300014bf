"""Beside an installed olmoearth-runner: a small package of the same names stands for it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

_PACKAGE = {
    "olmoearth_run/runner/tools/partitioners/partition_interface.py": """
        class PartitionInterface:
            THEIRS = True
            def __init__(self, output_projection=None, use_utm=False):
                self.use_utm = use_utm
            def partition_request_geometry(self, request_extents):
                raise NotImplementedError
            def prepare_window_geometries(self, request_extents):
                raise NotImplementedError
    """,
    "olmoearth_run/runner/tools/partitioners/grid_partitioner.py": "raise RuntimeError('not ours')",
    "olmoearth_run/runner/tools/labeled_window_preparers/labeled_window_preparer.py": """
        from abc import ABC, abstractmethod
        class VectorLabelsWindowPreparer(ABC):
            @abstractmethod
            def prepare_labeled_windows(self, annotation_task): ...
    """,
    "olmoearth_run/runner/models/training/labeled_data.py": """
        import uuid
        from typing import Any
        from pydantic import BaseModel
        class LabeledSTGeometry(BaseModel):
            st_geometry: Any
            labels: dict[str, float | None]
        class AnnotationTask(BaseModel):
            task_id: uuid.UUID
            task_st_geometry: Any
            annotations: list[LabeledSTGeometry]
        class LabeledWindow(BaseModel):
            name: str
            st_geometry: Any
            labels: list[LabeledSTGeometry]
    """,
    "olmoearth_shared/api/run/prediction_geometry.py": """
        from datetime import datetime
        from geojson_pydantic import Feature, FeatureCollection
        from geojson_pydantic.geometries import Geometry
        from pydantic import BaseModel, ConfigDict
        class PredictionRequestProperties(BaseModel):
            model_config = ConfigDict(extra="allow")
            oe_start_time: datetime
            oe_end_time: datetime
        PredictionRequestFeature = Feature[Geometry, PredictionRequestProperties]
        PredictionRequestCollection = FeatureCollection[PredictionRequestFeature]
    """,
    "own.py": """
        from olmoearth_run.runner.models.training.labeled_data import AnnotationTask, LabeledWindow
        from olmoearth_run.runner.tools.labeled_window_preparers.labeled_window_preparer import (
            VectorLabelsWindowPreparer)
        from olmoearth_run.runner.tools.partitioners.partition_interface import PartitionInterface
        from olmoearth_shared.api.run.prediction_geometry import PredictionRequestCollection

        class Singles(PartitionInterface):
            def partition_request_geometry(self, request_extents):
                assert type(request_extents) is PredictionRequestCollection
                return [PredictionRequestCollection(type="FeatureCollection", features=[feature])
                        for feature in request_extents.features]

        class Whole(VectorLabelsWindowPreparer):
            def __init__(self, name: str = "window"):
                super().__init__()
                self.name = name

            def prepare_labeled_windows(self, annotation_task):
                assert isinstance(annotation_task, AnnotationTask)
                return [LabeledWindow(name=self.name, st_geometry=annotation_task.task_st_geometry,
                                      labels=annotation_task.annotations)]
    """,
}

_SCRIPT = """
    import datetime as dt, uuid
    import olmoearth_run.runner.tools.partitioners.partition_interface as interface
    import shapely
    from pathlib import Path
    from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry
    from olmoearth_nb.config import ObjectSpec, build_object, role_for
    from olmoearth_nb.geojson import PredictionRequestCollection
    from olmoearth_nb.labels import RandomDataSplitter, prepare_windows
    from olmoearth_nb.planning.calls import partitions_from
    from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry

    def made(name, path, **arguments):
        spec = ObjectSpec({"class_path": name, "init_args": arguments}, path)
        return build_object(spec, role_for(spec))

    # Their modules are their own, and their names in a configuration mean the classes here.
    assert interface.PartitionInterface.THEIRS
    grid = "olmoearth_run.runner.tools.partitioners.grid_partitioner.GridPartitioner"
    ours = made(grid, "partition_strategies.partition_request_geometry", grid_size=1.0)
    assert type(ours).__module__ == "olmoearth_nb.partitioners"

    singles = made("own.Singles", "partition_strategies.partition_request_geometry", use_utm=True)
    assert isinstance(singles, interface.PartitionInterface) and singles.use_utm
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [10, 50]},
               "properties": {"oe_start_time": "2024-05-01", "oe_end_time": "2024-06-01", "site": "a"}}
    request = PredictionRequestCollection.model_validate(
        {"type": "FeatureCollection", "features": [feature, feature]})
    partitions = partitions_from(singles, request)
    assert [one.features[0].properties.site for one in partitions.values()] == ["a", "a"]

    preparer = made("own.Whole", "window_prep.labeled_window_preparer")
    times = tuple(dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (5, 6))
    box = STGeometry(WGS84_PROJECTION, shapely.box(10, 50, 12, 53), times)
    task = AnnotationTask(task_id=uuid.UUID(int=1), task_st_geometry=box,
                          annotations=[LabeledSTGeometry(st_geometry=box, labels={"kind": 3})])
    (window,) = prepare_windows([task], sampler=None, preparer=preparer, splitter=RandomDataSplitter(1, 0, 0, seed=1))
    assert window.window.labels[0].labels == {"kind": 3}
    assert (window.window.name, window.window.bounds) == ("window", (10, 50, 12, 53))

    # What it lacks is not made up: a half-installed package is its own business.
    try:
        made("olmoearth_run.runner.tools.postprocessors.own.Thing", "postprocessing_strategies.process_window")
    except Exception as error:
        print(type(error).__name__)
"""


def test_both_in_one_environment(tmp_path: Path) -> None:
    for name, text in _PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    for folder in {path.parent for path in tmp_path.rglob("*.py")} | {tmp_path / "olmoearth_run"}:
        for above in (folder, *folder.parents):
            if above != tmp_path and tmp_path in above.parents:
                (above / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ConfigError"
