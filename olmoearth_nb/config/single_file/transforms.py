"""What is done to inputs on their way to the encoder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from olmoearth_nb.config.single_file.heads import Head
from olmoearth_nb.config.single_file.network import Normalize, RandomFlip, ToDecibels, Transform
from olmoearth_nb.config.single_file.observed import MODALITIES

__all__ = ["Transforms"]

_SENTINEL1 = "sentinel1_rtc"


@dataclass(frozen=True)
class Transforms:
    """Transforms as rslearn has them.

    Attributes:
        modalities: Keys of the modalities.
        heads: The tasks, by name.
    """

    modalities: tuple[str, ...]
    heads: tuple[tuple[str, Head], ...]

    def configured(self, transforms: Iterable[Transform]) -> list[dict[str, Any]]:
        """What an encoder needs always, and then some transforms.

        Args:
            transforms: Of the file. What comes always is not done twice where it is among them.
        """
        always = [self._decibels()] if _SENTINEL1 in self.modalities else []
        flips = [self._flip(one) for one in transforms if isinstance(one, RandomFlip)]
        return [*always, self._normalize(), *flips]

    @staticmethod
    def repeated(transforms: Iterable[Transform]) -> list[int]:
        """Places of transforms that come anyway.

        Args:
            transforms: Of the file.
        """
        return [index for index, one in enumerate(transforms) if isinstance(one, Normalize | ToDecibels)]

    @property
    def _names(self) -> list[str]:
        return [MODALITIES[key].name for key in self.modalities]

    def _decibels(self) -> dict[str, Any]:
        arguments = {"selectors": [MODALITIES[_SENTINEL1].name]}
        return {"class_path": "rslearn.train.transforms.sentinel1.Sentinel1ToDecibels", "init_args": arguments}

    def _normalize(self) -> dict[str, Any]:
        bands = {MODALITIES[key].name: list(MODALITIES[key].bands) for key in self.modalities}
        arguments = {"band_names": bands}
        return {"class_path": "rslearn.models.olmoearth_pretrain.norm.OlmoEarthNormalize", "init_args": arguments}

    def _flip(self, flip: RandomFlip) -> dict[str, Any]:
        labels = [
            f"target/{f'{name}/' if len(self.heads) > 1 else ''}{part}"
            for name, head in self.heads
            if head.target is not None
            for part in (head.target, "valid")
        ]
        arguments = {
            "image_selectors": [*self._names, *labels],
            "horizontal": flip.x,
            "vertical": flip.y,
            # A prediction has no labels to flip.
            "skip_missing": True,
        }
        return {"class_path": "rslearn.train.transforms.flip.Flip", "init_args": arguments}
