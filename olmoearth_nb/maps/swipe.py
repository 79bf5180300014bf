"""The line between the two halves of a comparison: a small widget of our own, whose JavaScript comes with the package.

Imported when a comparison is made. Leaflet's own split control takes tile layers only, and hides one of two pictures.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

__all__ = ["Swipe"]


class Swipe(anywidget.AnyWidget):
    """Cuts the panes of a map's left and right layers at a line that can be moved by mouse, finger and arrow keys.

    Attributes:
        position: Where the line is, 0 (all right) to 1 (all left).
        left: What is seen left of the line.
        right: What is seen right of it.
    """

    _esm = Path(__file__).with_name("js") / "swipe.js"

    position = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    left = traitlets.Unicode().tag(sync=True)
    right = traitlets.Unicode().tag(sync=True)
