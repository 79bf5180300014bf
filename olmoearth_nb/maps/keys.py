"""The legend of a live map as HTML; whatever comes from data is text there, never markup."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.layers import Key, Layer, hex_color, merged_keys

__all__ = ["PANEL", "legend_html"]

PANEL = (
    "background:rgba(255,255,255,0.94);color:#222;padding:5px 10px;border-radius:5px;"
    "box-shadow:0 1px 4px rgba(0,0,0,0.4);font:12px/1.45 var(--jp-ui-font-family,sans-serif);"
    "max-height:340px;max-width:260px;overflow:auto;overflow-wrap:anywhere"
)
"""What panels on the map look like, in dark themes too."""

_STEPS = 9


def legend_html(layers: Sequence[Layer]) -> str:
    """The legends of layers, those on top first, and what is missing from them.

    Args:
        layers: In their order from below.

    Returns:
        HTML that can be folded away; empty if no layer has a legend or a note.
    """
    keys = [_key_html(key) for key in merged_keys([layer.key for layer in reversed(layers) if layer.key is not None])]
    notes = [f'<div style="color:#8a4b00">{html.escape(layer.note)}</div>' for layer in layers if layer.note]
    if not keys and not notes:
        return ""
    return f'<details open class="olmoearth-legend"><summary>Legend</summary>{"".join(keys + notes)}</details>'


def _key_html(key: Key) -> str:
    title = f'<div style="font-weight:600">{html.escape(key.title)}</div>' if key.title else ""
    entries = _scale_html(key.scale) if key.scale is not None else "".join(map(_entry_html, key.entries))
    return f"<div>{title}{entries}</div>"


def _entry_html(entry: tuple[str, tuple[int, int, int]]) -> str:
    label, color = entry
    swatch = f"display:inline-block;width:12px;height:12px;border:1px solid #888;background:{hex_color(color)}"
    return f'<div><span style="{swatch};margin-right:6px;vertical-align:-2px"></span>{html.escape(label)}</div>'


def _scale_html(scale: RangeLegend) -> str:
    values = np.linspace(scale.min_value, scale.max_value, _STEPS)
    stops = ",".join(hex_color((r, g, b)) for r, g, b, _ in scale.colors_of(values).tolist())
    ends = f"<span>{scale.min_value:.4g}</span><span>{scale.max_value:.4g}</span>"
    return (
        f'<div style="width:150px;height:12px;border:1px solid #888;background:linear-gradient(90deg,{stops})"></div>'
        f'<div style="width:150px;display:flex;justify-content:space-between">{ends}</div>'
    )
