from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform_geom
from rslearn.utils.geometry import Projection
from shapely.geometry import box, mapping, shape

from olmoearth_nb.errors import ConfigError, InputFileError, PostprocessError
from olmoearth_nb.postprocess import CombineGeotiff, Mask

UTM = CRS.from_epsg(32733)
PIXELS = Projection(UTM, 10, -10)
# A corner of the grid, south of the equator: 30 m pixels of masks, 10 m pixels of rasters.
LEFT, TOP = 300_000.0, 6_300_000.0
X0, Y0 = int(LEFT / 10), int(-TOP / 10)


def degrees(*bounds):
    """A box of UTM metres from the corner (west, south, east, north), as WGS84 GeoJSON."""
    west, south, east, north = bounds
    return transform_geom(UTM, "EPSG:4326", mapping(box(LEFT + west, TOP + south, LEFT + east, TOP + north)))


def write_geojson(path, *geometries):
    features = [{"type": "Feature", "geometry": g, "properties": {}} for g in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def raster_mask(tif, tmp_path):
    """Valid (1 and 4 of 0..4) in the second column of the first row and the third of the last."""
    data = np.array([[0, 1, 2], [3, 0, 2], [2, 3, 4]], dtype=np.uint8)
    path = tif(tmp_path / "mask.tif", data, left=LEFT, top=TOP, res=30)
    return Mask.open(path, valid_values=[4, 1])


EXPECTED = np.zeros((9, 9), dtype=bool)
EXPECTED[0:3, 3:6] = EXPECTED[6:9, 6:9] = True


@pytest.fixture
def vector_mask(tmp_path):
    """The same area as GeoJSON."""
    return Mask.open(write_geojson(tmp_path / "mask.geojson", degrees(30, -30, 60, 0), degrees(60, -90, 90, -60)))


@pytest.fixture(params=["raster", "vector"])
def mask(request, raster_mask, vector_mask):
    return raster_mask if request.param == "raster" else vector_mask


def test_accepts_windows_that_touch_valid_pixels(mask):
    windows = {
        (0, 0, 3, 3): False,
        (0, 0, 4, 3): True,
        (3, 0, 6, 3): True,
        (6, 0, 9, 3): False,  # shares an edge only
        (0, 3, 6, 9): False,  # shares an edge and a corner
        (5, 2, 7, 7): True,
        (-50, -50, 0, 50): False,
        (8, 8, 60, 60): True,
        (9, 9, 60, 60): False,
        (-1000, -1000, 1000, 1000): True,
    }
    boxes = np.array(list(windows)) + np.array([X0, Y0, X0, Y0])
    assert mask.accepts(PIXELS, boxes).tolist() == list(windows.values())
    assert mask.accepts(PIXELS, np.zeros((0, 4))).tolist() == []


def test_accepts_windows_of_other_projections(mask, raster_mask, tif, tmp_path):
    # Pixels of 0.0001 degrees (some 11 m); the mask's second column is 30 m to 60 m east of the corner.
    lonlat = Projection(CRS.from_epsg(4326), 0.0001, -0.0001)
    west, south, east, north = (v / 0.0001 for v in shape(degrees(33, -27, 57, -3)).bounds)
    inside = [west, -north, east, -south]
    beside = [west - 7, -north, west - 4, -south]
    assert mask.accepts(lonlat, [inside, beside]).tolist() == [True, False]
    # The same window in the neighbouring zone, where it stands askew.
    zone = CRS.from_epsg(32732)
    bounds = shape(transform_geom(UTM, zone, mapping(box(LEFT + 40, TOP - 20, LEFT + 50, TOP - 10)))).bounds
    pixels = [bounds[0] / 10, -bounds[3] / 10, bounds[2] / 10, -bounds[1] / 10]
    assert mask.accepts(Projection(zone, 10, -10), [pixels]).tolist() == [True]


def test_a_window_askew_is_judged_by_its_outline(tif, tmp_path):
    # A window of 20 km in the neighbouring zone is turned by 4 degrees; the corner of its bounds is not in it.
    data = np.zeros((300, 300), dtype=np.uint8)
    data[0, 0] = 1
    path = tif(tmp_path / "mask.tif", data, left=LEFT, top=TOP, res=100)
    zone = CRS.from_epsg(32732)
    other = Projection(zone, 10, -10)

    def window(west, south, east, north):
        outline = shape(transform_geom(UTM, zone, mapping(box(west, south, east, north))))
        x, y = outline.centroid.x, outline.centroid.y
        return box(x - 10_000, y - 10_000, x + 10_000, y + 10_000)

    far = window(LEFT, TOP - 20_000, LEFT + 20_000, TOP)
    in_mask = shape(transform_geom(zone, UTM, mapping(far)))
    corner = box(LEFT, TOP - 100, LEFT + 100, TOP)
    assert box(*in_mask.bounds).intersects(corner)
    assert not in_mask.intersects(corner)
    near = window(LEFT - 2000, TOP - 18_000, LEFT + 18_000, TOP + 2000)
    boxes = [[b[0] / 10, -b[3] / 10, b[2] / 10, -b[1] / 10] for b in (far.bounds, near.bounds)]
    assert Mask.open(path).accepts(other, boxes).tolist() == [False, True]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**16),
    st.lists(st.tuples(*[st.integers(-6, 40)] * 2, *[st.integers(1, 30)] * 2), min_size=1, max_size=8),
)
def test_accepts_what_apply_leaves_something_of(tif, tmp_path_factory, seed, windows):
    """On pixels of the mask, a window is accepted if, and only if, masking leaves a pixel of it."""
    folder = tmp_path_factory.mktemp("mask")
    data = (np.random.default_rng(seed).random((33, 21)) < 0.02).astype(np.uint8)
    mask = Mask.open(tif(folder / "mask.tif", data, left=LEFT, top=TOP, blockxsize=16, blockysize=16, tiled=True))
    boxes = np.array([(X0 + x, Y0 + y, X0 + x + w, Y0 + y + h) for x, y, w, h in windows])
    left = [
        mask.valid_pixels(Affine(10, 0, x0 * 10, 0, -10, -y0 * 10), UTM, (y1 - y0, x1 - x0)).any()
        for x0, y0, x1, y1 in boxes.tolist()
    ]
    assert mask.accepts(PIXELS, boxes).tolist() == left


