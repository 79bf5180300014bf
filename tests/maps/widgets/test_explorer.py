from __future__ import annotations

import asyncio
import html
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets.widgets import widget as widget_module

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import GeometryError, MissingDependencyError, UsageError
from olmoearth_nb.maps.layers import LayerKind
from olmoearth_nb.maps.live import LiveView
from olmoearth_nb.maps.widgets.explorer import PartitionExplorer

DATA = Path(__file__).parents[3] / "olmoearth_run_data"


@pytest.fixture
def runner(tmp_path: Path) -> OlmoEarthRunPredictRunner:
    shutil.copytree(DATA / "sample", tmp_path / "sample")
    project = tmp_path / "sample"
    return OlmoEarthRunPredictRunner(project, tmp_path / "scratch", project / "prediction" / "inside.geojson")


@pytest.fixture
def explorer(runner: OlmoEarthRunPredictRunner) -> Iterator[PartitionExplorer]:
    explorer = runner.explore_partitions()
    yield explorer
    explorer.close()


def numbers(explorer: PartitionExplorer) -> str:
    return str(explorer._numbers.value)


def message(view: LiveView) -> str:
    return html.unescape(view.message.value)


def on_map(explorer: PartitionExplorer, kind: LayerKind) -> int:
    return sum(len(layer.shapes) for layer in explorer.map.layers if layer.kind is kind)  # type: ignore[union-attr]


# ---- from settings to a plan -----------------------------------------------------------------------------------


def test_it_starts_from_the_file_with_the_plan_of_the_runner(
    runner: OlmoEarthRunPredictRunner, explorer: PartitionExplorer
) -> None:
    assert (explorer.partition_class, explorer.partition_size) == ("GridPartitioner", 0.05)
    assert (explorer.window_class, explorer.window_size, explorer.window_overlap) == ("GridPartitioner", 128, 0)
    assert (explorer.use_utm, explorer.crs, explorer.resolution) == (True, "EPSG:32617", 30)
    assert explorer.plan == runner.plan()
    assert (on_map(explorer, LayerKind.PARTITIONS), on_map(explorer, LayerKind.WINDOWS)) == (6, 12)
    assert not explorer.change()
    assert not runner.workspace.root.exists()


def test_a_setting_changes_plan_map_and_numbers(explorer: PartitionExplorer) -> None:
    explorer.window_size = 64
    assert explorer.costs.windows == on_map(explorer, LayerKind.WINDOWS) == 36
    assert explorer.costs.pixels == 36 * 64 * 64
    assert explorer.costs.imagery_bytes == 36 * 64 * 64 * 5
    assert "<td>36</td>" in numbers(explorer)
    assert "5 bands of uint8, 1 image a window" in numbers(explorer)
    explorer.partition_class = "NoopPartitioner"
    assert (explorer.costs.partitions, explorer.costs.shared) == (1, 0)
    explorer.window_overlap = 32
    assert "a place is computed" in numbers(explorer)
    explorer.use_utm, explorer.crs = False, "EPSG:3857"
    assert {spec.projection.crs.to_epsg() for spec in explorer.plan.windows} == {3857}
    explorer.resolution = 60
    assert {abs(spec.projection.x_resolution) for spec in explorer.plan.windows} == {60}


def test_the_saved_choice_is_what_the_runner_plans(
    runner: OlmoEarthRunPredictRunner, explorer: PartitionExplorer
) -> None:
    text = runner.project.run_config_path.read_text()
    explorer.partition_size, explorer.window_size, explorer.window_overlap = 0.1, 64, 8
    planned = explorer.plan
    change = explorer.save()
    assert runner.plan() == planned
    after = runner.project.run_config_path.read_text()
    expected = text.replace("grid_size: 0.05", "grid_size: 0.1").replace("grid_size: 128", "grid_size: 64")
    last = "          y_resolution: -30  # negative: north is up\n"
    assert after == expected.replace(last, f"{last}      overlap_size: 8\n")
    added = [line[1:].strip() for line in change.diff.splitlines() if line.startswith("+") and "+++" not in line]
    assert added == ["grid_size: 0.1", "grid_size: 64", "overlap_size: 8"]
    assert runner.project.run_config_path.with_name("olmoearth_run.yaml.bak").read_text() == text
    assert not explorer.change()
    assert "says this already" in explorer.save()._repr_html_()


