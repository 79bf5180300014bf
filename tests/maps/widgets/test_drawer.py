from __future__ import annotations

import html
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import shapely
from ipywidgets.widgets import widget as widget_module
from PIL import Image
from shapely.geometry import LineString, Point, box, mapping

import olmoearth_nb
from olmoearth_nb import OlmoEarthRunPredictRunner, Project, draw_request
from olmoearth_nb.errors import ProjectError, UsageError
from olmoearth_nb.geojson import feature_shape, read_request
from olmoearth_nb.maps.layers import LayerKind
from olmoearth_nb.maps.widgets.drawer import RequestDrawer

DATA = Path(__file__).parents[3] / "olmoearth_run_data"
AREA = box(-78.72, 35.74, -78.65, 35.80)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(DATA, tmp_path / "data")
    return tmp_path / "data" / "sample"


@pytest.fixture
def drawer(project: Path) -> Iterator[RequestDrawer]:
    drawer = draw_request(project, "here")
    yield drawer
    drawer.close()


def drawn(shape: shapely.Geometry, **properties: Any) -> dict[str, Any]:
    """What Geoman says of a shape."""
    return {
        "type": "Feature",
        "geometry": json.loads(json.dumps(mapping(shape))),
        "properties": {"style": {"color": "#123456"}, "type": "polygon", **properties},
    }


def message(drawer: RequestDrawer) -> str:
    return html.unescape(drawer.message.value)


# ---- saving ----------------------------------------------------------------------------------------------------


def test_a_saved_request_is_what_was_drawn_and_can_be_planned(project: Path, drawer: RequestDrawer) -> None:
    drawer.features = [AREA, Point(-78.6, 35.76)]
    drawer.start, drawer.end = "2000-03-02", datetime(2000, 3, 9, 12, tzinfo=timezone(timedelta(hours=2)))
    drawer.properties = {"farm": 3}
    assert drawer.path is None
    path = drawer.save()
    assert path == drawer.path == project / "prediction" / "here.geojson"
    area, point = read_request(path).features
    assert feature_shape(area).equals(AREA)
    assert feature_shape(point).equals(Point(-78.6, 35.76))
    assert area.properties is not None
    assert area.properties.model_dump() == {
        "oe_start_time": datetime(2000, 3, 2, tzinfo=UTC),
        "oe_end_time": datetime(2000, 3, 9, 10, tzinfo=UTC),
        "farm": 3,
    }
    runner = OlmoEarthRunPredictRunner(project, project.parent / "scratch", drawer.path)
    assert runner.plan().counts.windows > 1
    assert "1 polygon and 1 point, " in repr(drawer)
    assert "saved as" in repr(drawer)


def test_times_are_those_of_the_other_requests_at_first(drawer: RequestDrawer) -> None:
    assert (drawer.start, drawer.end) == (datetime(2000, 3, 1, tzinfo=UTC), datetime(2000, 5, 1, tzinfo=UTC))
    assert drawer._start.value == datetime(2000, 3, 1)