def test_large_masks_are_read_in_parts(tif, tmp_path, monkeypatch):
    from olmoearth_nb.postprocess import mask_raster

    data = np.zeros((100, 70), dtype=np.uint8)
    data[71, 33] = data[5, 69] = 1
    path = tif(tmp_path / "mask.tif", data, left=LEFT, top=TOP)
    boxes = np.array([(33, 71, 34, 72), (0, 6, 69, 71), (60, 0, 90, 6), (0, 0, 70, 100), (34, 71, 70, 100)])
    boxes += [X0, Y0, X0, Y0]
    transform = Affine(70, 0, LEFT, 0, -100, TOP)  # pixels of 7 by 10 pixels of the mask
    expected = np.zeros((10, 10), dtype=bool)
    whole = Mask.open(path)
    assert whole.accepts(PIXELS, boxes).tolist() == [True, False, True, True, False]
    assert np.array_equal(whole.valid_pixels(transform, UTM, (10, 10)), expected)
    monkeypatch.setattr(mask_raster, "_CHUNK_PIXELS", 200)
    parts = Mask.open(path)
    assert parts.accepts(PIXELS, boxes).tolist() == [True, False, True, True, False]
    data[75, 31] = 1  # the centre of pixel (7, 4): 31.5, 75
    parts = Mask.open(tif(path, data, left=LEFT, top=TOP))
    expected[7, 4] = True
    assert np.array_equal(parts.valid_pixels(transform, UTM, (10, 10)), expected)


