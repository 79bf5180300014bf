from __future__ import annotations

import re

import pytest
from browser.harness import Lab
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

CELL = """
import traced
from olmoearth_nb.runners.window_trace import WindowTrace

trace = WindowTrace(traced.sound_trace(size=64, steps=12))
explorer = trace.explore()
explorer
"""


def hover(output: Locator, title: str, row: int, column: int, *, size: int = 64) -> None:
    frame = output.locator("figure", has_text=title).last.locator(".olmoearth-trace-frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box is not None
    x, y = box["width"] * (column + 0.5) / size, box["height"] * (row + 0.5) / size
    frame.hover(position={"x": x, "y": y})


def test_trace_explorer(lab: Lab) -> None:
    notebook = lab.open([CELL])
    output = notebook.output(0)
    side = output.locator(".olmoearth-trace-side")
    expect(side).to_contain_text("Move the cursor over a picture")
    notebook.shot("page")

    # The values are those of the arrays at that pixel; every picture has the crosshair.
    hover(output, "confidence", 20, 45)
    expect(side).to_contain_text("row 20, column 45")
    notebook.shot("hover", of=output)
    assert notebook.run("print(explorer.pixel)") == "(20, 45)"
    said = notebook.run(
        "o = trace.output(); print(o.classes[int(o.prediction[20, 45])], f'{float(o.confidence[20, 45]):.4g}')"
    )
    name, confidence = said.split()
    expect(side.locator(".olmoearth-trace-facts")).to_contain_text(f"prediction{name}")
    expect(side.locator(".olmoearth-trace-facts")).to_contain_text(f"confidence{confidence}")
    chance = float(notebook.run("print(float(o.probabilities[3, 20, 45]))"))
    bars = side.locator(".olmoearth-trace-bars").nth(1)
    shown = float(bars.locator(".olmoearth-trace-number").nth(3).inner_text())
    assert shown == pytest.approx(chance, rel=1e-3)
    pictures = output.locator(".olmoearth-trace-frame")
    assert output.locator(".olmoearth-trace-cross rect.light").count() == pictures.count()
    title = side.locator(".olmoearth-trace-names span[title^='B08']").first.get_attribute("title")
    values = [float(part) for part in re.findall(r"[\d.]+", (title or "").split(":")[1])]
    assert str(values) == notebook.run("print(trace.inputs['sentinel2'].values[:, 3, 20, 45].tolist())")

    # A click holds the pixel; another one lets it go.
    hover(output, "label", 5, 6)
    expect(side).to_contain_text("row 5, column 6")
    notebook.page.mouse.down()
    notebook.page.mouse.up()
    hover(output, "label", 40, 6)
    expect(side).to_contain_text("row 5, column 6")
    notebook.page.mouse.down()
    notebook.page.mouse.up()
    expect(side).to_contain_text("row 40, column 6")
    notebook.page.keyboard.press("ArrowRight")
    expect(side).to_contain_text("row 40, column 7")

    # Other stages, by the list and by code; the pixel stays.
    output.locator("select").first.select_option(label="transform Normalize")
    expect(output.locator("figure", has_text="B12")).to_be_visible()
    expect(side).to_contain_text("row 40, column 7")
    notebook.shot("transform", of=output)
    notebook.run("explorer.stage, explorer.pixel = 'probabilities', (1, 2)")
    expect(output.locator("figure", has_text="town")).to_be_visible()
    expect(side).to_contain_text("row 1, column 2")
    notebook.run("explorer.panes.pixel = [70, 0]")
    expect(output).to_contain_text("The pixel is not in the window.")
    notebook.run("explorer.close()")


ODD = """
import numpy as np
import traced
from dataclasses import replace
from olmoearth_nb.runners.window_trace import WindowTrace

names = ["<b>bold</b>" if i == 3 else f"class number {i}" for i in range(60)]
window = traced.trace_window(size=11)
data = traced.sound_trace(size=11, steps=12)
rng = np.random.default_rng(0)
logits, label = rng.normal(size=(60, 11, 11)) * 3, rng.integers(0, 60, (11, 11))
output = traced.segmentation_output(logits, label, window, classes=names)
boxes = replace(output, task="boxes", vectors=traced.detections(window))
trace = WindowTrace(replace(data, outputs={"segmentation": output, "boxes <i>": replace(boxes, task="boxes <i>")}))
explorer = trace.explore("probabilities", pixel=(4, 7))
explorer
"""


def test_trace_explorer_of_sixty_classes_in_a_narrow_window(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 700, "height": 1500})
    notebook = lab.open([ODD, "trace"])
    output = notebook.output(0)
    expect(output.locator("figure")).to_have_count(62)
    expect(output).to_contain_text("<b>bold</b>")
    assert output.locator(".olmoearth-trace b", has_text=re.compile("^bold$")).count() == 0
    notebook.shot("narrow", of=output)
    notebook.run("explorer.task, explorer.stage = 'boxes <i>', 'detections'")
    expect(output.locator(".olmoearth-trace-mark").first).to_be_visible()
    notebook.shot("objects", of=output)
    lab.page.set_viewport_size({"width": 1000, "height": 960})
    notebook.shot("middling")
