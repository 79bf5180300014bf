from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

import label_files
import pytest
import yaml
from ipywidgets.widgets import widget as widget_module

from olmoearth_nb import Project, new_project_form
from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.widgets.new_project import ProjectForm


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.geojson"
    label_files.points().to_file(path)
    return path


@pytest.fixture
def form(tmp_path: Path, labels: Path) -> Iterator[ProjectForm]:
    form = new_project_form(labels, directory=tmp_path / "mine", encoder="unet")
    yield form
    form.close()


def message(form: ProjectForm) -> str:
    return html.unescape(form.message.value)


def test_it_shows_what_is_proposed_and_why(form: ProjectForm) -> None:
    assert form.proposal.window_size == 16
    assert "16 × 16 pixels" in form._table.value
    assert "points: a small window" in form._table.value
    assert list(form._swatches) == ["field", "forest", "water"]
    assert bytes(form._map.value).startswith(b"\x89PNG")
    assert "not written" in repr(form)


def test_the_button_writes_a_project_that_checks(form: ProjectForm, tmp_path: Path) -> None:
    form._button.click()
    assert form.written.ok
    assert "olmoearth-nb prepare" in message(form)
    found = Project(tmp_path / "mine").check().problems
    assert {one.file for one in found if one.severity == "error"} <= {"checkpoint.ckpt"}
    # A second time there is something.
    form._button.click()
    assert "something at the place" in message(form)
    form.directory = str(tmp_path / "other")
    form._button.click()
    assert (tmp_path / "other" / "model.yaml").exists()


def test_what_is_typed_goes_before_what_is_proposed(form: ProjectForm) -> None:
    form._others["window_size"].value = "32"
    assert form.choices == {"window_size": 32}
    assert form.proposal.window_size == 32
    form._others["split"].value = "0.5, 0.25, 0.25"
    assert form.proposal.split.shares == (0.5, 0.25, 0.25)
    form._others["window_size"].value = ""
    assert form.proposal.window_size == 16
    form._first["task"].value = "regression"
    assert form.proposal.values is not None
    assert form._swatches == {}
    form._first["encoder"].value = "as fits the imagery"
    assert form.encoder is None
    assert form.proposal.encoder.name == "olmoearth-nano"


def test_a_colour_is_chosen_without_reading_anew(
    form: ProjectForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmoearth_nb.maps.widgets.new_project.propose_project", None)
    form._swatches["water"].value = "#010203"
    assert form.choices == {"colors": {"water": "#010203"}}
    assert form.proposal.classes[2].color == (1, 2, 3)
    run = yaml.safe_load((form.write().path / "olmoearth_run.yaml").read_text())
    assert run["inference_results_config"]["classification_fields"][0]["allowed_values"][2]["color"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("window_size", "10", "multiple of 4"),
        ("window_size", "wide", "a number"),
        ("column", "crops", "There is no column 'crops'"),
        ("split", "1, 1, 1", "split"),
        ("start_time", "2024-01-01", "start and an end"),
    ],
)
def test_errors_are_seen_below_and_nothing_can_be_written(form: ProjectForm, name: str, text: str, said: str) -> None:
    form._others[name].value = text
    assert said in message(form)
    if text != "wide":
        assert form.proposal is None
        assert form._button.disabled
    form._others[name].value = ""
    assert form.proposal is not None
    assert message(form) == ""


def test_it_begins_empty_and_takes_a_file_later(tmp_path: Path, labels: Path) -> None:
    form = new_project_form(directory=tmp_path / "mine")
    assert "file of labels" in message(form)
    with pytest.raises(UsageError, match="no labels"):
        form.write()
    form._first["labels"].value = str(tmp_path / "nothing.gpkg")
    assert "missing" in message(form)
    form._first["labels"].value = str(labels)
    assert form.proposal.feature_count == 60
    form.close()


@pytest.mark.parametrize("task", label_files.TASKS)
def test_it_has_a_picture_for_where_no_widget_can_be(tmp_path: Path, task: str) -> None:
    form = new_project_form(label_files.points(), directory=tmp_path / "mine", task=task)
    bundle = form._repr_mimebundle_()
    assert len(bundle["image/png"]) > 4000
    assert "60 features" in bundle["text/plain"]
    form.close()


def test_closing_frees_every_widget(labels: Path) -> None:
    before = set(widget_module._instances)
    form = new_project_form(labels)
    form.task = "regression"
    form.task = "segmentation"
    form.close()
    assert set(widget_module._instances) == before