def test_a_file_is_replaced_only_after_a_word(drawer: RequestDrawer) -> None:
    drawer.features = [AREA]
    assert drawer._replace.layout.display == "none"
    drawer.save()
    assert drawer._replace.layout.display == "flex"
    drawer.features = [Point(-78.6, 35.76)]
    before = drawer.target.read_text()
    with pytest.raises(UsageError, match=r"here\.geojson: There is a request of this name\..*overwrite=True"):
        drawer.save()
    drawer._button.click()
    assert "There is a request of this name" in message(drawer)
    assert drawer.target.read_text() == before
    drawer._replace.value = True
    drawer._button.click()
    assert "Saved as" in message(drawer)
    assert len(read_request(drawer.target).features) == 1
    drawer.features = [AREA, AREA]
    drawer.save(overwrite=True)
    assert len(read_request(drawer.target).features) == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"features": []}, "nothing to request yet"),
        ({"start": None}, "no time range. Expected a start and an end"),
        ({"start": "2001-01-01", "end": "2000-01-01"}, "ends before it starts. Found 2001-01-01"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_written(
    drawer: RequestDrawer, settings: dict[str, Any], expected: str
) -> None:
    drawer.features = [AREA]
    for name, value in settings.items():
        setattr(drawer, name, value)
    with pytest.raises(UsageError, match=expected.replace(".", r"\.")):
        drawer.save()
    assert not drawer.target.exists()
    assert list(drawer.target.parent.glob(".*")) == []


def test_drawings_beyond_the_antimeridian_are_brought_back(drawer: RequestDrawer) -> None:
    drawer.features = [box(179.9, 10, 180.1, 10.1), box(-200.2, 10, -200.1, 10.1)]
    first, second = (feature_shape(one) for one in read_request(drawer.save()).features)
    assert first.bounds == pytest.approx((-180, 10, 180, 10.1))
    assert first.area == pytest.approx(0.02)
    assert second.bounds == pytest.approx((159.8, 10, 159.9, 10.1))


# ---- what is set -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2024, 2, 3), datetime(2024, 2, 3, tzinfo=UTC)),
        (datetime(2024, 2, 3, 4, 5), datetime(2024, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-02-03T04:05:06Z", datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("2024-02-03T04:05+02:00", datetime(2024, 2, 3, 2, 5, tzinfo=UTC)),
        ("", None),
    ],
)
def test_times_in_any_form(drawer: RequestDrawer, value: object, expected: datetime | None) -> None:
    drawer.start = value
    assert drawer.start == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("start", "yesterday", "This is no time. Expected 2024-02-24 or"),
        ("start", 2024, "This is no time"),
        ("name", "../x", "No request can be called this"),
        ("name", "", "No request can be called this"),
        ("name", ".hidden", "No request can be called this"),
        ("name", "x" * 300, "No request can be called this"),
        ("features", [LineString([(0, 0), (1, 1)])], "can't be requested. Expected a polygon or a point"),
        ("features", [shapely.Polygon()], "it is empty"),
        ("features", ["x"], "can't be requested"),
        ("features", [{"type": "Polygon", "coordinates": [[["a", 1]]]}], "The coordinates make no geometry"),
        ("features", [{"type": "Point"}], "it is empty"),
    ],
)
def test_what_can_not_be_is_refused(drawer: RequestDrawer, name: str, value: object, expected: str) -> None:
    before = getattr(drawer, name)
    with pytest.raises(UsageError, match=expected.replace(".", r"\.")):
        setattr(drawer, name, value)
    assert getattr(drawer, name) == before


def test_a_name_may_come_with_its_suffix(drawer: RequestDrawer) -> None:
    drawer.name = "there.geojson"
    assert drawer.target.name == "there.geojson"
    assert drawer._name.value == "there"


def test_a_project_can_be_given_as_folder_object_or_runner(project: Path, tmp_path: Path) -> None:
    request = project / "prediction" / "inside.geojson"
    for given in (str(project), Project(project), OlmoEarthRunPredictRunner(project, tmp_path / "s", request)):
        drawer = draw_request(given)
        assert drawer.target == project / "prediction" / "drawn.geojson"
        drawer.close()
    with pytest.raises(ProjectError, match="The project folder is missing"):
        draw_request(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="No request can be called this"):
        draw_request(project, "a/b")
    assert "draw_request" in olmoearth_nb.__all__


# ---- the mouse -------------------------------------------------------------------------------------------------


def test_what_is_drawn_edited_and_deleted_is_followed(drawer: RequestDrawer) -> None:
    control = drawer._control
    control.data = [drawn(AREA)]
    assert [one["geometry"]["type"] for one in drawer.features] == ["Polygon"]
    assert drawer.features[0]["properties"] == {}
    assert "1 polygon, " in drawer._summary.value
    moved = shapely.affinity.translate(AREA, 0.01)
    control.data = [drawn(moved), drawn(Point(-78.6, 35.7), type="marker")]
    assert shapely.geometry.shape(drawer.features[0]["geometry"]).equals(moved)
    assert len(drawer.features) == 2
    control.data = control.data[1:]
    assert [one["geometry"]["type"] for one in drawer.features] == ["Point"]
    control.data = []
    assert drawer.features == []
    assert "Nothing drawn yet" in drawer._summary.value


