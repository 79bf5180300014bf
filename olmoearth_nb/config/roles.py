"""What an object is configured for, and whether a class can do it; nothing is constructed here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from olmoearth_nb.config.schema import DataType, ObjectSpec
from olmoearth_nb.config.signatures import return_type

__all__ = ["Role", "labels_kind", "role_for"]

_INTERFACE_MODULES = ("olmoearth_nb.protocols", "olmoearth_nb.config.legacy")
_LEGACY_INTERFACE_ENDINGS = ("_interface", "labeled_window_preparer")


@dataclass(frozen=True)
class Role:
    """What an object is configured for.

    Attributes:
        noun: What it is to people.
        method: The method that will be called.
        builtin: Classes of this package for it.
        data_type: Kind of results it works on, for postprocessors.
    """

    noun: str
    method: str
    builtin: tuple[str, ...]
    data_type: DataType | None = None

    def refusal(self, target: type) -> str | None:
        """Why a class can't have this role, or None if it can.

        Args:
            target: The class.
        """
        unsupported = getattr(target, "unsupported", None)
        if isinstance(unsupported, Mapping) and self.method in unsupported:
            reason = str(unsupported[self.method]).rstrip(".")
            return f"{target.__name__} can't be the {self.noun}: {reason}."
        if not _defines(target, self.method):
            return f"{target.__name__} can't be the {self.noun}: it does not define {self.method}()."
        kind = _kind_of(target) if self.data_type else None
        if kind is not None and kind != self.data_type:
            return f"{target.__name__} works on {kind} results, and data_type is {self.data_type}."
        return None

    @property
    def expected(self) -> str:
        """What would be right."""
        return f"one of {', '.join(self.builtin)}, or a class of your own with {self.method}()"


_PARTITIONERS = {
    "partition_strategies.partition_request_geometry": Role(
        "partitioner of requests",
        "partition_request_geometry",
        ("NoopPartitioner", "GridPartitioner", "ChunkPartitioner"),
    ),
    "partition_strategies.prepare_window_geometries": Role(
        "partitioner for windows",
        "prepare_window_geometries",
        ("GridPartitioner", "FixedWindowPartitioner", "ChunkPartitioner", "ReprojectionPartitioner"),
    ),
}
_PREPARERS = {
    "window_prep.sampler": Role("sampler", "sample", ("NoopSampler", "ChooseNSampler")),
    "window_prep.labeled_window_preparer": Role(
        "window preparer",
        "prepare_labeled_windows",
        ("PointToPixelWindowPreparer", "PointToRasterWindowPreparer", "PolygonToRasterWindowPreparer"),
    ),
    "window_prep.data_splitter": Role(
        "data splitter", "choose_split_for_window", ("RandomDataSplitter", "SpatialDataSplitter")
    ),
}
_POSTPROCESSORS: Mapping[DataType, tuple[str, ...]] = {
    "RASTER": ("NoopRaster", "CombineGeotiff"),
    "VECTOR": ("CombineGeojson", "CombineAndDeduplicateGeojson", "SimplifyPolygons"),
}


def role_for(spec: ObjectSpec, data_type: DataType | None = None) -> Role | None:
    """The role of an object, by where it stands; None for anything nested or unknown.

    Args:
        spec: The object.
        data_type: Kind of the project's results, for postprocessors; None if it is not known.

    Example:
        >>> role_for(ObjectSpec({}, "window_prep.sampler")).method
        'sample'
    """
    section, _, name = spec.path.partition(".")
    if section == "postprocessing_strategies" and name in ("process_window", "process_partition", "process_dataset"):
        builtin = _POSTPROCESSORS[data_type] if data_type else sum(_POSTPROCESSORS.values(), ())
        return Role(f"postprocessor of {name.removeprefix('process_')} results", name, builtin, data_type)
    return (_PARTITIONERS | _PREPARERS).get(spec.path)


def labels_kind(target: object) -> Literal["raster", "vector"] | None:
    """Whether a window preparer makes rasters or features; None if it does not show.

    Args:
        target: Class of the preparer.
    """
    bases = {base.__name__ for base in getattr(target, "__mro__", ())}
    made = str(return_type(getattr(target, "prepare_labeled_windows", None)))
    raster = "RasterLabelsWindowPreparer" in bases or "RasterLabel" in made
    vector = "VectorLabelsWindowPreparer" in bases or "LabeledSTGeometry" in made
    if raster == vector:
        return None
    return "raster" if raster else "vector"


def _defines(target: type, method: str) -> bool:
    """Whether a class has a method of its own, rather than the one of an interface that only raises."""
    found = getattr(target, method, None)
    if not callable(found) or getattr(found, "__isabstractmethod__", False):
        return False
    module = str(getattr(found, "__module__", ""))
    legacy = module.startswith("olmoearth_run.") and module.endswith(_LEGACY_INTERFACE_ENDINGS)
    return module not in _INTERFACE_MODULES and not legacy


def _kind_of(target: type) -> DataType | None:
    """Whether a postprocessor is for rasters or for features; None if it does not show."""
    bases = {base.__name__ for base in target.__mro__}
    if "PostprocessInterfaceRaster" in bases:
        return "RASTER"
    if "PostprocessInterfaceVector" in bases:
        return "VECTOR"
    for method in ("process_partition", "process_dataset"):
        if _defines(target, method):
            # Those for rasters take an output folder as well.
            return "RASTER" if _number_of_arguments(target, method) >= 2 else "VECTOR"
    return None


def _number_of_arguments(target: type, method: str) -> int:
    static = isinstance(inspect.getattr_static(target, method), staticmethod | classmethod)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(getattr(target, method)).parameters.values()
    return sum(parameter.kind in kinds for parameter in parameters) - (0 if static else 1)
