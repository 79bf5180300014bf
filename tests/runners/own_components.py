"""Components as people write them after the guide, as the text of modules: one of each kind."""

from __future__ import annotations

from pathlib import Path

PARTITIONERS = '''
from geojson_pydantic import Polygon
from olmoearth_run.tools.partitioners.partition_interface import PartitionInterface
from olmoearth_run.runner.tools.converters.st_geometry import STGeometryConverter
from olmoearth_shared.api.run.prediction_geometry import PredictionRequestCollection, PredictionRequestFeature
from rslearn.utils.geometry import STGeometry
import shapely

from ..numbers import WIDTH


class Halves(PartitionInterface):
    """A western and an eastern half of each feature."""

    def __init__(self, shares: list[float], **kwargs):
        super().__init__(**kwargs)
        self.shares = shares

    def partition_request_geometry(self, request_extents):
        partitions = []
        for feature in request_extents.features:
            west, south, east, north = shapely.geometry.shape(feature.geometry).bounds
            for start, end in zip([0, *self.shares], [*self.shares, 1]):
                left, right = west + start * (east - west), west + end * (east - west)
                ring = [(left, south), (right, south), (right, north), (left, north), (left, south)]
                part = PredictionRequestFeature(
                    type="Feature",
                    geometry=Polygon(type="Polygon", coordinates=[ring]),
                    properties=feature.properties.model_copy(update={"half": start}),
                )
                partitions.append(PredictionRequestCollection(type="FeatureCollection", features=[part]))
        return partitions


class Blocks(PartitionInterface):
    """Square windows of a fixed width that cover each feature."""

    def prepare_window_geometries(self, request_extents):
        windows = []
        for feature in request_extents.features:
            geometry = self._update_projection(STGeometryConverter.from_prediction_request_feature(feature))
            x0, y0, x1, y1 = (int(edge // WIDTH) for edge in geometry.shp.bounds)
            for x in range(x0, x1 + 1):
                for y in range(y0, y1 + 1):
                    box = shapely.box(x * WIDTH, y * WIDTH, (x + 1) * WIDTH, (y + 1) * WIDTH)
                    windows.append((feature, STGeometry(geometry.projection, box, geometry.time_range)))
        return windows
'''

LABELS = '''
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import shapely
from pydantic import BaseModel, Field
from rslearn.utils.geometry import STGeometry
from olmoearth_run.runner.models.training.labeled_data import (
    AnnotationTask, LabeledWindow, RasterLabel, TrainingWindowLabelsTypes)
from olmoearth_run.runner.tools.data_splitter.data_splitter_interface import DataSplitterInterface
from olmoearth_run.runner.tools.labeled_window_preparers.geometry_utils import (
    compute_window_bounds, create_raster_labels_from_annotations)
from olmoearth_run.runner.tools.labeled_window_preparers.labeled_window_preparer import RasterLabelsWindowPreparer
from olmoearth_run.runner.tools.samplers.sampler_interface import SamplerInterface
from olmoearth_run.shared.models.data_split_type import DataSplitType


class Filter(SamplerInterface, ABC):
    """Keeps some annotations of each task."""

    @abstractmethod
    def keep(self, annotation): ...

    def sample(self, annotation_tasks: list[AnnotationTask]) -> list[AnnotationTask]:
        kept = [
            task.model_copy(update={"annotations": [one for one in task.annotations if self.keep(one)]})
            for task in annotation_tasks
        ]
        return sorted(kept, key=lambda task: task.task_id)


class EveryOther(BaseModel, Filter):
    step: int = Field(default=2, description="Every which task is kept.")

    def keep(self, annotation):
        return annotation.labels["category"] is not None

    def sample(self, annotation_tasks):
        return super().sample(annotation_tasks)[:: self.step]


class Settings(BaseModel):
    dtype: str = "uint8"
    nodata: int = 255


class WholeTask(RasterLabelsWindowPreparer):
    """The task as one window."""

    def __init__(self, like, settings: Settings | None = None):
        super().__init__()
        self.like = like
        self.settings = settings or Settings()

    def prepare_labeled_windows(self, annotation_task: AnnotationTask) -> list[LabeledWindow[list[RasterLabel]]]:
        geometry = annotation_task.task_st_geometry.to_projection(self.like)
        bounds = compute_window_bounds(geometry)
        annotation_task.annotations = [one for one in annotation_task.annotations if one.labels]
        labels = create_raster_labels_from_annotations(
            annotation_task.annotations, bounds, self.like.x_resolution, self.like.crs,
            np.dtype(self.settings.dtype), self.settings.nodata)
        return [
            LabeledWindow(
                name=f"whole_{annotation_task.task_id}",
                st_geometry=STGeometry(self.like, shapely.box(*bounds.as_tuple()), geometry.time_range),
                labels=labels,
            )
        ]


@dataclass
class ByRow(DataSplitterInterface):
    height: int = 32

    def choose_split_for_window(self, labeled_window: LabeledWindow) -> DataSplitType:
        row = labeled_window.bounds[1] // self.height % 4
        return [DataSplitType.TRAIN, DataSplitType.VAL, DataSplitType.TRAIN, DataSplitType.TEST][row]
'''