def test_valid_pixels_are_those_whose_centre_is_valid(mask):
    assert np.array_equal(mask.valid_pixels(Affine(10, 0, LEFT, 0, -10, TOP), UTM, (9, 9)), EXPECTED)
    shifted = mask.valid_pixels(
        Affine(10, 0, LEFT + 34, 0, -10, TOP + 20), UTM, (4, 4)
    )  # centres at x = 39, 49, 59, 69
    assert shifted.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    assert not mask.valid_pixels(Affine(10, 0, LEFT + 5000, 0, -10, TOP), UTM, (9, 9)).any()
    south_up = mask.valid_pixels(Affine(10, 0, LEFT, 0, 10, TOP - 90), UTM, (9, 9))
    assert np.array_equal(south_up, EXPECTED[::-1])


def test_valid_pixels_of_other_projections(mask):
    """Each pixel's centre, projected by hand, is looked up in the mask's 30 m pixels."""
    zone = CRS.from_epsg(32732)
    corner = shape(transform_geom(UTM, zone, {"type": "Point", "coordinates": [LEFT, TOP]}))
    transform = Affine(7, 0, corner.x - 10, 0, -7, corner.y + 20)
    found = mask.valid_pixels(transform, zone, (20, 20))
    for (row, column), valid in np.ndenumerate(found):
        x, y = transform @ (column + 0.5, row + 0.5)
        there = transform_geom(zone, UTM, {"type": "Point", "coordinates": [x, y]})["coordinates"]
        across, down = (there[0] - LEFT) / 30, (TOP - there[1]) / 30
        assert valid == ((0 <= down < 1 and 1 <= across < 2) or (2 <= down < 3 and 2 <= across < 3))
    assert 30 < found.sum() < 45  # of 7 m, in 1800 square metres


def test_all_files_of_a_folder_count(tif, tmp_path):
    left = tif(tmp_path / "masks" / "a.tif", [[0, 1], [0, 1]], left=LEFT, top=TOP)
    tif(tmp_path / "masks" / "b.tif", np.array([[1, 0], [1, 0]], dtype="uint8"), left=LEFT + 10, top=TOP - 10)
    (tmp_path / "masks" / "notes.txt").write_text("not a mask")
    valid = Mask.open(tmp_path / "masks").valid_pixels(Affine(10, 0, LEFT, 0, -10, TOP), UTM, (3, 3))
    assert valid.tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert Mask.open(left).valid_pixels(Affine(10, 0, LEFT, 0, -10, TOP), UTM, (3, 3)).sum() == 2


def test_folder_of_geojson(tmp_path):
    write_geojson(tmp_path / "a.geojson", degrees(0, -10, 10, 0))
    write_geojson(tmp_path / "b.GeoJSON", degrees(20, -10, 30, 0))
    valid = Mask.open(tmp_path).valid_pixels(Affine(10, 0, LEFT, 0, -10, TOP), UTM, (2, 4))
    assert valid.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_apply_to_array(mask, gradient):
    data = np.stack([gradient(9, 9), gradient(9, 9, seed=1)])
    out = mask.apply_to_array(data, Affine(10, 0, LEFT, 0, -10, TOP), UTM, nodata=255)
    assert np.array_equal(out, np.where(EXPECTED, data, 255))
    assert out.dtype == np.uint8
    assert (data != 255).all()  # the argument is as it was
    flat = mask.apply_to_array(data[0], Affine(10, 0, LEFT, 0, -10, TOP), UTM)
    assert np.array_equal(flat, np.where(EXPECTED, data[0], 0))
    with pytest.raises(PostprocessError, match=r"a value that uint8 has; found -1"):
        mask.apply_to_array(data, Affine(10, 0, LEFT, 0, -10, TOP), UTM, nodata=-1)


def test_apply_in_place(mask, tif, tmp_path, gradient):
    data = gradient(9, 9)
    data[0, 3] = 0  # class 0, inside
    path = tif(tmp_path / "w.tif", data, left=LEFT, top=TOP, descriptions=["class"])
    with rasterio.open(path, "r+") as file:
        file.update_tags(author="me")
    for _ in range(2):  # once more changes nothing
        mask.apply(path)
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), np.where(EXPECTED, data, 0))
            assert np.array_equal(file.read_masks(1) > 0, EXPECTED)
            assert (file.nodata, file.descriptions, file.tags()["author"]) == (0, ("class",), "me")
            assert file.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert sorted(p.name for p in tmp_path.iterdir() if "w." in p.name) == ["w.tif"]


