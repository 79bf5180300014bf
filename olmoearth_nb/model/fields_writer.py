"""Results of several tasks as bands of one raster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rslearn.dataset import Window
from rslearn.train.prediction_writer import RslearnWriter
from rslearn.utils.geometry import PixelBounds

__all__ = ["FieldsWriter"]


class FieldsWriter(RslearnWriter):
    """Writes a band for each of some tasks, where :class:`RslearnWriter` writes the output of one.

    Args:
        fields: Names of the tasks, in the order of the bands.
        rest: See :class:`RslearnWriter`.

    Example:
        >>> FieldsWriter(fields=["before", "after"], output_layer="output").fields
        ('before', 'after')
    """

    def __init__(self, fields: Sequence[str], **rest: Any) -> None:
        super().__init__(**rest)
        self.fields = tuple(fields)

    def process_output(
        self,
        window: Window,
        crop_idx: int,
        num_crops: int,
        cur_bounds: PixelBounds,
        output: Any,
    ) -> None:
        """Takes the outputs of a crop.

        Args:
            window: The window.
            crop_idx: Place of the crop among those of the window.
            num_crops: How many there are.
            cur_bounds: Bounds of the crop in pixels.
            output: Task -> (1, H, W).
        """
        # As one array, which the merger takes like any other; the layer has one type for all bands.
        stacked = np.concatenate([output[name] for name in self.fields])
        super().process_output(window, crop_idx, num_crops, cur_bounds, stacked)
