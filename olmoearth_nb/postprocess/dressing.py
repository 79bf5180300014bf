"""What makes a combined raster readable elsewhere: colours and names of its classes, and one file for several."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from olmoearth_nb.files import write_text
from olmoearth_nb.legend import Legend
from olmoearth_nb.postprocess.geotiffs import RGBA

__all__ = ["colors_of", "mixes", "write_category_names", "write_mosaic"]

_MOST_COLORS = 256


def colors_of(legend: Legend | None, *, dtype: np.dtype[np.generic], count: int, nodata: float) -> dict[int, RGBA]:
    """Colour table of a raster; empty where none fits: a table is for one band of bytes.

    Args:
        legend: What the values mean.
        dtype: Their type.
        count: Number of bands.
        nodata: Value of pixels without data, which are transparent unless it is a class too.
    """
    classes = legend.classes_of_band(1) if legend is not None else None
    if classes is None or count != 1 or dtype != np.uint8:
        return {}
    colors = {value: color for value, color in classes.colormap().items() if 0 <= value < _MOST_COLORS}
    return {int(nodata): (0, 0, 0, 0)} | colors if colors else {}


def mixes(legend: Legend | None) -> bool | None:
    """Whether the mean of two values of the first band means something; None if the legend does not say.

    Args:
        legend: What the values mean.
    """
    if legend is None:
        return None
    if legend.classes_of_band(1) is not None:
        return False
    return True if legend.range_of_band(1) is not None else None


def write_category_names(path: Path, legend: Legend) -> None:
    """Names of the classes, where GDAL and QGIS look for them: ``<name>.aux.xml``.

    Args:
        path: A GeoTIFF with a colour table.
        legend: What its values mean.
    """
    classes = legend.classes_of_band(1)
    if classes is None:
        return
    names = {value: classes.label_of(value) for value in classes.colormap() if 0 <= value < _MOST_COLORS}
    root = ET.Element("PAMDataset")
    categories = ET.SubElement(ET.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for value in range(max(names, default=-1) + 1):
        ET.SubElement(categories, "Category").text = names.get(value, "")
    write_text(path.with_name(f"{path.name}.aux.xml"), _text(root))


def write_mosaic(paths: Sequence[Path], target: Path) -> None:
    """A VRT that shows several GeoTIFFs of one grid as one; names are relative, so that the folder can be moved.

    Args:
        paths: Files of one CRS, resolution and type with internal masks, in the folder of the target.
        target: The VRT.
    """
    tiles = [_Tile.read(path) for path in paths]
    left, top = min(tile.left for tile in tiles), max(tile.top for tile in tiles)
    with rasterio.open(paths[0]) as first:
        xres, yres = first.transform.a, first.transform.e
        places = [(tile, round((tile.left - left) / xres), round((tile.top - top) / yres)) for tile in tiles]
        size = {
            "rasterXSize": str(max(x + tile.width for tile, x, _ in places)),
            "rasterYSize": str(max(y + tile.height for tile, _, y in places)),
        }
        root = ET.Element("VRTDataset", size)
        if first.crs is not None:
            ET.SubElement(root, "SRS").text = first.crs.to_wkt()
        ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, (left, xres, 0.0, top, 0.0, yres)))
        for number in range(1, first.count + 1):
            band = _band(root, first, number)
            for place in places:
                _source(band, str(number), *place)
    mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for place in places:
        _source(mask, "mask,1", *place)
    write_text(target, _text(root))


@dataclass(frozen=True)
class _Tile:
    """One file of a mosaic: its name, its upper left corner and its size in pixels."""

    name: str
    left: float
    top: float
    width: int
    height: int

    @classmethod
    def read(cls, path: Path) -> _Tile:
        with rasterio.open(path) as dataset:
            return cls(path.name, dataset.transform.c, dataset.transform.f, dataset.width, dataset.height)


def _band(root: ET.Element, first: DatasetReader, number: int) -> ET.Element:
    band = ET.SubElement(root, "VRTRasterBand", dataType=_gdal_type(first.dtypes[number - 1]), band=str(number))
    if first.descriptions[number - 1]:
        ET.SubElement(band, "Description").text = first.descriptions[number - 1]
    if first.nodatavals[number - 1] is not None:
        ET.SubElement(band, "NoDataValue").text = repr(first.nodatavals[number - 1])
    if first.colorinterp[number - 1] == ColorInterp.palette:
        ET.SubElement(band, "ColorInterp").text = "Palette"
        table = ET.SubElement(band, "ColorTable")
        for _, color in sorted(first.colormap(number).items()):
            ET.SubElement(table, "Entry", {f"c{index}": str(part) for index, part in enumerate(color, 1)})
    return band


def _gdal_type(dtype: str) -> str:
    return {"uint8": "Byte"}.get(dtype, dtype.capitalize().replace("Uint", "UInt"))


def _source(band: ET.Element, source_band: str, tile: _Tile, x: int, y: int) -> None:
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = tile.name
    ET.SubElement(source, "SourceBand").text = source_band
    size = {"xSize": str(tile.width), "ySize": str(tile.height)}
    ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ET.SubElement(source, "DstRect", {"xOff": str(x), "yOff": str(y), **size})


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
