"""The section ``data``: which imagery, when, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from olmoearth_nb.config.single_file.part import Part

__all__ = [
    "ClassField",
    "ClassValue",
    "Data",
    "Framed",
    "Modalities",
    "Modality",
    "Observation",
    "Output",
    "OutputField",
    "Period",
    "PointInTime",
    "RangeField",
    "RepeatingInterval",
    "Sampled",
    "Temporality",
]

_Days: TypeAlias = Annotated[int, Field(ge=1)]
_Channel: TypeAlias = Annotated[int, Field(ge=0, le=255)]


class Sampled(Part):
    """Some images out of a time range."""

    name: Literal["sampled"]
    duration_days: _Days
    num_samples: int = Field(ge=1)


class RepeatingInterval(Part):
    """One image, or mosaic, out of each of some periods; ``recovery_periods`` may take the place of empty ones."""

    name: Literal["repeating_interval"]
    num_periods: int = Field(ge=1)
    period_duration_days: _Days
    recovery_periods: int = Field(default=0, ge=0)


Observation: TypeAlias = Annotated[Sampled | RepeatingInterval, Field(discriminator="name")]

Month: TypeAlias = Literal[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


class Period(Part):
    """Imagery from the start of the request's time range on."""

    name: Literal["period"]
    observation: Observation
    allowed_start_month_constraints: list[Month] | None = None


class PointInTime(Part):
    """One image from a time range in whose middle the start of the request lies."""

    name: Literal["point_in_time"]
    observation_window_seconds: int = Field(ge=1)


class Apart(Part):
    """An observation with a gap between it and the start of the request."""

    offset_days: int = Field(default=0, ge=0)
    observation: Observation


class Framed(Part):
    """Imagery from before and after the start of the request; the newer form has lists."""

    name: Literal["framed_point_in_time"]
    lookbehind_observation: Observation | None = None
    lookbehind_offset_days: int | None = Field(default=None, ge=0)
    lookahead_observation: Observation | None = None
    lookahead_offset_days: int | None = Field(default=None, ge=0)
    lookbehind_observations: list[Apart] = Field(default_factory=list)
    lookahead_observations: list[Apart] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> Framed:
        for side in ("lookbehind", "lookahead"):
            one, several = getattr(self, f"{side}_observation"), getattr(self, f"{side}_observations")
            if one and several:
                raise ValueError(f"It has both {side}_observation and {side}_observations: keep one")
            if getattr(self, f"{side}_offset_days") is not None and one is None:
                raise ValueError(f"{side}_offset_days needs {side}_observation")
        if not any((self.lookbehind_observation, self.lookahead_observation, *self.all_observations)):
            raise ValueError("It has neither lookbehind_observation nor lookahead_observation")
        return self

    @property
    def all_observations(self) -> list[Apart]:
        """Those of the lists."""
        return [*self.lookbehind_observations, *self.lookahead_observations]


Temporality: TypeAlias = Annotated[Period | PointInTime | Framed, Field(discriminator="name")]


class Modality(Part):
    """Images of a sensor."""

    space_mode: Literal["mosaic", "contains"]


class Optical(Modality):
    """Sentinel-2 or Landsat."""

    sort_by: Literal["cloud_cover"] = "cloud_cover"


class Radar(Modality):
    """Sentinel-1."""

    orbit_direction: Literal["ascending_orbit", "descending_orbit"] = "ascending_orbit"


class Modalities(Part):
    """The sensors, at least one."""

    sentinel2_l2a: Optical | None = None
    sentinel1_rtc: Radar | None = None
    landsat: Optical | None = None

    @model_validator(mode="after")
    def _something(self) -> Modalities:
        if not self.given:
            raise ValueError(f"No modality is given; there are {', '.join(type(self).model_fields)}")
        return self

    @property
    def given(self) -> dict[str, Modality]:
        """The modalities that are asked for, by key."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in found.items() if value is not None}


class ClassValue(Part):
    """A class."""

    value: int = Field(ge=0)
    label: str
    color: tuple[_Channel, _Channel, _Channel] | tuple[_Channel, _Channel, _Channel, _Channel]


class ClassField(Part):
    """Classes: of pixels (segmentation) or of windows (classification)."""

    field_type: Literal["segmentation", "classification"]
    name: str | None = None
    allowed_values: list[ClassValue] = Field(min_length=1)
    nodata_value: int | None = None


class RangeField(Part):
    """Measurements, of pixels or of windows."""

    field_type: Literal["regression"]
    name: str | None = None
    min_value: float = Field(allow_inf_nan=False)
    max_value: float = Field(allow_inf_nan=False)
    colormap_name: str = "viridis"
    nodata_value: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> RangeField:
        if not self.min_value < self.max_value:
            raise ValueError(f"The min_value ({self.min_value:g}) is not below max_value ({self.max_value:g})")
        return self


OutputField: TypeAlias = Annotated[ClassField | RangeField, Field(discriminator="field_type")]


def _by_name(value: Any) -> Any:
    """Fields by name; the newer form is a list of fields that have theirs inside."""
    if not isinstance(value, list):
        return value
    found: dict[str, Any] = {}
    for one in value:
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(name, str) or name in found:
            raise ValueError("A list of fields has a name of its own for each of them")
        found[name] = one
    return found


class Output(Part):
    """What the model gives, by name."""

    data_type: Literal["raster", "vector"]
    fields: Annotated[dict[str, OutputField], BeforeValidator(_by_name)] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_one_kind(self) -> Output:
        wrong = {"raster": "classification", "vector": "segmentation"}[self.data_type]
        for name, one in self.fields.items():
            if one.field_type == wrong:
                raise ValueError(f"The field {name} is a {wrong}, which the data_type {self.data_type} does not have")
        if self.data_type == "vector" and len(self.fields) > 1:
            raise ValueError("Vector results have one field here")
        return self

    @property
    def is_raster(self) -> bool:
        """Whether results are rasters."""
        return self.data_type == "raster"


class Data(Part):
    """The section."""

    temporality: Temporality
    modalities: Modalities
    output: Output | None = None