def test_another_partitioner_gets_a_size_to_begin_with(explorer: PartitionExplorer) -> None:
    explorer.partition_class = "NoopPartitioner"
    explorer.save()
    explorer.reload()
    assert explorer.partition_size == 0
    explorer.partition_class = "GridPartitioner"
    assert explorer.partition_size == 0.25
    explorer.window_class = "ReprojectionPartitioner"
    assert explorer.costs.windows == explorer.costs.partitions


def test_a_class_of_ones_own_is_shown_and_kept(runner: OlmoEarthRunPredictRunner) -> None:
    path = runner.project.run_config_path
    (runner.project.path / "halves_of_mine.py").write_text(
        "from olmoearth_nb.partitioners import GridPartitioner\n\n"
        "class Halves(GridPartitioner):\n"
        "    def __init__(self, label: str):\n"
        "        super().__init__(0.05)\n"
    )
    text = path.read_text().replace("olmoearth_nb.partitioners.GridPartitioner", "halves_of_mine.Halves", 1)
    path.write_text(text.replace("grid_size: 0.05", "label: <b>x</b>"))
    explorer = runner.explore_partitions()
    assert explorer.partition_class == "halves_of_mine.Halves"
    note = explorer._inputs["partition"]._note.value
    assert "halves_of_mine.Halves(label=&#x27;&lt;b&gt;x&lt;/b&gt;&#x27;), as it is configured" in note
    explorer.window_size = 64
    explorer.save()
    assert "class_path: halves_of_mine.Halves\n    init_args:\n      label: <b>x</b>" in path.read_text()
    explorer.partition_class = "NoopPartitioner"
    assert explorer.costs.partitions == 1
    explorer.partition_class = "halves_of_mine.Halves"
    assert explorer.costs.partitions == 6
    explorer.close()


# ---- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("window_size", -1, "window_size can't be this. Expected a number above 0; found -1"),
        ("window_size", 0, "a number above 0"),
        ("window_size", float("nan"), "found nan"),
        ("window_overlap", -1, "a number of at least 0"),
        ("resolution", 0, "a number above 0"),
        ("partition_chunk", 0, "at least 1"),
        ("crs", "EPSG:0", "no CRS"),
        ("window_class", "NoopPartitioner", "no such window_class. Expected one of GridPartitioner, Fixed"),
        ("partition_class", "<b>", "no such partition_class"),
    ],
)
def test_what_no_setting_can_be_is_refused(explorer: PartitionExplorer, name: str, value: Any, expected: str) -> None:
    before = explorer.plan
    with pytest.raises(UsageError, match=expected.replace(".", r"\.")):
        setattr(explorer, name, value)
    assert explorer.plan is before


def test_what_leads_to_no_plan_is_said_and_not_saved(explorer: PartitionExplorer) -> None:
    before = explorer._settings.file.text
    explorer.window_size = 0.01
    assert "too many cells" in message(explorer)
    assert "at most 150,000 more" in message(explorer)
    assert "no plan" in numbers(explorer)
    assert on_map(explorer, LayerKind.REQUEST) == 1
    assert on_map(explorer, LayerKind.WINDOWS) == 0
    with pytest.raises(GeometryError, match="too many cells"):
        _ = explorer.plan
    with pytest.raises(GeometryError, match="too many cells"):
        explorer.save()
    assert explorer._settings.file.path.read_text() == before
    assert "no plan" in repr(explorer)
    explorer.window_size = 64
    assert message(explorer) == ""
    assert explorer.costs.windows == 36


def test_a_file_that_changed_is_not_written_over(explorer: PartitionExplorer) -> None:
    explorer.window_size = 64
    path = explorer._settings.file.path
    path.write_text(path.read_text().replace("grid_size: 128", "grid_size: 256"))
    with pytest.raises(UsageError, match="changed since it was read"):
        explorer.save()
    assert "grid_size: 256" in path.read_text()
    explorer.reload()
    assert explorer.window_size == 256


def test_a_configuration_that_gives_no_plan_can_be_mended(runner: OlmoEarthRunPredictRunner) -> None:
    path = runner.project.run_config_path
    path.write_text(path.read_text().replace("grid_size: 0.05", "grid_size: 0.00001"))
    explorer = runner.explore_partitions()
    assert "too many cells" in message(explorer)
    explorer.partition_size = 0.1
    assert explorer.costs.partitions > 0
    explorer.save()
    assert runner.plan().counts.windows == explorer.costs.windows
    explorer.close()


