from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import geopandas as gpd
import ipywidgets
import numpy as np
import pytest
from browsing import make_windows
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets.widgets import widget as widget_module
from PIL import Image
from shapely import box

from olmoearth_nb.errors import GeometryError, StorageError, UsageError
from olmoearth_nb.maps.detail import WindowDetail
from olmoearth_nb.maps.layers import LayerKind
from olmoearth_nb.maps.widgets.browser import WindowBrowser
from olmoearth_nb.maps.widgets.source import DatasetSource
from olmoearth_nb.store.windows import WindowKey

MARKUP = "<img src=x onerror=alert(1)>"
Made = tuple[gpd.GeoDataFrame, DatasetSource]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_windows(tmp_path_factory.mktemp("windows"))


@pytest.fixture
def browser(made: Made) -> Iterator[WindowBrowser]:
    browser = WindowBrowser(*made)
    yield browser
    browser.close()


class NoSource:
    """Windows of which nothing is known, or whose files are broken."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    def detail(self, key: WindowKey) -> WindowDetail:
        if self.broken:
            raise StorageError(f"The file of {key[1]} is broken: {MARKUP}.")
        return WindowDetail(window=None)  # type: ignore[arg-type]  # there is nothing to draw

    def classes(self, keys: Sequence[WindowKey]) -> Iterator[str | None]:
        return iter([("water", "forest", None)[index % 3] for index in range(len(keys))])


def grid(side: int, **columns: Any) -> gpd.GeoDataFrame:
    cells = [box(x / 50, 60 + y / 50, x / 50 + 0.02, 60.02 + y / 50) for y in range(side) for x in range(side)]
    names = {"name": [f"partition_{i % 7}_{i:020x}" for i in range(side * side)], "group": "default"}
    states = {"state": [("planned", "built", "failed")[i % 3] for i in range(side * side)]}
    return gpd.GeoDataFrame({**names, **states, **columns}, geometry=cells, crs=4326)


def send(browser: WindowBrowser, **message: Any) -> None:
    """What the table's script says."""
    browser._table._handle_custom_msg(message, [])


def click(browser: WindowBrowser, name: str) -> None:
    """A click on the map, in the middle of a window."""
    place = browser._windows.table.set_index("name").geometry[name].centroid
    message = {"event": "interaction", "type": "click", "coordinates": [place.y, place.x]}
    browser.map.map._handle_leaflet_event(browser.map.map, message, [])


def consistent(browser: WindowBrowser) -> None:
    """Map, table, detail and traits say the same."""
    names, selected = browser.names, browser.selected
    assert browser.index == (None if selected is None else names.index(selected))
    assert list(browser.shown["name"]) == names
    table = browser._table
    assert table.total == len(names)
    assert table.current == (-1 if browser.index is None else browser.index)
    assert [row[0] for row in table.rows] == names[table.first : table.first + len(table.rows)]
    assert table.first <= max(table.current, 0) <= table.first + len(table.rows)
    assert browser.map.selected == selected
    (layer,) = [layer for layer in browser.map.layers if layer.kind is LayerKind.WINDOWS]
    assert sorted(layer.about["name"]) == sorted(names)
    if selected is not None:
        assert f"<b>{selected}</b>" in browser._pane.facts.value
        assert f"{browser.index + 1:,} of {len(names):,}" in browser._pane.place.value
    else:
        assert browser._pane.picture.value == b""
    assert browser.message.value == ""


def test_it_opens_with_the_first_window(browser: WindowBrowser) -> None:
    consistent(browser)
    assert (browser.selected, browser.index) == ("w00", 0)
    assert browser._table.columns == ["name", "partition", "split", "state", "class"]
    assert browser._table.rows[2] == ["w02", "partition_0", "train", "predicted", "forest"]
    # The colours of the map.
    assert browser._table.colors[0] == "#0072b2"


