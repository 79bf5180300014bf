"""Postprocessors of raster results (GeoTIFFs)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from rasterio.windows import Window

from olmoearth_nb.errors import PostprocessError, UnsupportedError
from olmoearth_nb.geojson import PredictionRequestFeature
from olmoearth_nb.legend import Legend
from olmoearth_nb.postprocess._arguments import check_argument, is_number
from olmoearth_nb.postprocess.blending import Blend, check_values, in_order
from olmoearth_nb.postprocess.dressing import colors_of, mixes, write_category_names, write_mosaic
from olmoearth_nb.postprocess.geotiffs import OpenRasters, Pixels, Valid, creating, fits, gdal_env
from olmoearth_nb.postprocess.grids import Cell, Grid, Source, cells_of, grids_of, read_source
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.postprocess.mosaic import Mosaic
from olmoearth_nb.postprocess.value_transform import LinearValueTransform, value_transform_from
from olmoearth_nb.types import TimeRange

__all__ = ["CombineGeotiff", "NoopRaster"]

Overlap: TypeAlias = Literal["first", "mean", "classes"]


class NoopRaster:
    """Leaves windows as they are, and combines nothing.

    A project that uses it for partitions or for the dataset gets no combined file there.

    Example:
        >>> NoopRaster().process_partition([Path("a.tif")], Path("out"))
        []
    """

    unsupported: ClassVar[dict[str, str]] = {}

    def process_window(self, window_request: PredictionRequestFeature, window_result_path: Path) -> None:
        """Leaves the file as it is.

        Args:
            window_request: The request feature that the window was made for.
            window_result_path: Its GeoTIFF.
        """

    def process_partition(self, paths: list[Path], output_dir: Path) -> list[Path]:  # noqa: ARG002
        """Writes nothing.

        Args:
            paths: GeoTIFFs of the windows.
            output_dir: Not touched.

        Returns:
            No files.
        """
        return []

    def process_dataset(self, paths: list[Path], output_dir: Path) -> list[Path]:  # noqa: ARG002
        """Writes nothing.

        Args:
            paths: GeoTIFFs of the partitions.
            output_dir: Not touched.

        Returns:
            No files.
        """
        return []


class CombineGeotiff:
    """Merges GeoTIFFs into files ``result_<crs>_<n>.tif``, one for each CRS and cell.

    Outputs are Cloud Optimized GeoTIFFs, written block by block, so memory does not grow with them. Where inputs
    overlap, the first one in the list that has data wins, or they are blended: a mean with weights that rise from
    the edge of each input to its middle, so that no seams stay. What an input says is no data (its mask or its nodata
    value; NaN) becomes ``nodata_value``; an input that says nothing has data everywhere. Since a class may have
    the same number as ``nodata_value``, each output has an internal mask too, by which a next stage tells them
    apart. Inputs of different types give outputs of the type that holds all of them. Inputs on different grids
    within a CRS are sampled (nearest neighbour) on that of the first one.

    Args:
        max_pixels_per_dimension: Inputs are distributed by their centres over square cells of this many
            pixels, counted from the lower left corner of all inputs of a CRS.
        nodata_value: Value of pixels without data, and the nodata value of the outputs.
        value_transform: Applied to data: a :class:`LinearValueTransform` or a mapping with ``scale``,
            ``offset`` and ``output_dtype``.
        overlap: Where inputs overlap: ``first``, the first one wins; ``mean``, probabilities or measurements are
            blended; ``classes``, probabilities are blended, and the output has the class of the greatest one (no data
            where that has the number of ``nodata_value`` and is not in the legend). The order of inputs does not
            matter then. Those of one time range are blended; of several, the latest wins. For the dataset, windows are
            blended instead of partitions, across the edges of those.

    Raises:
        ConfigError: If an argument can't be used.

    Example:
        >>> CombineGeotiff(nodata_value=255, value_transform={"scale": 100.0, "output_dtype": "uint8"}).nodata_value
        255
    """

    unsupported: ClassVar[dict[str, str]] = {
        "process_window": "it merges several files, and a window has one; use NoopRaster for windows",
    }

    def __init__(
        self,
        max_pixels_per_dimension: int = 10000,
        nodata_value: int | float = 0,
        value_transform: LinearValueTransform | Mapping[str, Any] | None = None,
        overlap: Overlap = "first",
    ) -> None:
        check_argument(
            isinstance(max_pixels_per_dimension, int)
            and not isinstance(max_pixels_per_dimension, bool)
            and max_pixels_per_dimension > 0,
            "CombineGeotiff.max_pixels_per_dimension",
            expected="a whole number of pixels above 0",
            found=max_pixels_per_dimension,
        )
        check_argument(
            is_number(nodata_value) or nodata_value != nodata_value,
            "CombineGeotiff.nodata_value",
            expected="a number",
            found=nodata_value,
        )
        self.max_pixels_per_dimension = max_pixels_per_dimension
        self.nodata_value = nodata_value
        self.value_transform = value_transform_from(value_transform)
        if self.value_transform and self.value_transform.output_dtype:
            dtype = self.value_transform.output_dtype
            check_argument(
                fits(nodata_value, dtype),
                "CombineGeotiff.nodata_value",
                expected=f"a value that value_transform.output_dtype {dtype} has",
                found=nodata_value,
            )
        _check_overlap(overlap, value_transform)
        self.overlap = overlap
        self._mask: Mask | None = None
        self._legend: Legend | None = None
        self._times: Mapping[str, TimeRange | None] = {}

    @property
    def from_windows(self) -> bool:
        """Whether ``process_dataset`` takes the GeoTIFFs of windows instead of those of partitions."""
        return self.overlap != "first"

    def set_mask(self, mask: Mask | None) -> None:
        """Sets outputs to nodata outside of a mask from now on.

        Args:
            mask: The mask; None for no mask.
        """
        self._mask = mask

    def set_legend(self, legend: Legend | None) -> None:
        """Gives outputs of bytes the colours and names of their classes from now on.

        Args:
            legend: What the values mean; None for no colours.
        """
        self._legend = legend

    def set_times(self, times: Mapping[str, TimeRange | None]) -> None:
        """Keeps inputs of different time ranges apart where inputs are blended, from now on.

        Args:
            times: Time range of inputs, by their paths.
        """
        self._times = times

    def process_window(self, window_request: PredictionRequestFeature, window_result_path: Path) -> None:  # noqa: ARG002
        """Not supported.

        Args:
            window_request: The request feature that the window was made for.
            window_result_path: Its GeoTIFF.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"CombineGeotiff can't process a window: {self.unsupported['process_window']}.",
            where=str(window_result_path),
        )

    def process_partition(self, paths: list[Path], output_dir: Path) -> list[Path]:
        """Merges the GeoTIFFs of the windows of a partition.

        Args:
            paths: Inputs, those that win first.
            output_dir: Where to; made if need be.

        Returns:
            The files written.

        Raises:
            PostprocessError: If an input can't be read or inputs don't fit together.
            StorageError: If an output can't be written.
        """
        return self._combine(paths, output_dir)

    def process_dataset(self, paths: list[Path], output_dir: Path) -> list[Path]:
        """Merges the GeoTIFFs of the partitions; ``result_<crs>.vrt`` shows several files of a CRS as one.

        Args:
            paths: Inputs, those that win first; the GeoTIFFs of windows if overlapping ones are blended.
            output_dir: Where to; made if need be.

        Returns:
            The files written.

        Raises:
            PostprocessError: If an input can't be read or inputs don't fit together.
            StorageError: If an output can't be written.
        """
        outputs = self._combine(paths, output_dir)
        for label, group in itertools.groupby(outputs, key=lambda path: path.stem.rpartition("_")[0]):
            if len(files := list(group)) > 1:
                write_mosaic(files, Path(output_dir) / f"{label}.vrt")
        return outputs

    def _combine(self, paths: Sequence[str | PathLike[str]], output_dir: str | PathLike[str]) -> list[Path]:
        if not paths:
            return []
        outputs = []
        with gdal_env(), OpenRasters() as rasters:
            sources = [read_source(Path(path), rasters) for path in paths]
            if self.overlap != "first":
                check_values(sources, classes=self.overlap == "classes")
                sources = in_order(sources, self._times)
            dtype = self._dtype(sources)
            self._check_nodata(dtype, sources[0].path)
            for grid in grids_of(sources):
                for number, cell in enumerate(cells_of(grid, self.max_pixels_per_dimension)):
                    target = Path(output_dir) / f"result_{grid.sources[0].label}_{number}.tif"
                    self._write(target, grid, cell, dtype, rasters)
                    outputs.append(target)
        return outputs

    def _dtype(self, sources: Sequence[Source]) -> np.dtype[Any]:
        """Type of the merged values, before any transform."""
        if self.overlap == "classes":
            return np.min_scalar_type(len(sources[0].descriptions) - 1)
        return np.result_type(*{source.dtype for source in sources})

    def _check_nodata(self, dtype: np.dtype[Any], path: Path) -> None:
        output = self.value_transform.dtype_for(dtype) if self.value_transform else dtype
        if not fits(self.nodata_value, output):
            raise PostprocessError(
                "The nodata value does not fit the data.",
                where=str(path),
                expected=f"a nodata_value that {output} has",
                found=repr(self.nodata_value),
                fix="Set nodata_value of CombineGeotiff, or value_transform.output_dtype.",
            )

    def _write(self, target: Path, grid: Grid, cell: Cell, dtype: np.dtype[Any], rasters: OpenRasters) -> None:
        x0, y0, x1, y1 = cell.bounds
        read = self._reader(grid, cell, rasters)
        first = grid.sources[cell.members[0]]
        descriptions = (None,) if self.overlap == "classes" else first.descriptions
        profile = {
            "count": len(descriptions),
            "dtype": self.value_transform.dtype_for(dtype) if self.value_transform else dtype,
            "crs": first.crs,
            "transform": grid.block_transform(x0, y0),
            "width": x1 - x0,
            "height": y1 - y0,
        }
        colors = colors_of(
            self._legend, dtype=np.dtype(profile["dtype"]), count=profile["count"], nodata=self.nodata_value
        )
        if colors and self._legend is not None:
            write_category_names(target, self._legend)
        mixed = {"mean": True, "classes": False}.get(self.overlap, mixes(self._legend))
        with creating(target, nodata=self.nodata_value, colors=colors, mixes=mixed, **profile) as output:
            output.descriptions = descriptions
            for block in cell.blocks():
                bx0, by0, bx1, by1 = block
                data, valid = read(block, dtype)
                if self.overlap == "classes" and self._nodata_is_no_class:
                    valid &= data != self.nodata_value
                if self._mask is not None and valid.any():
                    shape = (by1 - by0, bx1 - bx0)
                    valid &= self._mask.valid_pixels(grid.block_transform(bx0, by0), first.crs, shape, rasters=rasters)
                window = Window(bx0 - x0, by0 - y0, bx1 - bx0, by1 - by0)
                output.write(self._values(data, valid), window=window)
                output.write_mask(valid.any(axis=0), window=window)

    @property
    def _nodata_is_no_class(self) -> bool:
        """Whether a model's class of this number means nothing, as class 0 where training had 0 for no label."""
        classes = self._legend.classes_of_band(1) if self._legend is not None else None
        return classes is not None and classes.entry_of(self.nodata_value) is None

    def _reader(self, grid: Grid, cell: Cell, rasters: OpenRasters) -> Callable[..., tuple[Pixels, Valid]]:
        if self.overlap == "first":
            return Mosaic(grid, cell, rasters).read
        blend = Blend(grid, cell, rasters, times=self._times)
        return blend.read if self.overlap == "mean" else blend.read_classes

    def _values(self, data: Pixels, valid: Valid) -> Pixels:
        whole = bool(valid.all())
        data = data if whole else np.where(valid, data, 0)
        if self.value_transform:
            data = self.value_transform.apply(data)
        return data if whole else np.where(valid, data, np.asarray(self.nodata_value).astype(data.dtype))


def _check_overlap(overlap: object, value_transform: object) -> None:
    check_argument(
        overlap in get_args(Overlap),
        "CombineGeotiff.overlap",
        expected=f"one of {', '.join(get_args(Overlap))}",
        found=overlap,
    )
    check_argument(
        overlap != "classes" or value_transform is None,
        "CombineGeotiff.value_transform",
        expected="none where overlap is classes: a class is no measurement",
        found=value_transform,
    )