def test_apply_keeps_a_nodata_value(mask, tif, tmp_path, gradient):
    data = gradient(9, 9)
    data[1, 4] = 77
    path = tif(tmp_path / "w.tif", data, left=LEFT, top=TOP, nodata=77)
    mask.apply(path, nodata=0)
    with rasterio.open(path) as file:
        assert file.nodata == 77
        assert np.array_equal(file.read(1), np.where(EXPECTED, data, 77))
        assert file.read_masks(1)[1, 4] == 0
    with pytest.raises(PostprocessError, match=r"x\.tif: .*uint8 has; found -1"):
        mask.apply(tif(tmp_path / "x.tif", data, left=LEFT, top=TOP), nodata=-1)
    with pytest.raises(InputFileError, match=r"absent\.tif"):
        mask.apply(tmp_path / "absent.tif")


def test_apply_needs_a_crs(mask, tif, tmp_path, gradient):
    path = tif(tmp_path / "w.tif", gradient(2, 2), left=0, top=0, crs=None)
    with pytest.raises(PostprocessError, match="without CRS"):
        mask.apply(path)


def test_masking_windows_is_masking_their_merge(mask, tif, tmp_path, gradient):
    tiles = [(0, 0, gradient(5, 9)), (0, 5, gradient(4, 5, seed=1)), (5, 5, gradient(4, 6, seed=2))]
    paths = [
        tif(tmp_path / f"{i}.tif", data, left=LEFT + 10 * x, top=TOP - 10 * y) for i, (x, y, data) in enumerate(tiles)
    ]
    combine = CombineGeotiff(nodata_value=255)
    combine.set_mask(mask)
    (merged,) = combine.process_partition(paths, tmp_path / "merged")
    (again,) = combine.process_dataset([merged], tmp_path / "again")
    for path in paths:
        mask.apply(path, nodata=255)
    combine.set_mask(None)
    (after,) = combine.process_partition(paths, tmp_path / "after")
    with rasterio.open(merged) as one, rasterio.open(after) as two, rasterio.open(again) as three:
        assert np.array_equal(one.read(1) != 255, np.pad(EXPECTED, ((0, 0), (0, 2))))
        assert one.read(1)[0, 3:6].tolist() == gradient(5, 9)[0, 3:6].tolist()
        for other in (two, three):
            assert np.array_equal(one.read(1), other.read(1))
            assert np.array_equal(one.read_masks(1), other.read_masks(1))


def test_keep_features_that_touch(mask, collection):
    inside, touching, outside = degrees(40, -20, 50, -10), degrees(0, -20, 31, -10), degrees(0, -20, 29, -10)
    pole = degrees(0, -80, 89, -59)  # around the corner, with its end in the last pixel

    def line(*points):
        coordinates = [shape(degrees(x, y, x + 1, y + 1)).centroid.coords[0] for x, y in points]
        return {"type": "LineString", "coordinates": coordinates}

    def point(x, y):
        return {"type": "Point", "coordinates": line((x, y), (x, y))["coordinates"][0]}

    geometries = [
        (inside, True),
        (outside, False),
        (touching, True),
        (pole, True),
        (point(45, -15), True),
        (point(15, -15), False),
        (line((5, -5), (5, -80), (25, -85)), False),
        (line((5, -5), (80, -8)), True),
        # From the first column to the last row, past both valid pixels, though its bounds contain the first.
        (line((5, -5), (27, -40), (80, -50)), False),
        (None, False),
    ]
    result = collection(*((geometry, {"i": i}) for i, (geometry, _) in enumerate(geometries)))
    kept = mask.keep_features(result)
    assert [f.properties.i for f in kept.features] == [i for i, (_, touches) in enumerate(geometries) if touches]
    assert mask.keep_features(kept) == kept
    assert mask.keep_features(collection()).features == []