def test_map_and_table_select_for_each_other(browser: WindowBrowser) -> None:
    click(browser, "w12")
    consistent(browser)
    assert browser.selected == "w12"
    before = bytes(browser._pane.picture.value)
    assert before.startswith(b"\x89PNG")
    send(browser, kind="pick", row=9)
    consistent(browser)
    assert browser.selected == "w21"
    assert browser._pane.picture.value != before
    (outline,) = browser.map.map.layers[-1].data["features"]
    shape = browser._windows.table.set_index("name").geometry["w21"]
    assert np.allclose(np.array(outline["geometry"]["coordinates"][0])[:, 0].min(), shape.bounds[0])


def test_code_selects_too_and_is_told_what_is_not_there(browser: WindowBrowser) -> None:
    browser.selected = "w33"
    consistent(browser)
    assert browser.index == 15
    browser.step()
    assert browser.selected == "w33"
    browser.step(-2)
    assert browser.selected == "w31"
    browser.index = 0
    browser.step(-1)
    assert browser.selected == "w00"
    browser.selected = None
    consistent(browser)
    browser.step()
    assert browser.selected == "w00"
    with pytest.raises(UsageError, match=r"no such window. Expected a name such as 'w00'; found 'w99'"):
        browser.selected = "w99"
    with pytest.raises(UsageError, match="Expected 0 to 15; found 16"):
        browser.index = 16
    for field in ("partition", "split", "state", "label_class"):
        with pytest.raises(UsageError, match=r"No window has this .*'nothing'"):
            setattr(browser, field, "nothing")
    consistent(browser)


def test_filters_keep_the_selected_window_or_take_the_first(browser: WindowBrowser) -> None:
    browser.selected = "w22"
    browser.state = "predicted"
    consistent(browser)
    assert browser.names == ["w02", "w12", "w22", "w32"]
    assert (browser.selected, browser.index) == ("w22", 2)
    browser.split = "train"
    consistent(browser)
    assert browser.selected == "w02"
    assert browser.map.layers[-1].name == "windows (2 of 16)"
    assert browser.map.layers[-1].key is not None
    assert [label for label, _ in browser.map.layers[-1].key.entries] == ["train (2)"]
    browser.text = "nowhere"
    consistent(browser)
    assert browser.selected is None
    with pytest.raises(UsageError, match="the filters leave no window"):
        browser.index = 0
    browser.text = ""
    assert browser.selected == "w02"
    # To show what the filters hide, they are lifted.
    browser.selected = "w33"
    consistent(browser)
    assert (browser.state, browser.split, browser.index) == (None, None, 15)


def test_the_pickers_of_the_filters_are_the_traits(browser: WindowBrowser) -> None:
    pickers = browser._bar._pickers
    assert [label for label, _ in pickers["state"].options] == [
        "all", "planned (4)", "built (4)", "predicted (4)", "failed (4)",
    ]  # fmt: skip
    pickers["state"].value = "failed"
    assert browser.state == "failed"
    consistent(browser)
    browser.state = None
    assert pickers["state"].value == ""
    browser._bar._text.value = "W1 partition_1"
    assert browser.names == ["w10", "w11", "w12", "w13"]
    assert pickers["partition"].options[1] == ("partition_0 (8)", "partition_0")


def test_the_class_is_that_of_most_of_the_label(browser: WindowBrowser, made: Made) -> None:
    _, source = made
    browser.label_class = "water"
    consistent(browser)
    assert browser.names
    for name in browser.names:
        label = source.detail(("default", name)).label
        assert label is not None
        values, counts = np.unique(label.found.pixels, return_counts=True)
        assert counts[0] == counts.max()
        assert values[0] == 0


def test_classes_of_many_windows_are_read_when_they_are_asked_for() -> None:
    browser = WindowBrowser(grid(20), NoSource())
    assert "class" not in browser._table.columns
    picker, button = browser._bar._pickers["label_class"], browser._bar._classes
    assert (picker.layout.display, button.layout.display) == ("none", "")
    button.click()
    assert (picker.layout.display, button.layout.display) == ("", "none")
    assert browser._table.columns[-1] == "class"
    assert {row[-1] for row in browser._table.rows} == {"water", "forest", ""}
    browser.close()
    browser = WindowBrowser(grid(20), NoSource())
    browser.label_class = "forest"
    assert len(browser.names) == 133
    consistent(browser)
    browser.close()


