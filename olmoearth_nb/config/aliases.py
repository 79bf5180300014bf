"""Names of OlmoEarth Run: in configurations, and in the imports of custom components.

A configuration that names ``olmoearth_run.runner.tools.partitioners.grid_partitioner.GridPartitioner`` means this
package's ``GridPartitioner``, and a custom class may go on importing the interfaces from where
``olmoearth-runner`` has them. Targets are dotted names, imported when somebody asks for them.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

__all__ = ["COMPONENTS", "alias_target", "install_aliases", "is_legacy_name"]

# The last two are those of its first year, in which it was called Earth System Runner.
_PREFIXES = ("olmoearth_run.runner.tools.", "olmoearth_run.tools.", "esrun.runner.tools.", "esrun.tools.")

COMPONENTS: Mapping[str, str] = {
    "NoopPartitioner": "olmoearth_nb.partitioners.NoopPartitioner",
    "GridPartitioner": "olmoearth_nb.partitioners.GridPartitioner",
    "FixedWindowPartitioner": "olmoearth_nb.partitioners.FixedWindowPartitioner",
    "ChunkPartitioner": "olmoearth_nb.partitioners.ChunkPartitioner",
    "ReprojectionPartitioner": "olmoearth_nb.partitioners.ReprojectionPartitioner",
    "NoopSampler": "olmoearth_nb.labels.sampling.NoopSampler",
    "ChooseNSampler": "olmoearth_nb.labels.sampling.ChooseNSampler",
    "PointToPixelWindowPreparer": "olmoearth_nb.labels.points.PointToPixelWindowPreparer",
    "PointToRasterWindowPreparer": "olmoearth_nb.labels.points.PointToRasterWindowPreparer",
    "PolygonToRasterWindowPreparer": "olmoearth_nb.labels.polygons.PolygonToRasterWindowPreparer",
    "RandomDataSplitter": "olmoearth_nb.labels.splitting.RandomDataSplitter",
    "SpatialDataSplitter": "olmoearth_nb.labels.splitting.SpatialDataSplitter",
    "NoopRaster": "olmoearth_nb.postprocess.raster.NoopRaster",
    "CombineGeotiff": "olmoearth_nb.postprocess.raster.CombineGeotiff",
    "CombineGeojson": "olmoearth_nb.postprocess.vector.CombineGeojson",
    "CombineAndDeduplicateGeojson": "olmoearth_nb.postprocess.vector.CombineAndDeduplicateGeojson",
    "SimplifyPolygons": "olmoearth_nb.postprocess.vector.SimplifyPolygons",
}
"""The components that a configuration may name, by class name -> dotted name."""

_POSTPROCESS_INTERFACE = {
    "PostprocessInterfaceRaster": "olmoearth_nb.protocols.PostprocessInterfaceRaster",
    "PostprocessInterfaceVector": "olmoearth_nb.protocols.PostprocessInterfaceVector",
    "PostprocessInterface": "olmoearth_nb.config.legacy.PostprocessInterface",
}
_SPLITTER_INTERFACE = {"DataSplitterInterface": "olmoearth_nb.protocols.DataSplitterInterface"}
_VALUE_TRANSFORM = {
    "LinearValueTransform": "olmoearth_nb.postprocess.value_transform.LinearValueTransform",
    "ValueTransform": "olmoearth_nb.postprocess.value_transform.LinearValueTransform",
}
_GRID_CONFIG = {
    "GridConfig": "olmoearth_nb.labels.polygons.GridConfig",
    "GriddingStrategy": "olmoearth_nb.labels.polygons.GriddingStrategy",
}
_GEOMETRY_UTILS = {
    name: f"olmoearth_nb.labels.guide.{name}"
    for name in (
        "BoxBounds",
        "InconsistentUtmZoneError",
        "compute_window_bounds",
        "create_raster_labels_from_annotations",
        "create_window_geometry_from_point",
        "get_utm_crs_for_geometry",
        "project_geometry_to_crs",
    )
}
_RASTERIZATION_UTILS = {
    name: f"olmoearth_nb.labels.guide.{name}"
    for name in ("DEFAULT_NODATA_VALUE", "rasterize_shapes_to_mask", "transform_geometries_to_pixel_coordinates")
}


def _components(*names: str) -> dict[str, str]:
    return {name: COMPONENTS[name] for name in names}


# Module below "olmoearth_run.runner.tools." -> the names it has. Misspellings are those of the guide.
_TOOLS: Mapping[str, Mapping[str, str]] = {
    "converters.st_geometry": {"STGeometryConverter": "olmoearth_nb.config.legacy.STGeometryConverter"},
    "data_splitter.data_splitter_interface": _SPLITTER_INTERFACE,
    "data_splitters.data_splitter_interface": _SPLITTER_INTERFACE,
    "data_splitters.random_data_splitter": _components("RandomDataSplitter"),
    "data_splitters.spatial_data_splitter": _components("SpatialDataSplitter"),
    "labeled_window_preparers.geometry_utils": _GEOMETRY_UTILS,
    "labeled_window_preparers.labeled_window_preparer": {
        "LabeledWindowPreparer": "olmoearth_nb.protocols.LabeledWindowPreparer",
        "RasterLabelsWindowPreparer": "olmoearth_nb.protocols.RasterLabelsWindowPreparer",
        "VectorLabelsWindowPreparer": "olmoearth_nb.protocols.VectorLabelsWindowPreparer",
    },
    "labeled_window_preparers.point_to_pixel_window_preparer": _components("PointToPixelWindowPreparer"),
    "labeled_window_preparers.point_to_raster_window_preparer": _components("PointToRasterWindowPreparer"),
    "labeled_window_preparers.polygon_to_raster_window_preparer": _components("PolygonToRasterWindowPreparer")
    | _GRID_CONFIG,
    "labeled_window_preparers.rasterization_utils": _RASTERIZATION_UTILS,
    "partitioners.chunk_partitioner": _components("ChunkPartitioner"),
    "partitioners.fixed_window_partitioner": _components("FixedWindowPartitioner"),
    "partitioners.grid_partitioner": _components("GridPartitioner"),
    "partitioners.noop_partitioner": _components("NoopPartitioner"),
    "partitioners.partition_interface": {"PartitionInterface": "olmoearth_nb.protocols.PartitionInterface"},
    "partitioners.reprojection_partitioner": _components("ReprojectionPartitioner"),
    "postprocessors.combine_and_deduplicate_geojson": _components("CombineAndDeduplicateGeojson"),
    "postprocessors.combine_geojson": _components("CombineGeojson"),
    "postprocessors.combine_geotiff": _components("CombineGeotiff") | _VALUE_TRANSFORM,
    "postprocessors.noop_raster": _components("NoopRaster"),
    "postprocessors.postprocess_inferface": _POSTPROCESS_INTERFACE,
    "postprocessors.postprocess_interface": _POSTPROCESS_INTERFACE,
    "postprocessors.simplify_polygons": _components("SimplifyPolygons"),
    "samplers.choose_n_sampler": _components("ChooseNSampler"),
    "samplers.noop_sampler": _components("NoopSampler"),
    "samplers.sampler_interface": {"SamplerInterface": "olmoearth_nb.protocols.SamplerInterface"},
}

_GEOJSON_NAMES = (
    "PredictionRequestCollection",
    "PredictionRequestFeature",
    "PredictionRequestProperties",
    "PredictionResultCollection",
    "PredictionResultFeature",
    "PredictionResultProperties",
)

_LABELED_DATA = {
    "AnnotationTask": "olmoearth_nb.types.AnnotationTask",
    "LabeledSTGeometry": "olmoearth_nb.types.LabeledSTGeometry",
    "LabeledWindow": "olmoearth_nb.types.LabeledWindow",
    "RasterLabel": "olmoearth_nb.types.RasterLabel",
    "TrainingWindowLabels": "olmoearth_nb.types.LabelT",
    "TrainingWindowLabelsTypes": "olmoearth_nb.config.legacy.TrainingWindowLabelsTypes",
}
_PREDICTION_GEOMETRY = {name: f"olmoearth_nb.geojson.{name}" for name in _GEOJSON_NAMES}

_MODULES: Mapping[str, Mapping[str, str]] = {
    **{prefix + module: names for prefix in _PREFIXES for module, names in _TOOLS.items()},
    "olmoearth_run.runner.local.fine_tune_runner": {
        "OlmoEarthRunFineTuneRunner": "olmoearth_nb.runners.finetune.OlmoEarthRunFineTuneRunner"
    },
    "olmoearth_run.runner.local.predict_runner": {
        "OlmoEarthRunPredictRunner": "olmoearth_nb.runners.predict.OlmoEarthRunPredictRunner"
    },
    **{
        f"{package}.{module}": names
        for package in ("olmoearth_run", "esrun")
        for module, names in {
            "runner.models.training.labeled_data": _LABELED_DATA,
            "shared.models.data_split_type": {"DataSplitType": "olmoearth_nb.types.DataSplitType"},
            "shared.models.prediction_geometry": _PREDICTION_GEOMETRY,
        }.items()
    },
    "olmoearth_shared.api.run.prediction_geometry": _PREDICTION_GEOMETRY,
    "olmoearth_shared.models.olmoearth_config.labeled_data_prep.window_preparers": {
        "GriddingStrategy": _GRID_CONFIG["GriddingStrategy"]
    },
}

_PACKAGES = frozenset(
    ".".join(parts[:length]) for parts in (module.split(".") for module in _MODULES) for length in range(1, len(parts))
)


def is_legacy_name(dotted: str) -> bool:
    """Whether a name belongs to OlmoEarth Run.

    Args:
        dotted: Dotted name of a class.
    """
    return dotted.partition(".")[0] in ("olmoearth_run", "olmoearth_shared", "esrun")


def alias_target(dotted: str) -> str | None:
    """This package's name for a name of OlmoEarth Run, or for a bare class name; None if there is none.

    Args:
        dotted: What a configuration says.

    Example:
        >>> alias_target("olmoearth_run.tools.partitioners.grid_partitioner.GridPartitioner")
        'olmoearth_nb.partitioners.GridPartitioner'
        >>> alias_target("NoopSampler")
        'olmoearth_nb.labels.sampling.NoopSampler'
    """
    module, _, name = dotted.rpartition(".")
    if name in COMPONENTS and (not module or dotted.startswith(_PREFIXES)):
        return COMPONENTS[name]
    return _MODULES.get(module, {}).get(name)


class _AliasFinder(MetaPathFinder, Loader):
    """Serves modules of OlmoEarth Run that nobody else has."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  the protocol has it
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The spec of an alias module or of a package above one; see :class:`importlib.abc.MetaPathFinder`."""
        if fullname in _MODULES or fullname in _PACKAGES:
            return spec_from_loader(
                fullname, self, origin="olmoearth_nb.config.aliases", is_package=fullname in _PACKAGES
            )
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its names, each imported when it is asked for."""
        names = _MODULES.get(module.__name__, {})
        module.__dict__["__all__"] = sorted(names)
        module.__dict__["__getattr__"] = functools.partial(_lookup, module.__name__)


def _lookup(module: str, name: str) -> object:
    target = _MODULES.get(module, {}).get(name)
    if target is None:
        raise AttributeError(f"module {module!r} (an alias of olmoearth_nb) has no attribute {name!r}")
    home, _, attribute = target.rpartition(".")
    return getattr(importlib.import_module(home), attribute)


def install_aliases() -> None:
    """Makes the import paths of OlmoEarth Run work for custom components; a second call does nothing.

    An installed ``olmoearth-runner`` is left alone: the finder is the last to be asked.
    """
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AliasFinder())
