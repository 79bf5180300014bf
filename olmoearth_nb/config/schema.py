"""``olmoearth_run.yaml`` as pydantic models.

Every section is optional, because a section is needed only by the steps that use it. Keys that nobody knows are
kept and listed, not refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from olmoearth_nb.colors import RGB, ClassValue
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.files import is_folder_name
from olmoearth_nb.legend import ClassEntry, ClassLegend, DetectionLegend, Legend, RangeLegend

__all__ = [
    "RUN_CONFIG_NAME",
    "AllowedValue",
    "ClassificationField",
    "DataType",
    "DetectionObject",
    "InferenceResultsConfig",
    "ObjectSpec",
    "PartitionStrategies",
    "PostprocessingStrategies",
    "RegressionField",
    "Section",
    "WindowPrep",
]

RUN_CONFIG_NAME = "olmoearth_run.yaml"

DataType: TypeAlias = Literal["RASTER", "VECTOR"]


@dataclass(frozen=True)
class ObjectSpec:
    """An object as a configuration describes it, not made yet.

    Attributes:
        raw: The mapping: ``class_path`` and ``init_args``, or ``_module_``, ``_callable_`` and arguments.
        path: Where it stands, e.g. ``partition_strategies.prepare_window_geometries``.
        file: File that it stands in.

    Example:
        >>> ObjectSpec({"class_path": "GridPartitioner", "init_args": None}, "p").arguments
        {}
    """

    raw: Mapping[str, Any]
    path: str
    file: str = RUN_CONFIG_NAME

    @property
    def is_callable(self) -> bool:
        """Whether it is given as ``_module_`` and ``_callable_``."""
        return "_module_" in self.raw or "_callable_" in self.raw

    @property
    def target(self) -> str:
        """Dotted name of the class or callable."""
        if self.is_callable:
            return f"{self.raw.get('_module_', '')}.{self.raw.get('_callable_', '')}"
        return str(self.raw.get("class_path", ""))

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments as written; an empty ``init_args:`` means none."""
        if self.is_callable:
            return {key: value for key, value in self.raw.items() if key not in ("_module_", "_callable_")}
        arguments = self.raw.get("init_args")
        return dict(arguments) if isinstance(arguments, Mapping) else {}

    @property
    def arguments_path(self) -> str:
        """Where the arguments stand."""
        return self.path if self.is_callable else join(self.path, "init_args")

    @property
    def extra_keys(self) -> tuple[str, ...]:
        """Keys beside ``class_path`` and ``init_args``."""
        if self.is_callable:
            return ()
        return tuple(str(key) for key in self.raw if key not in ("class_path", "init_args"))

    @staticmethod
    def is_spec(value: object) -> bool:
        """Whether a value of a configuration describes an object.

        Args:
            value: Anything.
        """
        return isinstance(value, Mapping) and ("class_path" in value or {"_module_", "_callable_"} <= value.keys())


_NO_OBJECT = "It describes no object: give it a class_path, and init_args where it takes arguments"


def _to_optional_spec(value: object, info: ValidationInfo) -> ObjectSpec | None:
    path = join((info.context or {}).get("section", ""), info.field_name)
    match value:
        case None | ObjectSpec():
            return value
        case str():
            return ObjectSpec({"class_path": value}, path)
        case Mapping() if ObjectSpec.is_spec(value):
            return ObjectSpec(value, path)
        case _:
            raise ValueError(_NO_OBJECT)


def _to_spec(value: object, info: ValidationInfo) -> ObjectSpec:
    spec = _to_optional_spec(value, info)
    if spec is None:
        raise ValueError(_NO_OBJECT)
    return spec


Spec: TypeAlias = Annotated[ObjectSpec, BeforeValidator(_to_spec)]
OptionalSpec: TypeAlias = Annotated[ObjectSpec | None, BeforeValidator(_to_optional_spec)]


class Section(BaseModel):
    """Base of the sections: frozen, unknown keys kept."""

    model_config = ConfigDict(extra="allow", frozen=True, arbitrary_types_allowed=True)

    def unknown_keys(self, path: str = "") -> Iterator[str]:
        """Paths of the keys that the schema does not know.

        Args:
            path: Path of this section.
        """
        for key in self.model_extra or {}:
            yield join(path, key)
        for name in type(self).model_fields:
            value = getattr(self, name)
            for index, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
                where = join(path, name) if index is None else join(join(path, name), index)
                if isinstance(item, Section):
                    yield from item.unknown_keys(where)
                if isinstance(item, ObjectSpec):
                    yield from (join(where, key) for key in item.extra_keys)