def test_headings_sort_and_a_third_click_gives_the_order_back(made: Made) -> None:
    table, source = made
    table = table.assign(loss=[1.5 - index / 10 for index in range(16)])
    browser = WindowBrowser(table, source, columns=["loss"], color_by="loss", caption=f"Worst {MARKUP}")
    assert browser._table.columns[:2] == ["name", "loss"]
    assert browser._table.rows[0][1] == "1.5"
    for clicks, first in [(1, "w33"), (2, "w00"), (3, "w00")]:
        send(browser, kind="sort", column="loss")
        assert browser.names[0] == first
        assert (browser._table.sorted_by, browser._table.descending) == (
            ("loss", clicks == 2) if clicks < 3 else ("", False)
        )
        consistent(browser)
    assert "&lt;img" in browser.root.children[0].value
    assert "<span" in browser._pane.facts.value
    browser.close()
    with pytest.raises(UsageError, match="no column 'los'"):
        WindowBrowser(table, source, columns=["los"])


def test_errors_are_shown_under_it_and_never_beside_another_window() -> None:
    browser = WindowBrowser(grid(3), NoSource(broken=True))
    name = browser.names[4]
    browser.selected = name
    assert f"The file of {name} is broken: &lt;img" in browser.message.value
    assert f"<b>{name}</b>" in browser._pane.facts.value
    assert browser._pane.picture.value == b""
    assert browser.root.children[-1] is browser.message
    assert browser.static().axes
    browser.close()


def test_closing_frees_everything_and_nothing_piles_up(made: Made) -> None:
    WindowBrowser(*made).close()  # importing leafmap makes some
    before = set(widget_module._instances)
    browser = WindowBrowser(*made)
    there = len(widget_module._instances)
    for name in [*browser.names, "w00"]:
        browser.selected = name
    assert len(widget_module._instances) == there
    for state in ("failed", "built", None) * 3:
        browser.state = state
    assert len(widget_module._instances) == there
    browser.close()
    assert set(widget_module._instances) == before


def test_text_of_data_is_never_markup(made: Made) -> None:
    table, source = made
    table = table.assign(state=MARKUP, reason=MARKUP, partition=MARKUP, partitions=MARKUP, split=[MARKUP, "b"] * 8)
    before = set(widget_module._instances)
    browser = WindowBrowser(table, source)
    assert "&lt;img" in browser._pane.facts.value
    for key in set(widget_module._instances) - before:
        widget = widget_module._instances[key]
        if isinstance(widget, ipywidgets.HTML):
            assert "<img" not in widget.value
        assert not getattr(widget, "description_allow_html", False)
    browser.close()


def test_its_picture_has_the_map_and_the_detail(browser: WindowBrowser) -> None:
    browser.selected = "w12"
    bundle = browser._repr_mimebundle_()
    assert list(bundle) == ["text/plain", "image/png", "application/vnd.jupyter.widget-view+json"]
    assert bundle["text/plain"] == "WindowBrowser(16 of 16 windows, selected='w12')"
    figure = browser.static()
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[1:6] == ["scene: B3, B2, B1", "label: cover", "output: cover", "difference", "confidence: score"]
    drawn = np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB")).astype(int)  # type: ignore[attr-defined]
    pink = (abs(drawn - (255, 0, 200)) < 30).all(axis=-1)
    assert 50 < np.argwhere(pink)[:, 1].mean() < 400  # the outline is on the map, to the left
    browser.text = "nowhere"
    assert len(browser.static().axes) == 1


