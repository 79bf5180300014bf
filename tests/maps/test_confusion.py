from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import scenes
from ipywidgets.widgets import widget as widget_module

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.calibration import Calibration
from olmoearth_nb.evaluation.classes import SCORES, ClassResult, class_scores
from olmoearth_nb.evaluation.regression import RegressionResult
from olmoearth_nb.maps.confusion import ConfusionView, WindowPictures
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.maps.scores import plot_result

MARKUP = "<img src=x onerror=alert(1)>"


def made(matrices: np.ndarray, names: tuple[str, ...]) -> ClassResult:
    window, label, predicted = np.nonzero(matrices)
    count = len(matrices)
    windows = pd.DataFrame(
        {
            "group": "default",
            "name": [f"w{index}" for index in range(count)],
            "labels": matrices.sum(axis=(1, 2)),
            "entropy": 0.1,
            "confidence": 0.5,
        }
    )
    cells = {"window": window, "label": label, "predicted": predicted, "count": matrices[window, label, predicted]}
    return ClassResult(
        name="cover",
        kind="segmentation",
        windows=windows,
        classes=names,
        cells=pd.DataFrame(cells),
        scores=pd.DataFrame(class_scores(matrices.sum(axis=0)).T, columns=list(SCORES)),
        calibration=Calibration(np.full(10, 3), np.linspace(0, 2.5, 10), np.full(10, 1)),
    )


@pytest.fixture
def pictures(tmp_path: Path) -> WindowPictures:
    config = scenes.raster_dataset_config()
    dataset = scenes.write_dataset(tmp_path, config)
    windows = [
        scenes.add_window(dataset, f"w{i}", (i * 8, 0, i * 8 + 8, 8), layers=("scene", "label") if i else ())
        for i in range(15)
    ]
    return WindowPictures(
        dataset=dataset,
        windows={(window.group, window.name): window for window in windows},
        labels=LabelView(layer="label", nodata=255),
    )


@pytest.fixture
def view(pictures: WindowPictures) -> Iterator[ConfusionView]:
    matrices = np.zeros((15, 3, 3), dtype=int)
    matrices[:, 0, 0] = 50
    matrices[:, 1, 0] = np.arange(15)
    view = ConfusionView(made(matrices, ("water", MARKUP, "field")), pictures)
    yield view
    view.close()


def buttons(view: ConfusionView) -> list[str]:
    return [entry.children[-1].tooltip for entry in view.list.children[1].children]


def test_a_click_on_a_cell_lists_its_windows_and_a_click_on_one_selects_it(view: ConfusionView) -> None:
    cell = view.cells[MARKUP, "water"]
    assert cell.description == "105"
    assert view.cells[MARKUP, "field"].disabled
    cell.click()
    assert view.cell == (MARKUP, "water")
    assert buttons(view) == [f"w{i}" for i in range(14, 2, -1)]  # twelve of the fourteen, the largest first
    view.list.children[2].click()
    assert buttons(view)[-1] == "w1"
    entry = view.list.children[1].children[1]
    image, button = entry.children
    assert bytes(image.value).startswith(b"\x89PNG")
    assert button.description == "13"
    button.click()
    assert view.selected == "w13"
    assert "13 of 63 labels wrong" in view.detail.children[0].value
    assert "data:image/png;base64," in view.detail.children[1].value
    assert view.message.value == ""


def test_code_can_set_what_a_click_sets(view: ConfusionView) -> None:
    view.cell = ("water", "water")
    assert len(view.behind) == 15
    # A window without imagery has no thumbnail but can be chosen.
    view.selected = "w0"
    assert len(view.detail.children) == 1
    for name, value, told in (("cell", ("lake", "water"), "no such class"), ("selected", "w99", "no such window")):
        with pytest.raises(UsageError, match=told):
            setattr(view, name, value)
    view.cell = None
    assert len(view.behind) == 0
    assert "Click on a cell" in view.list.children[0].value


def test_names_are_never_markup(view: ConfusionView) -> None:
    view.cell = (MARKUP, "water")
    view.selected = "w5"
    shown = [one.value for one in view._owned.values() if isinstance(one, ipywidgets.HTML)]
    assert any("&lt;img" in text for text in shown)
    assert all("<img src=x" not in text for text in shown)


def test_pictures_stand_for_it_and_it_ends_without_a_trace(pictures: WindowPictures) -> None:
    before = set(widget_module._instances)
    matrices = np.ones((3, 2, 2), dtype=int)
    view = ConfusionView(made(matrices, ("a", "b")), pictures)
    assert len(view.static().axes) == 2
    view.cell, view.selected = ("a", "b"), "w2"
    assert [ax.get_title(loc="left") for ax in view.static().axes][:2] == ["scene: B3, B2, B1", "label: category"]
    assert set(view._repr_mimebundle_()) >= {"text/plain", "image/png"}
    assert "a called b, window w2" in repr(view)
    view.close()
    assert set(widget_module._instances) == before


def test_many_classes_are_a_list_of_mistakes(pictures: WindowPictures) -> None:
    matrices = np.zeros((2, 20, 20), dtype=int)
    matrices[:, 3, 4], matrices[:, 7, 1] = 5, 9
    view = ConfusionView(made(matrices, tuple(f"c{i}" for i in range(20))), pictures)
    chooser = view.root.children[0].children[0]
    assert [label for label, _ in chooser.options[1:]] == ["c7 called c1: 18", "c3 called c4: 10"]
    chooser.value = ("c3", "c4")
    assert view.cell == ("c3", "c4")
    assert len(plot_result(view.result).axes[0].texts) == 0
    view.close()


def test_measurements_are_drawn_against_their_labels() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(50, 2))
    sums = pd.DataFrame(np.ones((3, 6)), columns=["n", "error", "absolute", "squared", "label", "label_squared"])
    windows = pd.DataFrame({"group": "g", "name": ["a", "b", "c"], "labels": 1})
    errors = {"mae": 1.0, "rmse": 1.0, "bias": 1.0, "r2": 0.5}
    result = RegressionResult(name="h", kind="regression", windows=windows, sums=sums, errors=errors, pairs=pairs)
    left, right = plot_result(result).axes
    assert np.allclose(left.collections[0].get_offsets(), pairs)
    assert np.allclose(right.collections[0].get_offsets()[:, 1], pairs[:, 1] - pairs[:, 0])
    with pytest.raises(UsageError, match="no picture"):
        plot_result(replace(result, labelled=False))
