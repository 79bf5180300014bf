"""Linked pictures of a trace with a crosshair, and what is known of the pixel under it: a small widget of our own.

Its JavaScript comes with the package. Imported when an explorer is made. The browser moves the crosshair at once and
asks for the values of one pixel at a time, the latest one.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

__all__ = ["TracePanes"]

_JS = Path(__file__).with_name("js")


class TracePanes(anywidget.AnyWidget):
    """Pictures of one window beside each other, and the values of a pixel.

    Attributes:
        pictures: Of each its ``title``, ``caption``, ``src`` (a data URI) and ``marks``.
        charts: Bars and lines of the stage itself.
        legends: What colours mean: classes, or a range.
        shape: Height and width of the window in pixels.
        tall: Height of a picture as a multiple of its width.
        pixel: Row and column; empty for none.
        values: What is known of a pixel, see :class:`olmoearth_nb.maps.traced_pixel.PixelValues`.
    """

    _esm = _JS / "trace.js"
    _css = _JS / "trace.css"

    pictures = traitlets.List(traitlets.Dict()).tag(sync=True)
    charts = traitlets.List(traitlets.Dict()).tag(sync=True)
    legends = traitlets.List(traitlets.Dict()).tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)
    tall = traitlets.Float(1.0).tag(sync=True)
    pixel = traitlets.List(traitlets.Int()).tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