# ---- as a person does it ---------------------------------------------------------------------------------------


def test_sliders_boxes_and_lists_set_traits_and_show_them(explorer: PartitionExplorer) -> None:
    window = explorer._inputs["window"]
    window.size.slider.value -= 2
    assert explorer.window_size == window.size.box.value == 64
    window.size.box.value = 100
    assert explorer.window_size == 100
    explorer.window_size = 200
    assert window.size.box.value == 200
    window.size.box.value = -5
    assert "can't be this" in message(explorer)
    assert explorer.window_size == window.size.box.value == 200
    window.use_utm.value = False
    assert explorer.use_utm is False
    window.crs.value = "nonsense"
    assert "no CRS" in message(explorer)
    assert window.crs.value == explorer.crs == "EPSG:32617"
    explorer._inputs["partition"].partitioner.value = "ChunkPartitioner"
    assert explorer.partition_class == "ChunkPartitioner"
    assert explorer._inputs["partition"]._rows["size"].layout.display == "none"
    explorer._inputs["partition"].chunk.value = 3
    assert explorer.partition_chunk == 3


def test_the_button_asks_before_it_writes(explorer: PartitionExplorer) -> None:
    text = explorer._settings.file.text
    explorer._write.click()
    assert "says this already" in message(explorer)
    explorer.window_size = 64
    explorer._write.click()
    assert "grid_size: 64" in explorer._diff.value
    assert explorer._settings.file.path.read_text() == text
    explorer._cancel.click()
    assert explorer._diff.value == ""
    explorer._write.click()
    explorer.window_size = 32
    assert explorer._diff.value == ""  # what was asked is not what would be written
    explorer._write.click()
    explorer._write.click()
    assert "Written to olmoearth_run.yaml" in message(explorer)
    assert explorer._settings.file.path.read_text() == text.replace("grid_size: 128", "grid_size: 32")


def test_values_that_follow_each_other_are_planned_once(explorer: PartitionExplorer) -> None:
    made: list[object] = []
    plans = explorer._make_plan

    def counted(strategies: Any) -> Any:
        made.append(strategies)
        return plans(strategies)

    explorer._make_plan = counted

    async def drag() -> None:
        for size in (120, 110, 100, 90):
            explorer.window_size = size
        assert not made
        await asyncio.sleep(0.5)
        assert len(made) == 1
        explorer.window_size = 64
        assert explorer.costs.windows == 36  # asked for before the pause is over
        await asyncio.sleep(0.3)
        assert len(made) == 2

    asyncio.run(drag())


# ---- faces, speed, end -----------------------------------------------------------------------------------------


def test_it_has_a_picture_and_a_text(explorer: PartitionExplorer) -> None:
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == "PartitionExplorer of sample: 6 partitions, 12 windows, 196,608 pixels"
    axes = explorer.static().axes[0]
    assert "6 partitions, 12 windows, 196,608 pixels" in (axes.get_title(), axes.get_title(loc="left"))


def test_a_thousand_windows_are_there_at_once(explorer: PartitionExplorer) -> None:
    for size in (10.0, 10.5, 10.0):
        explorer.window_size = size
        assert explorer.costs.windows > 1000


def test_many_windows_are_a_picture_and_still_found(explorer: PartitionExplorer) -> None:
    explorer.window_size = 4
    assert explorer.costs.windows > 7000
    assert type(explorer.map.map.layers[-2]).__name__ == "ImageOverlay"
    explorer.map.click(-78.7, 35.75)
    assert explorer.map.selected in {spec.name for spec in explorer.plan.windows}
    explorer.window_size = 64
    assert explorer.map.selected is None
    assert type(explorer.map.map.layers[-2]).__name__ == "GeoJSON"


def test_closing_frees_all_widgets(runner: OlmoEarthRunPredictRunner) -> None:
    before = set(widget_module._instances)
    explorer = runner.explore_partitions()
    explorer.window_size = 64
    explorer.window_class = "FixedWindowPartitioner"
    explorer._write.click()
    explorer.close()
    assert set(widget_module._instances) == before


def test_without_ipywidgets_it_says_what_to_install(
    runner: OlmoEarthRunPredictRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(MissingDependencyError, match="ipywidgets"):
        runner.explore_partitions()
