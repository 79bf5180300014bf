"""``CombineGeotiff``: tiles of 512 × 512 pixels to Cloud Optimized GeoTIFFs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from benchmarks.measure import Result, in_process, timed
from benchmarks.projects import CRS, ORIGIN, fresh

_TILE = 512


def tiles(folder: Path, count: int) -> list[Path]:
    """Tiles of a square, classes in blocks of 16 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    side = round(count**0.5)
    random, paths = np.random.default_rng(0), []
    for index in range(count):
        path = folder / f"{index}.tif"
        paths.append(path)
        if path.exists():
            continue
        pixels = np.kron(random.integers(1, 9, (_TILE // 16, _TILE // 16)), np.ones((16, 16))).astype(np.uint8)
        x, y = ORIGIN[0] + index % side * _TILE * 10, ORIGIN[1] - index // side * _TILE * 10
        with rasterio.open(
            path, "w", driver="GTiff", width=_TILE, height=_TILE, count=1, dtype="uint8", crs=CRS, nodata=0,
            compress="lzw", transform=rasterio.transform.from_origin(x, y, 10, 10),
        ) as target:  # fmt: skip
            target.write(pixels, 1)
    return paths


def ours(folder: Path, *, count: int) -> float:
    """The postprocessor of the dataset."""
    from olmoearth_nb.postprocess.raster import CombineGeotiff

    paths = tiles(folder / f"tiles_{count}", count)
    return timed(lambda: CombineGeotiff(max_pixels_per_dimension=20_480).process_dataset(paths, fresh(folder / "out")))


def limit(folder: Path, *, count: int) -> float:
    """GDAL's own mosaic, translated with the same options."""
    from olmoearth_nb.postprocess.dressing import write_mosaic

    paths = tiles(folder / f"tiles_{count}", count)

    def work() -> None:
        write_mosaic(paths, paths[0].with_name("all.vrt"))
        with rasterio.Env(GDAL_CACHEMAX=64 * 2**20, GDAL_TIFF_INTERNAL_MASK=True):
            rasterio.shutil.copy(
                paths[0].with_name("all.vrt"), folder / "limit.tif", driver="COG", blocksize=_TILE, compress="deflate",
                predictor="NO", overview_resampling="nearest", bigtiff="IF_SAFER",
            )  # fmt: skip

    return timed(work)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    for count in (16, 256, 1_600):
        tiles(folder / f"tiles_{count}", count)
        yield Result(
            name="combine", size=f"{count:,} tiles of 512²", part=in_process("combining:ours", folder, count=count),
            limit=in_process("combining:limit", folder, count=count).seconds,
            limit_is="GDAL's VRT and copy", target="≤ 1.5× the limit, 500 MB",
        )  # fmt: skip
