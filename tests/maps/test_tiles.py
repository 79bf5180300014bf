from __future__ import annotations

import io
import sys
import urllib.request
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from drawings import write_geotiff
from ipywidgets.widgets import widget as widget_module
from PIL import Image

from olmoearth_nb.colors import fallback_colors
from olmoearth_nb.errors import MissingDependencyError, UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.layers import TileSource
from olmoearth_nb.maps.pictures import geotiff_layers
from olmoearth_nb.maps.preview import build_map
from olmoearth_nb.maps.tiles import Probe, Tiles, serve

CLASSES = ClassLegend("cover", 1, (ClassEntry(1, "water", (0, 0, 250)), ClassEntry(200, "ice", (250, 250, 0))))
PIXELS = np.zeros((1, 64, 64), np.uint8)
PIXELS[0, :, 10:30], PIXELS[0, :, 30:50], PIXELS[0, :, 50:] = 1, 200, 7


def fetch(tiles: Tiles) -> npt.NDArray[np.uint8]:
    with urllib.request.urlopen(f"http://127.0.0.1:{tiles.port}{tiles.sample}", timeout=30) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGBA"))


def test_tiles_have_the_colours_of_the_legend(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, nodata=0)
    tile = fetch(serve(TileSource(paths=(path,), band=1, legend=CLASSES)))
    seen = {tuple(color[:3]) for color in tile.reshape(-1, 4).tolist() if color[3]}
    other = fallback_colors([7], avoid=[entry.color for entry in CLASSES.entries])[7]
    assert len(seen) == 3
    for wanted in [(0, 0, 250), (250, 250, 0), other]:
        # The server truncates what is not quite a whole number.
        assert min(np.abs(np.subtract(wanted, color)).max() for color in seen) <= 1
    assert (tile[..., 3] == 0).any()


def test_files_beside_a_raster_are_seen_as_before(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, nodata=0)
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><Description>cover</Description></PAMRasterBand></PAMDataset>"
    )
    serve(TileSource(paths=(path,), band=1, legend=CLASSES))
    with rasterio.open(path) as opened:
        assert opened.descriptions == ("cover",)


def test_a_range_goes_from_its_lowest_to_its_highest_colour(tmp_path: Path) -> None:
    ramp = np.linspace(0, 10, 64, dtype=np.float32) * np.ones((1, 64, 64), np.float32)
    path = write_geotiff(tmp_path / "a.tif", ramp)
    scale = RangeLegend("height", 1, 0.0, 10.0, "viridis")
    tile = fetch(serve(TileSource(paths=(path,), band=1, legend=scale)))
    seen = tile[tile[..., 3] == 255][:, :3].astype(int)
    for value in (0.3, 5.0, 9.7):
        wanted = scale.colors_of(np.array([value]))[0, :3].astype(int)
        assert np.abs(seen - wanted).sum(axis=1).min() < 12


def test_pictures_stay_until_the_browser_gets_a_tile(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, nodata=0)
    view = build_map(geotiff_layers([path], Legend("RASTER", classes=(CLASSES,))))
    kinds = [type(layer).__name__ for layer in view.map.layers]
    view.use_tiles()
    (probe,) = (one for one in widget_module._instances.values() if isinstance(one, Probe))
    probe.found = ""
    assert [type(layer).__name__ for layer in view.map.layers] == kinds
    assert "No tiles" in view.message.value
    probe.found = "http://127.0.0.1:1"
    (tiles,) = (layer for layer in view.map.layers if getattr(layer, "url", "").startswith("http://127.0.0.1:1/"))
    assert tiles.pane == "olmoearth-predictions"
    assert "ImageOverlay" not in [type(layer).__name__ for layer in view.map.layers]
    view.close()
    assert not [one for one in widget_module._instances.values() if isinstance(one, Probe)]


def test_what_has_no_tiles_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = write_geotiff(tmp_path / "wide.tif", PIXELS.astype(np.uint16) * 300, nodata=0)
    view = build_map(geotiff_layers([wide]))
    with pytest.raises(UsageError, match="nothing to show as tiles"):
        view.use_tiles()
    view.close()
    monkeypatch.setitem(sys.modules, "localtileserver", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'olmoearth-nb\[tiles\]'"):
        serve(TileSource(paths=(wide,), band=1, legend=CLASSES))