def test_opening_names_what_is_wrong(tif, tmp_path):
    with pytest.raises(InputFileError, match=r"absent\.tif: The mask is missing"):
        Mask.open(tmp_path / "absent.tif")
    with pytest.raises(InputFileError, match=r"no masks\. Expected only GeoTIFFs"):
        Mask.open(tmp_path)
    tif(tmp_path / "a.tif", [[1]], left=0, top=0)
    write_geojson(tmp_path / "b.geojson", degrees(0, 0, 1, 1))
    with pytest.raises(InputFileError, match=r"both kinds\. .*found a\.tif, b\.geojson"):
        Mask.open(tmp_path)
    (tmp_path / "c.shp").write_bytes(b"")
    with pytest.raises(InputFileError, match=r"c\.shp: The file is no mask\. Expected a GeoTIFF .* found \.shp"):
        Mask.open(tmp_path / "c.shp")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    with pytest.raises(InputFileError, match=r"broken\.tif: The raster can't be read"):
        Mask.open(tmp_path / "broken.tif")
    with pytest.raises(InputFileError, match=r"plain\.tif: The mask has no CRS"):
        Mask.open(tif(tmp_path / "plain.tif", [[1]], left=0, top=0, crs=None))


def test_valid_values_are_checked(tif, tmp_path):
    path = tif(tmp_path / "a.tif", np.array([[1, 0]], dtype="uint8"), left=0, top=0, nodata=0)
    with pytest.raises(ConfigError, match=r"at least one whole number; found \(\)"):
        Mask.open(path, valid_values=())
    with pytest.raises(ConfigError, match="whole number"):
        Mask.open(path, valid_values=["1"])
    with pytest.raises(ConfigError, match=r"a\.tif: A valid value of the mask is the file's nodata value"):
        Mask.open(path, valid_values=(1, 0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"type": "FeatureCollection", "features": []}', "The mask has no geometries"),
        ('{"type": "Feature", "geometry": null}', "The mask has no geometries"),
        ('{"type": "Polygon", "coordinates": "x"}', r"features\[0\]: Not a geometry"),
        ('{"type": "Circle", "coordinates": [0, 0]}', r"features\[0\]: Not a geometry"),
        ('{"type": "Point", "coordinates": [300000, 6300000]}', "not on the globe"),
        ("[1]", "Not a geometry"),
    ],
)
def test_geojson_is_checked(tmp_path, content, message):
    path = tmp_path / "m.geojson"
    path.write_text(content)
    with pytest.raises(InputFileError, match=rf"m\.geojson.*{message}"):
        Mask.open(path)


@pytest.mark.parametrize("kind", ["geometry", "feature"])
def test_geojson_may_be_one_geometry_or_feature(tmp_path, kind):
    geometry = degrees(0, -10, 10, 0)
    path = tmp_path / "m.json"
    path.write_text(json.dumps(geometry if kind == "geometry" else {"type": "Feature", "geometry": geometry}))
    valid = Mask.open(path).valid_pixels(Affine(10, 0, LEFT, 0, -10, TOP), UTM, (2, 2))
    assert valid.tolist() == [[1, 0], [0, 0]]


def test_a_mask_of_the_world_masks_nothing(tmp_path, gradient):
    # Far from its zone UTM is not defined; only what is near the raster is projected.
    world = Mask.open(write_geojson(tmp_path / "w.geojson", mapping(box(-180, -90, 180, 90))))
    assert world.valid_pixels(Affine(10, 0, LEFT, 0, -10, TOP), UTM, (64, 64)).all()
    assert world.accepts(PIXELS, [[X0, Y0, X0 + 64, Y0 + 64]]).all()


def test_a_mask_at_the_antimeridian(tmp_path):
    # Zone 60 reaches a little beyond 180 degrees; the mask lies east of it, at -179.99.
    zone = CRS.from_epsg(32660)
    path = write_geojson(
        tmp_path / "m.geojson", mapping(box(-180, 10, -179.9, 11)), mapping(box(179.9, 10, 179.95, 11))
    )
    mask = Mask.open(path)
    at_180 = shape(transform_geom("EPSG:4326", zone, {"type": "Point", "coordinates": [180, 10.5]}))
    transform = Affine(100, 0, at_180.x - 3200, 0, -100, at_180.y)
    valid = mask.valid_pixels(transform, zone, (2, 64))
    assert not valid[:, :30].any()
    assert valid[:, 34:].all()
