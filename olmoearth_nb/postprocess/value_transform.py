"""Linear transforms of raster values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.postprocess._arguments import check_argument, is_number

__all__ = ["LinearValueTransform", "value_transform_from"]

_DTYPES = ("uint8", "int16", "int32", "float32")


@dataclass(frozen=True)
class LinearValueTransform:
    """``x * scale + offset``, clipped to a type.

    Attributes:
        type: ``linear``, the only one there is.
        scale: Factor.
        offset: Added after.
        output_dtype: Type of the result. Fractions are cut off for whole numbers. None: the type that the
            product has (float32 stays, whole numbers become float64).

    Example:
        >>> LinearValueTransform(scale=100.0, output_dtype="uint8").apply(np.array([0.25, 1.0, 9.0]))
        array([ 25, 100, 255], dtype=uint8)
    """

    type: Literal["linear"] = "linear"
    scale: float = 1.0
    offset: float = 0.0
    output_dtype: Literal["uint8", "int16", "int32", "float32"] | None = None

    def __post_init__(self) -> None:
        name = "CombineGeotiff.value_transform"
        check_argument(self.type == "linear", f"{name}.type", expected="'linear'", found=self.type)
        for key in ("scale", "offset"):
            value = getattr(self, key)
            check_argument(is_number(value), f"{name}.{key}", expected="a number", found=value)
        check_argument(
            self.output_dtype in (None, *_DTYPES),
            f"{name}.output_dtype",
            expected=f"one of {', '.join(_DTYPES)}",
            found=self.output_dtype,
        )

    def apply(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Transforms values.

        Args:
            data: Any shape.

        Returns:
            The same shape, of the output's type.
        """
        result = data * float(self.scale) + float(self.offset)
        if self.output_dtype is None:
            return np.asarray(result)
        dtype = np.dtype(self.output_dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            result = np.clip(result, limits.min, limits.max)
        return np.asarray(result.astype(dtype))

    def dtype_for(self, dtype: npt.DTypeLike) -> np.dtype[Any]:
        """Type of the result for values of a type.

        Args:
            dtype: Type of the input.
        """
        return self.apply(np.zeros(1, dtype=dtype)).dtype


def value_transform_from(given: object) -> LinearValueTransform | None:
    """The transform that an argument means.

    Args:
        given: A transform, a mapping with its arguments, or None for none.

    Raises:
        ConfigError: If it is neither.
    """
    match given:
        case None | LinearValueTransform():
            return given
        case Mapping():
            known = ("type", "scale", "offset", "output_dtype")
            unknown = [key for key in given if key not in known]
            check_argument(
                not unknown,
                "CombineGeotiff.value_transform",
                expected=f"a mapping with {', '.join(known)}",
                found=dict(given),
            )
            return LinearValueTransform(**given)
        case _:
            raise ConfigError(
                "The argument can't be used.",
                where="CombineGeotiff.value_transform",
                expected="a mapping with scale, offset and output_dtype",
                found=repr(given),
            )
