"""Tiles for large results: every pixel of the files, as far as one zooms in, served by localtileserver.

A picture always shows; tiles only where the browser reaches the kernel's machine. So they are asked for, and the
browser is asked whether it gets one before they take the place of the picture.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anywidget
import numpy as np
import rasterio
import traitlets

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, MissingDependencyError
from olmoearth_nb.legend import ClassLegend
from olmoearth_nb.maps.layers import TileSource, hex_color

__all__ = ["Probe", "Tiles", "serve"]

_CODES = 256


class Probe(anywidget.AnyWidget):
    """Finds out, in the browser, where it reaches the tile server.

    Attributes:
        port: Of the tile server.
        sample: Path of a tile that should be there.
        found: The address before the path; empty if there is none; None as long as nobody knows.
    """

    _esm = Path(__file__).with_name("js") / "probe.js"

    port = traitlets.Int().tag(sync=True)
    sample = traitlets.Unicode().tag(sync=True)
    found = traitlets.Unicode(None, allow_none=True).tag(sync=True)


@dataclass(frozen=True)
class Tiles:
    """Served files.

    Attributes:
        port: Of the server, on this machine.
        paths: Path of the tiles of each file, with ``{z}``, ``{x}`` and ``{y}``.
        sample: Path of one tile.
        clients: What keeps the server alive.
    """

    port: int
    paths: tuple[str, ...]
    sample: str
    clients: tuple[Any, ...]


def serve(source: TileSource) -> Tiles:
    """Serves the files of a layer as tiles in its colours, on loopback, until the notebook ends.

    Args:
        source: Which files, which band, what has which colour.

    Raises:
        MissingDependencyError: If localtileserver is not installed.
        InputFileError: If a file can't be served.
    """
    try:
        from localtileserver import TileClient
    except ImportError as error:
        raise MissingDependencyError(
            f"Tiles need localtileserver: {error}.", fix="pip install 'olmoearth-nb[tiles]', or leave out tiles=True."
        ) from error
    options = _look(source)
    with foreign_code(InputFileError, "The file can't be served as tiles", where=str(source.paths[0])):
        with _gdal_as_it_is():
            clients = tuple(TileClient(path) for path in source.paths)
        urls = [urlsplit(client.get_tile_url(**options)) for client in clients]
        paths = tuple(f"{url.path}?{url.query}" for url in urls)
        south, north, west, east = clients[0].bounds()
    zoom = clients[0].min_zoom
    x, y = _tile((west + east) / 2, (south + north) / 2, zoom)
    sample = paths[0]
    for name, value in {"z": zoom, "x": x, "y": y}.items():
        sample = sample.replace(f"{{{name}}}", str(value)).replace(f"%7B{name}%7D", str(value))
    return Tiles(clients[0].server_port, paths, sample, clients)


@contextlib.contextmanager
def _gdal_as_it_is() -> Iterator[None]:
    """The server has GDAL overlook what lies beside rasters (world files, names of classes), in the whole process."""
    before = set(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - before:
            if name.startswith("GDAL_"):
                del os.environ[name]


def _look(source: TileSource) -> dict[str, Any]:
    path = source.paths[0]
    with foreign_code(InputFileError, "The GeoTIFF can't be read", where=str(path)), rasterio.open(path) as opened:
        nodata = opened.nodatavals[source.band - 1]
    # With 0 and 255 as ends of classes, a list of 256 colours is what it says: nothing is mixed.
    options: dict[str, Any] = {"indexes": [source.band], "nodata": nodata, "vmin": 0, "vmax": _CODES - 1}
    if isinstance(source.legend, ClassLegend):
        colors = source.legend.colors_of(range(_CODES))
        return options | {"colormap": [hex_color(colors[value]) for value in range(_CODES)]}
    low, high = source.legend.min_value, source.legend.max_value
    ramp = source.legend.colors_of(np.linspace(low, high, _CODES))[:, :3].tolist()
    return options | {"vmin": low, "vmax": high, "colormap": [hex_color((r, g, b)) for r, g, b in ramp]}


def _tile(lon: float, lat: float, zoom: int) -> tuple[int, int]:
    """Column and row of the tile of a place (OpenStreetMap's numbering)."""
    count = 2**zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return int((lon + 180) / 360 * count) % count, int(np.clip(y * count, 0, count - 1))
