"""Local imagery as a data source of rslearn that needs no ingestion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasterio.enums import Resampling
from rslearn.config import LayerConfig, LayerType, QueryConfig
from rslearn.data_sources import DataSourceContext, Item
from rslearn.data_sources.direct_materialize_data_source import DirectMaterializeDataSource
from rslearn.data_sources.local_files import RasterImporter, RasterItem, RasterItemSpec
from rslearn.data_sources.utils import MatchedItemGroup
from rslearn.tile_stores import TileStoreWithLayer
from rslearn.utils.geometry import PixelBounds, Projection, STGeometry
from rslearn.utils.raster_array import RasterArray, RasterMetadata
from typing_extensions import override

from olmoearth_nb.errors import ConfigError, InputFileError, UsageError
from olmoearth_nb.sources.files import find_files, item_names, source_folder
from olmoearth_nb.sources.matching import ItemIndex
from olmoearth_nb.sources.raster_file import RasterFile, raster_file
from olmoearth_nb.sources.times import FileTimes

__all__ = ["LocalRasters"]

_NO_CONTEXT = DataSourceContext()


class LocalRasters(DirectMaterializeDataSource[RasterItem]):
    """Raster files of a local folder, read where they lie.

    It takes the arguments of rslearn's ``LocalFiles`` and gives the same arrays, but copies nothing into a tile store,
    writes nothing beside the files, and knows when they were taken. Where it differs: a footprint is where the pixels
    are, to the fraction of a pixel, also of rotated rasters; what a file's own mask hides is missing.

    Args:
        src_dir: The folder; in ``dataset.json`` relative to the project.
        pattern: Which of its files, such as ``*.tif``, or ``**/*.tif`` for subfolders too; None for all.
        bands: Names of the bands of each file, in their order. None: what the file calls them, and B1, B2, … if it
            does not or if these are the names that the layer asks for.
        time_pattern: Regular expression with a group ``date``, searched in file names.
        time_format: What the date looks like, for ``strptime``; see :class:`FileTimes`.
        times: Start and end by file name or glob; it goes before ``time_pattern``.
        raster_item_specs: Items of several files each, with their bands, as in ``LocalFiles``; ``pattern`` and
            ``bands`` are not used then. Its time is that of its first file.
        layer_type: For ``LocalFiles``' sake; only raster.
        context: Where the dataset lies, and the layer.

    Example:
        >>> source = LocalRasters("imagery", pattern="*.tif", bands=["red", "green", "blue"])
    """

    def __init__(
        self,
        src_dir: str,
        *,
        pattern: str | None = None,
        bands: list[str] | None = None,
        time_pattern: str | None = None,
        time_format: str = "%Y%m%d",
        times: dict[str, list[str]] | None = None,
        raster_item_specs: list[RasterItemSpec] | None = None,
        layer_type: LayerType | None = None,
        context: DataSourceContext = _NO_CONTEXT,
    ) -> None:
        super().__init__({})
        layer = context.layer_config
        if (layer.type if layer is not None else layer_type) == LayerType.VECTOR:
            raise ConfigError(
                "A vector layer can't come from rasters.",
                where="data_source",
                fix="Use olmoearth_nb.sources.LocalVectors.",
            )
        self.src_dir = source_folder(src_dir, context.ds_path)
        self.pattern = pattern
        self.bands = bands
        self.times = FileTimes(time_pattern, time_format, times)
        self.specs = raster_item_specs
        self._wanted = _wanted_bands(layer)
        self._index: ItemIndex[RasterItem] | None = None

    # ---- items -----------------------------------------------------------------------------------------------

    def list_items(self) -> list[RasterItem]:
        """All items that there are now, in order of their files' names, or as the configuration lists them.

        Raises:
            InputFileError: If there are none, or a file can't be read, has no CRS, or has other bands.
        """
        if self.specs is not None:
            return [self._item(spec, spec.name) for spec in self.specs]
        paths = find_files(self.src_dir, self.pattern)
        return [
            self._item(RasterItemSpec([path.relative_to(self.src_dir).as_posix()]), name)
            for path, name in zip(paths, item_names(self.src_dir, paths), strict=True)
        ]

    def _item(self, spec: RasterItemSpec, name: str | None) -> RasterItem:
        files = [raster_file(self.src_dir / fname) for fname in spec.fnames]
        bands = [
            self._bands_of(file, spec.bands[index] if spec.bands is not None else self.bands)
            for index, file in enumerate(files)
        ]
        first = files[0]
        shape = first.footprint
        time_range = self.times.of(first.path.name, path=spec.fnames[0])
        return RasterItem(
            name or first.path.name.split(".")[0],
            STGeometry(shape.projection, shape.shp, time_range),
            str(self.src_dir),
            RasterItemSpec(list(spec.fnames), bands, name),
        )

    def _bands_of(self, file: RasterFile, given: list[str] | None) -> list[str]:
        if given is not None:
            if len(given) != file.count:
                raise InputFileError(
                    "The file has another number of bands than dataset.json names.",
                    where=str(file.path),
                    expected=f"{len(given)}: {', '.join(given)}",
                    found=str(file.count),
                    fix="Correct bands, or raster_item_specs, of the data source.",
                )
            return given
        numbered = [f"B{index}" for index in range(1, file.count + 1)]
        named = [text for text in file.descriptions if text]
        if len(set(named)) < file.count or (self._wanted <= set(numbered) and not self._wanted <= set(named)):
            return numbered
        return named

    @override
    def get_items(
        self, geometries: list[STGeometry], query_config: QueryConfig
    ) -> list[list[MatchedItemGroup[RasterItem]]]:
        """For each geometry, the groups of items that are wanted.

        Args:
            geometries: Places and times.
            query_config: What is wanted.

        Raises:
            InputFileError: If a file can't be used.
        """
        if self._index is None:
            self._index = ItemIndex(self.list_items())
        groups = self._index.match(geometries, query_config)
        for item in {item for found in groups for group in found for item in group.items}:
            self._check_bands(item)
        return groups

    def _check_bands(self, item: RasterItem) -> None:
        """Refuses an item without a band that the layer wants: rslearn would write nodata without a word."""
        has = [band for bands in _bands(item) for band in bands]
        if self._wanted and not self._wanted & set(has):
            raise InputFileError(
                "The file has none of the bands that the layer wants.",
                where=str(self.src_dir / item.spec.fnames[0]),
                expected=", ".join(sorted(self._wanted)),
                found=", ".join(has),
                fix="Name the file's bands in their order, bands: [...], or leave it out by pattern, in dataset.json.",
            )

    @override
    def deserialize_item(self, serialized_item: dict[str, Any]) -> RasterItem:
        """An item as it was kept for a window."""
        return RasterItem.deserialize(serialized_item)

    @override
    def ingest(
        self, tile_store: TileStoreWithLayer, items: list[RasterItem], geometries: list[list[STGeometry]]
    ) -> None:
        """Copies items into a tile store, for rslearn's own commands where the layer does not say ``ingest: false``.

        Args:
            tile_store: Where to.
            items: The items.
            geometries: Where each is needed.
        """
        for item, places in zip(items, geometries, strict=True):
            RasterImporter().ingest_item(tile_store, item, places)

    # ---- pixels ----------------------------------------------------------------------------------------------

    @override
    def get_asset_url(self, item: RasterItem, asset_key: str) -> str:
        """Path of a file of an item.

        Args:
            item: The item.
            asset_key: Its name below the folder.
        """
        return str(self.src_dir / asset_key)

    def _file(self, item: Item, bands: Sequence[str]) -> RasterFile:
        if not isinstance(item, RasterItem):
            raise UsageError("It is no item of this source.", where=item.name, found=type(item).__name__)
        for fname, has in zip(item.spec.fnames, _bands(item), strict=True):
            if has == list(bands):
                return raster_file(Path(self.get_asset_url(item, fname)))
        raise UsageError("No file of the item has these bands.", where=item.name, found=", ".join(bands))

    @override
    def get_raster_bands(self, layer_name: str, item: Item) -> list[list[str]]:
        """Bands of each file of an item."""
        return _bands(item) if isinstance(item, RasterItem) else []

    @override
    def get_raster_bounds(self, layer_name: str, item: Item, bands: list[str], projection: Projection) -> PixelBounds:
        """Pixels of a projection that hold a file of an item."""
        return self._file(item, bands).bounds(projection)

    @override
    def get_raster_metadata(self, layer_name: str, item: Item, bands: list[str]) -> RasterMetadata:
        """Nodata value of a file of an item."""
        return RasterMetadata(nodata_value=self._file(item, bands).nodata)

    @override
    def read_raster(
        self,
        layer_name: str,
        item: Item,
        bands: list[str],
        projection: Projection,
        bounds: PixelBounds,
        resampling: Resampling = Resampling.bilinear,
    ) -> RasterArray:
        """Pixels of a file of an item.

        Args:
            layer_name: The layer.
            item: The item.
            bands: All bands of the file.
            projection: What to read it in.
            bounds: Which pixels of the projection.
            resampling: How.
        """
        file = self._file(item, bands)
        return RasterArray(
            chw_array=file.read(projection, bounds, resampling),
            time_range=item.geometry.time_range,
            metadata=RasterMetadata(nodata_value=file.nodata),
        )


def _bands(item: RasterItem) -> list[list[str]]:
    return item.spec.bands or []


def _wanted_bands(layer: LayerConfig | None) -> frozenset[str]:
    return (
        frozenset(band for band_set in layer.band_sets for band in band_set.bands) if layer is not None else frozenset()
    )