@pytest.mark.parametrize("side", [100, 316])
def test_very_many_windows(side: int) -> None:
    table = grid(side)
    before = set(widget_module._instances)
    browser = WindowBrowser(table, NoSource())

    def state() -> int:
        states = (widget_module._instances[key].get_state() for key in set(widget_module._instances) - before)
        return sum(len(json.dumps(one, default=str)) for one in states)

    assert state() < 1_000_000
    name = str(table["name"][side * 7 + 3])
    click(browser, name)
    assert browser.selected == name
    consistent(browser)
    browser.state = "failed"
    browser.state = "built"
    assert state() < 1_000_000
    consistent(browser)
    send(browser, kind="rows", first=3000)
    assert browser._table.first <= 3000 < browser._table.first + len(browser._table.rows)
    assert state() < 1_000_000
    browser.close()


def test_a_table_without_windows_is_refused(made: Made) -> None:
    table, source = made
    with pytest.raises(GeometryError, match="no windows to browse"):
        WindowBrowser(table.iloc[:0], source)


def test_names_of_several_groups_are_told_apart_also_when_filtered(made: Made) -> None:
    table, _ = made
    two = table.iloc[[0, 1]].assign(name="w00", group=["default", "other"], state=["built", "failed"])
    browser = WindowBrowser(two, NoSource())
    assert browser.names == ["default/w00", "other/w00"]
    browser.state = "failed"
    assert browser.selected == browser.map.selected == "other/w00"
    browser.close()


def test_callbacks_of_two_threads_do_not_mix(browser: WindowBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLab has messages of widgets handled by several threads of the kernel."""
    browser._bar._text.value = "nowhere"
    assert browser.selected is None
    show = browser.map.show

    def slowly(layers: Any) -> None:
        show(layers)
        time.sleep(0.2)

    monkeypatch.setattr(browser.map, "show", slowly)
    pickers = browser._bar._pickers
    threads = [
        threading.Thread(target=setattr, args=(widget, "value", value))
        for widget, value in [(browser._bar._text, ""), (pickers["partition"], "partition_2")]
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert (browser.partition, browser.selected, len(browser.names)) == ("partition_2", "w10", 8)
    consistent(browser)


NAMES = [f"w{y}{x}" for y in range(4) for x in range(4)]
ACTIONS = st.one_of(
    st.tuples(st.just("selected"), st.sampled_from([*NAMES, None])),
    st.tuples(st.just("click"), st.sampled_from(NAMES)),
    st.tuples(st.just("pick"), st.integers(0, 20)),
    st.tuples(st.just("step"), st.sampled_from([-1, 1])),
    st.tuples(st.just("partition"), st.sampled_from([None, "partition_0", "partition_3"])),
    st.tuples(st.just("state"), st.sampled_from([None, "failed", "built"])),
    st.tuples(st.just("split"), st.sampled_from([None, "train", "test"])),
    st.tuples(st.just("label_class"), st.sampled_from([None, "water", "forest"])),
    st.tuples(st.just("text"), st.sampled_from(["", "w1", "2 built", "nowhere"])),
    st.tuples(st.just("sort"), st.sampled_from(["name", "state", "class", "nothing"])),
)


@given(st.lists(ACTIONS, max_size=8))
@settings(max_examples=15, deadline=None)
def test_whatever_is_done_map_table_and_detail_agree(made: Made, actions: list[tuple[str, Any]]) -> None:
    browser = WindowBrowser(*made)
    for kind, value in actions:
        if kind in ("pick", "sort"):
            send(browser, kind=kind, **{"row" if kind == "pick" else "column": value})
        elif kind == "click":
            # Where no window is shown, a click selects none.
            click(browser, value)
        elif kind == "step":
            browser.step(value)
        else:
            setattr(browser, kind, value)
        consistent(browser)
        shown = browser.shown
        assert browser.state is None or set(shown["state"]) <= {browser.state}
        assert browser.split is None or set(shown["split"]) <= {browser.split}
        assert browser.label_class is None or set(shown["class"]) <= {browser.label_class}
        assert all(browser.partition in cell.split(", ") for cell in shown["partitions"] if browser.partition)
    browser.close()
