from __future__ import annotations

from datetime import UTC, datetime

import pyproj
import pytest
import shapely
from requests_of import TEN_METRES, UTM, request_of
from rslearn.config import LayerConfig
from shapely.geometry import Point, box

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.partitioners import ChunkPartitioner, FixedWindowPartitioner, GridPartitioner, NoopPartitioner
from olmoearth_nb.planning import plan
from olmoearth_nb.planning.costs import PlanCosts, costs_of, doubts_about
from olmoearth_nb.planning.volume import imagery_volume

YEAR = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC))
SOURCE = "rslearn.data_sources.local_files.LocalFiles"


def geodesic_km2(shape: shapely.Geometry) -> float:
    return abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]) / 1e6


def costs(shape: shapely.Geometry, to_partitions: object, to_windows: object) -> PlanCosts:
    request = request_of(shape)
    return costs_of(plan(request, to_partitions, to_windows), request)  # type: ignore[arg-type]


def layer(
    bands: int = 3, dtype: str = "uint16", *, band_set: dict[str, object] | None = None, **query: object
) -> LayerConfig:
    bands_ = {"bands": [f"B{i}" for i in range(bands)], "dtype": dtype, **(band_set or {})}
    source = {"class_path": SOURCE, "query_config": {"space_mode": "MOSAIC", **query}}
    return LayerConfig.model_validate({"type": "raster", "band_sets": [bands_], "data_source": source})


@pytest.mark.parametrize(
    "shape", [box(3.1, 45, 3.3, 45.1), box(10, -60.2, 10.4, -60), box(20, 69.9, 20.5, 70.1), box(179.9, 10, 180, 10.1)]
)
def test_areas_are_those_on_the_ellipsoid(shape: shapely.Geometry) -> None:
    found = costs(shape, NoopPartitioner(), GridPartitioner(64, **UTM))
    assert found.requested_km2 == pytest.approx(geodesic_km2(shapely.segmentize(shape, 0.001)), rel=1e-3)
    # A pixel of a UTM zone is within 0.1 % of its nominal area.
    assert found.windows_km2 == pytest.approx(found.pixels * 1e-4, rel=2e-3)
    assert found.windows_km2 > found.requested_km2
    assert found.covered == pytest.approx(1, abs=1e-3)
    assert found.overlaid == pytest.approx(1, abs=1e-3)
    assert found.partitions == 1
    assert found.pixels == found.windows * 64 * 64


def test_windows_of_web_mercator_have_the_area_they_have() -> None:
    found = costs(box(20, 69.9, 20.5, 70.1), NoopPartitioner(), GridPartitioner(64, output_projection=TEN_METRES))
    # Ten of its metres are 3.4 m at 70 north.
    assert found.windows_km2 / (found.pixels * 1e-4) == pytest.approx(0.1175, rel=0.02)


def test_both_sides_of_the_antimeridian_are_counted() -> None:
    cut = shapely.MultiPolygon([box(179.9, 10, 180, 10.1), box(-180, 10, -179.9, 10.1)])
    found = costs(cut, NoopPartitioner(), GridPartitioner(64, output_projection=TEN_METRES))
    assert found.requested_km2 == pytest.approx(2 * geodesic_km2(box(0, 10, 0.1, 10.1)), rel=1e-3)
    assert found.covered == pytest.approx(1, abs=1e-3)


def test_what_windows_leave_out_and_do_twice() -> None:
    area = box(3.1, 45, 3.3, 45.1)
    found = costs(area, NoopPartitioner(), FixedWindowPartitioner(100, **UTM))
    assert found.covered == pytest.approx(1 / geodesic_km2(area), rel=0.01)
    assert any("99.4% of the request lies in no window" in text for text in doubts_about(found))
    found = costs(area, NoopPartitioner(), GridPartitioner(128, overlap_size=64, **UTM))
    # Cells of 128 are 256 wide: inside, every place lies in four.
    assert found.overlaid is not None
    assert 3 < found.overlaid < 4
    assert any("a place is computed 3" in text for text in doubts_about(found))


def test_windows_that_several_partitions_need_are_counted_once() -> None:
    # Two cells of a degree, and one window across their border.
    found = costs(box(2.99, 45, 3.01, 45.01), GridPartitioner(1), GridPartitioner(4096, **UTM))
    assert (found.partitions, found.windows, found.shared) == (2, found.windows, found.windows)
    texts = " ".join(doubts_about(found))
    assert "larger partitions would share less" in texts
    assert "times the area of the request" in texts


