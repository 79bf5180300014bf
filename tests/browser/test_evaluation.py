from __future__ import annotations

import pytest
from browser.harness import Lab
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

TRAINED = """
from pathlib import Path
import scenes
from olmoearth_nb import OlmoEarthRunFineTuneRunner

runner = OlmoEarthRunFineTuneRunner(scenes.make_raster_project(Path("project")), Path("scratch"), progress=False)
runner.prepare_labeled_windows(); runner.build_dataset_from_windows(); runner.fine_tune(max_epochs=1)
evaluation = runner.evaluate(None)
evaluation
"""
EXPLORED = """
view = evaluation.explore()
view
"""


def test_a_cell_of_the_confusion_matrix_lists_its_windows(lab: Lab) -> None:
    notebook = lab.open([TRAINED, EXPLORED])
    shown = notebook.output(0)
    expect(shown.get_by_text("bootstrap over 16 windows")).to_be_visible()
    expect(shown.locator("img").first).to_be_visible()
    notebook.shot("evaluation", shown)
    label, predicted = notebook.run(
        "c = evaluation.confusion.stack(); c = c[[a != b for a, b in c.index]]; print(*c.idxmax())"
    ).split()
    count = notebook.run(f"print(evaluation.confusion.loc[{label!r}, {predicted!r}])")
    widget = notebook.output(1)
    widget.locator(f'button[title^="{label} called {predicted}:"]').click()
    expect(widget.get_by_text(f"{label} called {predicted}:").first).to_be_visible()
    assert notebook.run("print(*view.cell)") == f"{label} {predicted}"
    behind = f"evaluation.behind({label!r}, {predicted!r})"
    assert notebook.run(f"print({behind}['count'].sum())") == count
    name = notebook.run(f"print({behind}['name'].iloc[0])")
    expect(widget.locator("img").first).to_be_visible()
    notebook.shot("cell", widget)
    widget.locator(f'button[title="{name}"]').click()
    expect(widget.get_by_text("labels wrong")).to_be_visible()
    assert notebook.run("print(view.selected)") == name
    notebook.shot("window", widget)