POSTPROCESSORS = '''
import shutil
from pathlib import Path

import rasterio
from olmoearth_run.runner.tools.postprocessors.postprocess_inferface import PostprocessInterface
from olmoearth_run.runner.tools.postprocessors.postprocess_interface import (
    PostprocessInterfaceRaster, PostprocessInterfaceVector)
from olmoearth_shared.api.run.prediction_geometry import PredictionResultCollection

# Beside the project: read when the module is imported, as lookup tables are.
NAMES = dict(line.split(",") for line in Path(__file__).with_name("names.csv").read_text().splitlines())


class PlusTen(PostprocessInterfaceRaster):
    def process_window(self, window_request, window_result_path):
        import own_pkg.numbers  # late, as people do with what is slow to import

        with rasterio.open(window_result_path.path, "r+") as tif:  # a UPath, as theirs are
            values = tif.read(1)
            values[values != 255] += own_pkg.numbers.TEN
            tif.write(values, 1)


class KeepFiles(PostprocessInterface):
    """Copies its inputs under other names."""

    def process_partition(self, partition_window_results, output_dir):
        return [Path(shutil.copy(path, output_dir / f"part_{n}.tif"))
                for n, path in enumerate(partition_window_results)]

    def process_dataset(self, all_partitions_result_paths, output_dir):
        return [Path(shutil.copy(path, output_dir / f"{path.parent.parent.name}_{path.name}"))
                for path in all_partitions_result_paths]


class Named(PostprocessInterfaceVector):
    def process_window(self, window_request, window_result):
        for feature in window_result.features:
            feature.properties.name = NAMES[str(feature.properties.category)]
            feature.properties.client = window_request.properties.client
        return window_result

    def process_partition(self, partition_window_results):
        features = [feature for collection in partition_window_results for feature in collection.features]
        return PredictionResultCollection(type="FeatureCollection", features=features)

    process_dataset = process_partition
'''

MODEL = """
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback
from rslearn.train.tasks.segmentation import SegmentationMetric, SegmentationTask
from rslearn.train.transforms.transform import Transform

from own_pkg.numbers import TEN


class OwnTask(SegmentationTask):
    def process_inputs(self, raw_inputs, metadata, load_targets=True):
        import own_pkg.late  # in the process that reads

        return super().process_inputs(raw_inputs, metadata=metadata, load_targets=load_targets)

    def get_metrics(self):
        metrics = super().get_metrics()
        metrics.add_metrics({"own": SegmentationMetric(OwnMetric(num_classes=3, average="micro"))})
        return metrics


class OwnMetric(torchmetrics.classification.MulticlassAccuracy):
    pass


class OwnTransform(Transform):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, input_dict, target_dict):
        input_dict["image"].image = input_dict["image"].image * (self.by / TEN)
        return input_dict, target_dict


class OwnActivation(torch.nn.Module):
    def forward(self, values):
        return torch.nn.functional.softplus(values)


class OwnCallback(Callback):
    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        with open(self.path, "a") as file:
            file.write("epoch\\n")
"""

SOURCE = '''
import os

from rslearn.data_sources.local_files import LocalFiles

from own_pkg.numbers import TEN


class OwnSource(LocalFiles):
    """Local files; notes in which process it was made."""

    def __init__(self, note: str, **kwargs) -> None:
        super().__init__(**kwargs)
        with open(note, "a") as file:
            file.write(f"{os.getpid()} {TEN}\\n")
'''


def write_modules(folder: Path) -> None:
    """Writes everything into a folder: a package without ``__init__.py`` and two modules."""
    package = folder / "own_pkg"
    (package / "roles").mkdir(parents=True)
    for name, text in {"partitioners": PARTITIONERS, "labels": LABELS, "postprocessors": POSTPROCESSORS}.items():
        (package / "roles" / f"{name}.py").write_text(text)
    (package / "roles" / "names.csv").write_text("0,water\n1,forest\n2,field\n")
    (package / "numbers.py").write_text("WIDTH = 32\nTEN = 10\n")
    (package / "late.py").write_text("")
    (folder / "own_model.py").write_text(MODEL)
    (folder / "own_source.py").write_text(SOURCE)