def test_points_have_no_area_and_no_share() -> None:
    found = costs(Point(3, 45), NoopPartitioner(), FixedWindowPartitioner(32, **UTM))
    assert (found.requested_km2, found.covered, found.slivers) == (0, None, None)
    assert doubts_about(found) == ()
    assert "× the request" not in repr(found)


def test_slivers_are_found() -> None:
    # A strip of 2 m in windows of 640 m.
    found = costs(box(3.1, 45, 3.3, 45.00002), NoopPartitioner(), GridPartitioner(64, **UTM))
    assert found.slivers == found.windows > 20
    assert any("slivers" in text for text in doubts_about(found))


def test_good_settings_raise_no_doubts() -> None:
    assert doubts_about(costs(box(3.1, 45, 3.3, 45.1), NoopPartitioner(), GridPartitioner(64, **UTM))) == ()


def test_many_windows_are_pointed_out() -> None:
    many = PlanCosts(partitions=1, windows=100_001, shared=0, pixels=1, requested_km2=1, windows_km2=1)
    assert "100,001 windows" in doubts_about(many)[0]


# ---- imagery ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (layer(), 100 * 3 * 2),
        (layer(5, "float32", max_matches=4), 100 * 5 * 4 * 4),
        (layer(1, "uint8", band_set={"zoom_offset": -1}), 25),
        (layer(1, "uint8", band_set={"zoom_offset": 1}), 400),
        (layer(2, "uint8", band_set={"spatial_size": [3, 4]}), 24),
        (layer(1, "uint8", max_matches=5, period_duration="30d"), 500),
        (layer(1, "uint8", max_matches=50, period_duration="30d"), 1200),
        (layer(1, "uint8", max_matches=5, space_mode="SINGLE_COMPOSITE"), 100),
    ],
)
def test_imagery_is_pixels_bands_bytes_and_images(one: LayerConfig, expected: int) -> None:
    assert imagery_volume([((0, 0, 20, 5), YEAR)], {"a": one}).total_bytes == expected


def test_layers_without_a_source_cost_nothing_and_assumptions_are_said() -> None:
    label = LayerConfig.model_validate({"type": "raster", "band_sets": [{"bands": ["x"], "dtype": "uint8"}]})
    vector = LayerConfig.model_validate({"type": "vector", "data_source": {"class_path": SOURCE}})
    found = imagery_volume(
        [((0, 0, 10, 10), YEAR), ((0, 0, 10, 10), None)], {"s2": layer(max_matches=2), "label": label, "roads": vector}
    )
    assert found.total_bytes == 2 * 100 * 3 * 2 * 2
    assert found.assumptions == ("s2: 3 bands of uint16, 2 images a window", "roads: vector, not counted")


def test_time_offset_and_duration_of_a_source_count() -> None:
    raw = layer(1, "uint8", max_matches=50, period_duration="30d").model_dump(mode="json")
    raw["data_source"] |= {"duration": "90d"}
    assert imagery_volume([((0, 0, 10, 10), YEAR)], {"a": LayerConfig.model_validate(raw)}).total_bytes == 300


# ---- refusing --------------------------------------------------------------------------------------------------


def test_what_is_too_much_is_refused_before_it_is_made() -> None:
    request = request_of(box(0.1, 45.1, 2.9, 47.9))
    with pytest.raises(GeometryError, match=r"too many cells .* at most 1,000 more; found 7,840,000"):
        plan(request, GridPartitioner(0.001), GridPartitioner(64, **UTM), max_partitions=1000)
    with pytest.raises(GeometryError, match=r"too many cells .* at most 1,000 more"):
        plan(request, NoopPartitioner(), GridPartitioner(1, **UTM), max_windows=1000)
    with pytest.raises(GeometryError, match=r"more than 20 windows"):
        plan(request, GridPartitioner(1), GridPartitioner(3000, **UTM), max_windows=20)
    kept = GridPartitioner(1)
    plan(request, kept, GridPartitioner(3000, **UTM), max_partitions=1000, max_windows=1000)
    assert kept.max_partitions == 500_000
    many = request_of(*[Point(i / 10, 45) for i in range(30)])
    with pytest.raises(GeometryError, match=r"more than 20 partitions\. Found 30"):
        plan(many, ChunkPartitioner(1), FixedWindowPartitioner(3, **UTM), max_partitions=20)