class PartitionStrategies(Section):
    """How a request becomes partitions, and a partition windows."""

    partition_request_geometry: Spec
    prepare_window_geometries: Spec


class PostprocessingStrategies(Section):
    """What happens to results of a window, of a partition and of the whole request."""

    process_window: Spec
    process_partition: Spec
    process_dataset: Spec


def _folder_name(value: str) -> str:
    if not is_folder_name(value):
        raise ValueError(f"A window group is a folder, and none can be called {value!r}")
    return value


def _option_name(value: str) -> str:
    if value in ("", "source_task_id"):
        raise ValueError(f"The split can't be kept under {value!r} in the options of a window")
    return value


class WindowPrep(Section):
    """How annotations become labelled windows.

    Attributes:
        sampler: Chooses among the tasks; all are kept without it.
        labeled_window_preparer: Makes the windows of a task.
        data_splitter: Assigns train, val or test.
        label_layer: Layer of ``dataset.json`` that gets the labels.
        group_name: rslearn window group.
        split_property: Key of the split in the window's options.
    """

    sampler: OptionalSpec = None
    labeled_window_preparer: Spec
    data_splitter: Spec
    label_layer: str
    group_name: Annotated[str, AfterValidator(_folder_name)] = "default"
    split_property: Annotated[str, AfterValidator(_option_name)] = "split"

    @property
    def label_property(self) -> str | None:
        """Name for the value of ``es_label`` in older annotation files; not a key of the current schema."""
        value = (self.model_extra or {}).get("label_property")
        return value if isinstance(value, str) else None


def _class_value(value: object) -> ClassValue:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"A class value is a whole number or a text, not {value!r}; put text in quotes")
    return value


def _color(value: object) -> RGB:
    channels = list(value) if isinstance(value, list | tuple) else []
    whole = all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= 255 for c in channels)
    if len(channels) not in (3, 4) or not whole:
        raise ValueError(f"A color is [red, green, blue] or [red, green, blue, alpha], each 0..255, not {value!r}")
    red, green, blue = channels[:3]
    return red, green, blue


class AllowedValue(Section):
    """One class."""

    value: Annotated[int | str, BeforeValidator(_class_value)]
    label: str
    color: Annotated[tuple[int, int, int], BeforeValidator(_color)]


class ClassificationField(Section):
    """A band or property with classes; band indices count from 1."""

    property_name: str
    band_index: int | None = None
    confidence_property_name: str | None = None
    confidence_band_index: int | None = None
    allowed_values: list[AllowedValue]


class RegressionField(Section):
    """A band or property with measurements; band indices count from 1."""

    property_name: str
    band_index: int | None = None
    min_value: float = Field(allow_inf_nan=False)
    max_value: float = Field(allow_inf_nan=False)
    colormap_name: str = "viridis"

    @model_validator(mode="after")
    def _ordered(self) -> RegressionField:
        if not self.min_value < self.max_value:
            raise ValueError(f"The min_value ({self.min_value:g}) is not below max_value ({self.max_value:g})")
        return self


class DetectionObject(Section):
    """An object that the model detects."""

    detected_object_name: str
    confidence_property_name: str | None = None
    confidence_band_index: int | None = None


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _none_means_none(value: object) -> object:
    return [] if value is None else value


class InferenceResultsConfig(Section):
    """Kind of the results and what their values mean; ``data_type`` in any case."""

    data_type: Annotated[DataType, BeforeValidator(_upper)]
    classification_fields: Annotated[list[ClassificationField], BeforeValidator(_none_means_none)] = []
    regression_fields: Annotated[list[RegressionField], BeforeValidator(_none_means_none)] = []
    detection_objects: Annotated[list[DetectionObject], BeforeValidator(_none_means_none)] = []

    def legend(self) -> Legend:
        """The same as a legend."""
        return Legend(
            self.data_type,
            classes=tuple(
                ClassLegend(
                    one.property_name,
                    one.band_index,
                    tuple(ClassEntry(entry.value, entry.label, entry.color) for entry in one.allowed_values),
                    one.confidence_property_name,
                    one.confidence_band_index,
                )
                for one in self.classification_fields
            ),
            ranges=tuple(
                RangeLegend(one.property_name, one.band_index, one.min_value, one.max_value, one.colormap_name)
                for one in self.regression_fields
            ),
            detections=tuple(
                DetectionLegend(one.detected_object_name, one.confidence_property_name, one.confidence_band_index)
                for one in self.detection_objects
            ),
        )
