from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from shapely.geometry import Point, box, mapping

from olmoearth_nb.geojson import PredictionResultCollection
from olmoearth_nb.postprocess import CombineAndDeduplicateGeojson, CombineGeotiff, SimplifyPolygons
from olmoearth_nb.postprocess.changes_raster import PixelChange, raster_changes
from olmoearth_nb.postprocess.changes_vector import feature_changes
from olmoearth_nb.postprocess.duplicates import first_of_duplicates, originals_of
from olmoearth_nb.postprocess.mask import Mask


def tif(path: Path, pixels: np.ndarray, *, x: int = 0, y: int = 0, crs: str = "EPSG:32631", nodata: float = 0) -> Path:
    """A GeoTIFF of 10 m pixels whose corner is pixel (x, y)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype=pixels.dtype, nodata=nodata, crs=crs,
        transform=from_origin(600_000 + 10 * x, 5_000_000 - 10 * y, 10, 10),
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    return path


def codes(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def merged(folder: Path, paths: list[Path], **arguments: object) -> list[Path]:
    out = folder / "out"
    out.mkdir()
    return CombineGeotiff(**arguments).process_partition(paths, out)  # type: ignore[arg-type]


def test_seams_are_where_inputs_overlap_and_disagree(tmp_path: Path) -> None:
    left, right = np.full((6, 8), 3, dtype=np.uint8), np.full((6, 8), 3, dtype=np.uint8)
    right[1:3, 0:2] = 7  # two columns and two rows of the overlap
    right[5, 1] = 0  # nodata does not overlap
    files = {tif(tmp_path / "a.tif", left): "west", tif(tmp_path / "b.tif", right, x=5): "east"}
    changes = raster_changes(files, merged(tmp_path, list(files)), tmp_path)
    counts = changes.counts
    assert counts["pixels before"] == counts["pixels after"] == 6 * 8 + 6 * 5
    assert (counts["inputs overlap and agree"], counts["inputs overlap and disagree"]) == (3 * 6 - 1 - 4, 4)
    assert counts["value changed"] == counts["outside of the mask"] == counts["was nodata"] == 0
    (seam, overlap) = changes.table.itertuples()
    assert (seam.change, seam.first, seam.second, seam.pixels) == ("inputs overlap and disagree", "west", "east", 4)
    assert (overlap.change, overlap.pixels) == ("inputs overlap and agree", 13)
    assert changes.table.to_crs(32631).total_bounds[[0, 2]] == pytest.approx((600_050, 600_080), abs=0.5)
    west, south, east, north = changes.table[changes.table.change == seam.change].to_crs(32631).total_bounds
    assert (west, south, east, north) == pytest.approx((600_050, 4_999_970, 600_070, 4_999_990), abs=0.5)
    (picture,) = changes.pictures
    assert codes(picture)[:, 5:8].tolist() == [[1, 1, 1], [3, 3, 1], [3, 3, 1], [1, 1, 1], [1, 1, 1], [1, 0, 1]]
    assert not codes(picture)[:, [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]].any()


def test_changed_values_are_told_pair_by_pair(tmp_path: Path) -> None:
    pixels = np.repeat(np.array([[1, 2, 0, 9]], dtype=np.uint8), 5, axis=0)
    files = {tif(tmp_path / "a.tif", pixels): "a"}
    after = merged(tmp_path, list(files), value_transform={"scale": 10.0, "output_dtype": "uint8"})
    changes = raster_changes(files, after, tmp_path)
    table = changes.table.sort_values("before")
    assert table[["before", "after", "pixels", "band"]].to_numpy().tolist() == [
        [1, 10, 5, 1], [2, 20, 5, 1], [9, 90, 5, 1],
    ]  # fmt: skip
    assert table["share"].sum() == pytest.approx(1)
    assert changes.counts["value changed"] == 15


def test_many_values_are_told_as_a_range(tmp_path: Path) -> None:
    pixels = np.arange(1, 601, dtype=np.float32).reshape(1, 600) / 4
    files = {tif(tmp_path / "a.tif", np.repeat(pixels, 600, axis=0)): "a"}  # two blocks of 512
    changes = raster_changes(files, merged(tmp_path, list(files), value_transform={"scale": 2.0}), tmp_path)
    (row,) = changes.table.itertuples()
    assert row.pixels == 600 * 600 == changes.counts["value changed"]
    assert row.detail == "0.25 … 150 became 0.5 … 300"


def test_masked_pixels_are_told_from_removed_ones(tmp_path: Path) -> None:
    pixels = np.ones((8, 8), dtype=np.uint8)
    before = tif(tmp_path / "a.tif", pixels)
    pixels[:, :5] = 0
    pixels[0, 7] = 4
    after = tif(tmp_path / "b.tif", pixels)
    valid = np.ones((8, 8), dtype=np.uint8)
    valid[:, :3] = 0
    mask = Mask.open(tif(tmp_path / "m.tif", valid))
    changes = raster_changes({before: "a"}, [after], tmp_path, mask=mask)
    assert changes.counts["outside of the mask"] == 3 * 8
    assert changes.counts["became nodata"] == 2 * 8
    assert changes.counts["value changed"] == 1
    expected = np.zeros((8, 8), dtype=np.uint8)
    expected[:, :3], expected[:, 3:5], expected[0, 7] = PixelChange.MASKED, PixelChange.REMOVED, PixelChange.CHANGED
    assert codes(changes.pictures[0]).tolist() == expected.tolist()


def test_added_pixels_and_other_grids(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), dtype=np.uint8)
    before = tif(tmp_path / "a.tif", pixels)
    after = tif(tmp_path / "b.tif", np.full((2, 2), 5, dtype=np.uint8), x=-1, y=-1)
    changes = raster_changes({before: "a"}, [after], tmp_path)
    assert changes.counts["was nodata"] == 4
    assert codes(changes.pictures[0]).shape == (5, 5)


def test_what_makes_no_file_removes_nothing(tmp_path: Path) -> None:
    changes = raster_changes({tif(tmp_path / "a.tif", np.ones((4, 4), dtype=np.uint8)): "a"}, [], tmp_path)
    assert changes.counts["became nodata"] == 0
    assert (changes.counts["pixels before"], changes.counts["pixels after"]) == (16, 0)
    assert changes.notes == ("No file in epsg32631 came out of this stage.",)


def test_other_bands_are_not_compared(tmp_path: Path) -> None:
    one = tif(tmp_path / "a.tif", np.ones((4, 4), dtype=np.uint8))
    two = tmp_path / "b.tif"
    with rasterio.open(one) as source, rasterio.open(two, "w", **{**source.profile, "count": 2}):
        pass
    changes = raster_changes({one: "a"}, [two], tmp_path)
    assert changes.notes == ("1 bands before, 2 after: pixels can't be compared.",)
    assert len(changes.table) == 0


# ---- features --------------------------------------------------------------------------------------------------------


def collected(*features: tuple[shapely.Geometry, dict]) -> PredictionResultCollection:
    raw = [{"type": "Feature", "geometry": mapping(shape), "properties": own} for shape, own in features]
    return PredictionResultCollection(type="FeatureCollection", features=raw)


def tried(component: object, **inputs: PredictionResultCollection):
    result = component.process_partition(list(inputs.values()))  # type: ignore[attr-defined]
    return feature_changes(inputs, result, component=component)


def test_a_duplicate_names_what_it_duplicates() -> None:
    square, nearly, apart = box(0, 0, 10, 10), box(0, 0, 10, 9.5), box(20, 0, 30, 10)
    changes = tried(
        CombineAndDeduplicateGeojson(min_iou=0.9),
        a=collected((apart, {"n": 1}), (square, {"n": 2})),
        b=collected((nearly, {"n": 3}), (Point(5, 50), {"n": 4}), (Point(5, 50.0005), {"n": 5})),
    )
    first, second = changes.table.itertuples()
    assert (first.change, first.reason, first.source, first.duplicate_source) == ("dropped", "duplicate", "b", "a")
    assert (first.before, first.duplicate_of, first.after) == (2, 1, 1)
    assert first.iou == pytest.approx(0.95)
    assert (second.before, second.duplicate_of, second.after) == (4, 3, 2)
    assert second.distance == pytest.approx(0.0005)
    assert changes.counts == {
        "features before": 5, "features after": 3, "unchanged": 3, "dropped": 2, "dropped: duplicate": 2, "added": 0,
        "geometry changed": 0, "properties changed": 0, "vertices before": 17, "vertices after": 11,
    }  # fmt: skip


def test_simplified_features_keep_their_partner_and_count_vertices() -> None:
    bumpy = shapely.Polygon([(0, 0), (1, 0.001), (2, 0), (2, 2), (0, 2)])
    sliver = box(5, 5, 5.001, 5.2)
    changes = tried(
        SimplifyPolygons(tolerance=0.01, preserve_topology=False),
        a=collected((bumpy, {"n": 1}), (sliver, {"n": 2}), (box(8, 8, 9, 9), {"n": 3})),
    )
    dropped, changed = changes.table.itertuples()
    assert (dropped.change, dropped.reason, dropped.before) == ("dropped", "simplified away", 1)
    assert (changed.change, changed.before, changed.after) == ("geometry", 0, 0)
    assert (changed.vertices_before, changed.vertices_after) == (6, 5)
    assert changes.counts["unchanged"] == 1


def test_changed_properties_and_added_features() -> None:
    class Renames:
        def process_partition(self, results):
            (one,) = results
            first, second = one.model_copy(deep=True).features
            first.properties.score = 0.5
            del first.properties.n
            second.properties.n = "<b>"
            return collected(
                (box(0, 0, 1, 1), first.properties.model_dump()),
                (box(2, 2, 3, 3), second.properties.model_dump()),
                (Point(50, 50), {"n": 9}),
            )

    changes = tried(Renames(), a=collected((box(0, 0, 1, 1), {"n": 1}), (box(2, 2, 3, 3), {"n": 2})))
    first, second, added = changes.table.itertuples()
    assert (first.change, first.properties) == ("properties", "- n; + score: 0.5")
    assert (second.change, second.properties) == ("properties", "n: 2 → <b>")
    assert (added.change, added.after) == ("added", 2)


def test_features_that_a_request_moved_are_recognised() -> None:
    class Moves:
        def process_partition(self, results):
            shapes = [box(0, 0, 100, 100), box(0, 0, 100, 100)]
            pairs = zip(shapes, results[0].features, strict=True)
            return collected(*((shape, {**f.properties.model_dump(), "site": "x"}) for shape, f in pairs))

    changes = tried(Moves(), a=collected((Point(1, 1), {"n": 1}), (Point(2, 2), {"n": 2})))
    assert changes.table["before"].tolist() == [0, 1]
    assert set(changes.table["change"]) == {"geometry and properties"}


def test_what_the_mask_drops_is_told_apart() -> None:
    before = {"a": collected((box(0, 0, 1, 1), {"n": 1}), (box(5, 5, 6, 6), {"n": 2}))}
    after = collected((box(0, 0, 1, 1), {"n": 1}))
    changes = feature_changes(before, after, component=object(), unmasked=before["a"])
    (row,) = changes.table.itertuples()
    assert (row.change, row.reason, row.before) == ("dropped", "outside of the mask", 1)
    changes = feature_changes(before, after, component=object(), unmasked=after)
    assert changes.table["reason"].tolist() == ["by object"]


def test_nothing_in_is_nothing_out() -> None:
    changes = tried(CombineAndDeduplicateGeojson(), a=collected())
    assert len(changes.table) == 0
    assert changes.counts["features before"] == changes.counts["features after"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_everything_that_is_dropped_has_an_original(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 3, (150, 2))
    shapes = [box(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, rng.uniform(0.5, 1.5, (150, 2)), strict=True)]
    shapes += [Point(*xy) for xy in rng.uniform(0, 1, (50, 2))] + [
        shapely.LineString([(0, 0), (1, n % 3)]) for n in range(9)
    ]
    limits = {"min_iou": 0.5, "point_nearness": 0.1}
    kept = first_of_duplicates(shapes, **limits)
    found = originals_of(shapes, kept, **limits)
    assert sorted(found) == np.flatnonzero(~kept).tolist()
    for index, original in found.items():
        assert original.index < index
        assert kept[original.index]
        assert (original.iou or 0) >= 0.5 or (original.distance is not None and original.distance <= 0.1)
