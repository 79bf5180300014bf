"""Local vector files as a data source of rslearn that needs no ingestion."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from rslearn.config import LayerConfig, LayerType, QueryConfig
from rslearn.data_sources import DataSourceContext, Item
from rslearn.data_sources.direct_materialize_data_source import DirectMaterializeDataSource
from rslearn.data_sources.local_files import VectorItem
from rslearn.data_sources.utils import MatchedItemGroup
from rslearn.dataset import Window
from rslearn.dataset.materialize import VectorMaterializer
from rslearn.tile_stores import TileStoreWithLayer
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import PixelBounds, Projection, STGeometry
from typing_extensions import override
from upath import UPath

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.sources.files import find_files, item_names, source_folder
from olmoearth_nb.sources.matching import ItemIndex
from olmoearth_nb.sources.times import FileTimes
from olmoearth_nb.sources.vector_file import VectorFile, vector_file

__all__ = ["LocalVectors"]

_NO_CONTEXT = DataSourceContext()


class LocalVectors(DirectMaterializeDataSource[VectorItem]):
    """Vector files of a local folder (GeoJSON, GeoPackage, shapefiles, …), read where they lie.

    It takes the arguments of rslearn's ``LocalFiles`` and gives the same features, but copies nothing into a tile
    store, writes nothing beside the files, and knows of when they are.

    Args:
        src_dir: The folder; in ``dataset.json`` relative to the project.
        pattern: Which of its files, such as ``*.geojson``; None for all that are not sidecars. ``.json`` files are
            read only if the pattern says so.
        layer: Layer of files that have several, such as GeoPackages; None for the first.
        properties: Attributes to keep; None for all.
        time_pattern: Regular expression with a group ``date``, searched in file names.
        time_format: What the date looks like, for ``strptime``; see :class:`FileTimes`.
        times: Start and end by file name or glob; it goes before ``time_pattern``.
        layer_type: For ``LocalFiles``' sake; only vector.
        context: Where the dataset lies, and the layer.

    Example:
        >>> source = LocalVectors("fields", pattern="*.gpkg", layer="parcels", properties=["crop"])
    """

    def __init__(
        self,
        src_dir: str,
        *,
        pattern: str | None = None,
        layer: str | None = None,
        properties: list[str] | None = None,
        time_pattern: str | None = None,
        time_format: str = "%Y%m%d",
        times: dict[str, list[str]] | None = None,
        layer_type: LayerType | None = None,
        context: DataSourceContext = _NO_CONTEXT,
    ) -> None:
        super().__init__({})
        if (context.layer_config.type if context.layer_config is not None else layer_type) == LayerType.RASTER:
            raise ConfigError(
                "A raster layer can't come from vector files.",
                where="data_source",
                fix="Use olmoearth_nb.sources.LocalRasters.",
            )
        self.src_dir = source_folder(src_dir, context.ds_path)
        self.pattern = pattern
        self.layer = layer
        self.properties = None if properties is None else tuple(properties)
        self.times = FileTimes(time_pattern, time_format, times)
        self._index: ItemIndex[VectorItem] | None = None

    def list_items(self) -> list[VectorItem]:
        """All items that there are now, one a file that has features, in order of the files' names.

        Raises:
            InputFileError: If there are no files, or one can't be read or has no CRS.
        """
        paths = find_files(self.src_dir, self.pattern)
        items = []
        for path, name in zip(paths, item_names(self.src_dir, paths), strict=True):
            shape = self._file(path).footprint
            if shape is not None:
                when = self.times.of(path.name, path=path.relative_to(self.src_dir).as_posix())
                items.append(VectorItem(name, STGeometry(shape.projection, shape.shp, when), path.absolute().as_uri()))
        return items

    def _file(self, path: Path) -> VectorFile:
        return vector_file(path, layer=self.layer, properties=self.properties)

    @override
    def get_items(
        self, geometries: list[STGeometry], query_config: QueryConfig
    ) -> list[list[MatchedItemGroup[VectorItem]]]:
        """For each geometry, the groups of items that are wanted.

        Args:
            geometries: Places and times.
            query_config: What is wanted.

        Raises:
            InputFileError: If a file can't be used.
        """
        if self._index is None:
            self._index = ItemIndex(self.list_items())
        return self._index.match(geometries, query_config)

    @override
    def deserialize_item(self, serialized_item: dict[str, Any]) -> VectorItem:
        """An item as it was kept for a window."""
        return VectorItem.deserialize(serialized_item)

    @override
    def get_asset_url(self, item: VectorItem, asset_key: str) -> str:
        """Path of an item's file."""
        return str(UPath(item.path_uri).path)

    @override
    def is_vector_ready(self, layer_name: str, item: Item) -> bool:
        """Whether it can be read: always."""
        return True

    @override
    def read_vector(self, layer_name: str, item: Item, projection: Projection, bounds: PixelBounds) -> list[Feature]:
        """Features of an item that touch bounds, whole, in a projection.

        Args:
            layer_name: The layer.
            item: The item.
            projection: What to give them in.
            bounds: Pixels of the projection.
        """
        return self._file(self._path(item)).read(projection, bounds)

    def _path(self, item: Item) -> Path:
        return Path(self.get_asset_url(item, "")) if isinstance(item, VectorItem) else self.src_dir / item.name

    @override
    def ingest(
        self, tile_store: TileStoreWithLayer, items: list[VectorItem], geometries: list[list[STGeometry]]
    ) -> None:
        """Copies items into a tile store, for rslearn's own commands where the layer does not say ``ingest: false``.

        Args:
            tile_store: Where to.
            items: The items.
            geometries: Where each is needed.
        """
        for item in items:
            if not tile_store.is_vector_ready(item):
                tile_store.write_vector(item, list(self._file(self._path(item)).features))

    @override
    def materialize(
        self,
        window: Window,
        item_groups: list[list[VectorItem]],
        layer_name: str,
        layer_cfg: LayerConfig,
        group_time_ranges: list[tuple[datetime, datetime] | None] | None = None,
    ) -> None:
        """Writes the features of items into a window.

        Args:
            window: The window.
            item_groups: Its items.
            layer_name: The layer.
            layer_cfg: Its configuration.
            group_time_ranges: Times of the groups.
        """
        store = TileStoreWithLayer(self, layer_name)
        VectorMaterializer().materialize(store, window, layer_name, layer_cfg, item_groups, group_time_ranges)