def test_properties_of_a_feature_stay_when_it_is_edited(drawer: RequestDrawer) -> None:
    own = {"name": "north", "type": "field", "style": "mine"}
    drawer.features = [{"type": "Feature", "geometry": mapping(AREA), "properties": own}]
    (shown,) = drawer._control.data
    assert shown["properties"]["style"]["color"] == "#d81b60"
    shown = json.loads(json.dumps(shown))
    shown["geometry"] = json.loads(json.dumps(mapping(shapely.affinity.translate(AREA, 0.01))))
    shown["properties"] |= {"type": "polygon", "style": {"color": "#000000"}}
    drawer._control.data = [shown]
    assert drawer.features[0]["properties"] == own
    properties = read_request(drawer.save()).features[0].properties
    assert properties is not None
    assert {**own}.items() <= properties.model_dump().items()


def test_inputs_set_traits_and_say_what_is_wrong(drawer: RequestDrawer) -> None:
    drawer._name.value = "there"
    assert drawer.name == "there"
    drawer._name.value = "a/b"
    assert "No request can be called this" in message(drawer)
    assert drawer._name.value == drawer.name == "there"
    drawer._end.value = datetime(2001, 1, 1)
    assert drawer.end == datetime(2001, 1, 1, tzinfo=UTC)
    drawer._properties.value = "farm: 3, kind: wheat"
    assert drawer.properties == {"farm": 3, "kind": "wheat"}
    drawer._properties.value = "farm: [3"
    assert "no properties" in message(drawer)
    assert drawer._properties.value == "farm: 3, kind: wheat"
    drawer._button.click()
    assert "nothing to request yet" in message(drawer)


# ---- context, faces, end ---------------------------------------------------------------------------------------


def test_the_map_shows_where_the_project_is(drawer: RequestDrawer) -> None:
    names = {layer.name: layer.kind for layer in drawer.map.layers}
    assert names == {
        "imagery": LayerKind.IMAGERY,
        "annotation tasks (700)": LayerKind.LABELS,
        "request beyond": LayerKind.REQUEST,
        "request inside": LayerKind.REQUEST,
    }
    lat, lon = drawer.map.map.center
    assert -78.8 < lon < -78.5
    assert 35.6 < lat < 35.9


def test_files_that_can_not_be_read_are_named_and_the_rest_is_shown(project: Path) -> None:
    (project / "prediction" / "aaa.geojson").write_text("{<img src=x>")
    drawer = draw_request(project)
    assert "Not shown: " in message(drawer)
    assert "aaa.geojson" in message(drawer)
    assert "<img" not in drawer.message.value
    assert len(drawer.map.layers) == 4
    assert drawer.start == datetime(2000, 3, 1, tzinfo=UTC)
    drawer.close()


def test_an_empty_project_shows_the_world(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    drawer = draw_request(tmp_path / "empty")
    assert drawer.map.map.zoom < 3
    assert (drawer.start, drawer.end) == (None, None)
    drawer.features, drawer.start, drawer.end = [AREA], "2024-01-01", "2024-02-01"
    assert drawer.save().exists()
    drawer.static()
    drawer.close()


def test_the_picture_shows_what_is_drawn(drawer: RequestDrawer) -> None:
    import base64
    import io

    def pink() -> int:
        bundle = drawer._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("RGB")
        return sum(red > 190 and green < 90 and 70 < blue < 160 for red, green, blue in picture.getdata())

    assert pink() == 0
    drawer.features = [AREA]
    assert pink() > 200


def test_what_is_drawn_far_from_the_project_is_large_on_the_picture(drawer: RequestDrawer) -> None:
    drawer.features = [box(100, 10, 100.1, 10.1)]
    west, east = drawer.static().axes[0].get_xlim()
    assert east - west == pytest.approx(0.1 * 111_320, rel=0.3)


def test_closing_frees_all_widgets(project: Path) -> None:
    before = set(widget_module._instances)
    drawer = draw_request(project)
    drawer.features = [AREA]
    drawer.save()
    drawer.close()
    assert set(widget_module._instances) == before
