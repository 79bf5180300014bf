"""How the panel of a map looks and behaves: a small widget of our own, whose JavaScript comes with the package.

Imported when a map is made.
"""

from __future__ import annotations

from pathlib import Path

import anywidget

__all__ = ["PanelManners"]

_FILES = Path(__file__).with_name("js")


class PanelManners(anywidget.AnyWidget):
    """Shows nothing; scrolling the panel it lies in does not zoom the map below."""

    _esm = _FILES / "panel.js"
    _css = _FILES / "panel.css"
