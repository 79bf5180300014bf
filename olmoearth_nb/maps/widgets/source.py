"""Where a browser of windows gets what it shows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rslearn.dataset import Dataset, Window

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import StorageError, UsageError
from olmoearth_nb.maps.detail import WindowDetail, read_detail, read_values
from olmoearth_nb.maps.imagery import ImageryView
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.store.windows import WindowKey

__all__ = ["DatasetSource", "WindowSource"]


class WindowSource(Protocol):
    """What is known of windows beyond their table."""

    def detail(self, key: WindowKey) -> WindowDetail:
        """All layers of a window.

        Args:
            key: Its group and name.
        """

    def classes(self, keys: Sequence[WindowKey]) -> Iterator[str | None]:
        """The class that most of the label of each window has (or of its prediction), None where there is none.

        Args:
            keys: Group and name of each.
        """


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """Windows of a dataset.

    Attributes:
        dataset: The dataset.
        labels: Which labels; none if None.
        prediction: Which prediction; none if None.
        view: Which imagery, and how; if None, each layer of imagery in its natural colours.
    """

    dataset: Dataset
    labels: LabelView | None = None
    prediction: LabelView | None = None
    view: ImageryView | None = None

    def window(self, key: WindowKey) -> Window:
        """A window, read from the dataset.

        Args:
            key: Its group and name.

        Raises:
            UsageError: If there is no such window.
            StorageError: If it can't be read.
        """
        group, name = key
        with foreign_code(StorageError, "The window can't be read", where=f"window {group}/{name}"):
            found: list[Window] = self.dataset.load_windows(groups=[group], names=[name])
        if not found:
            raise UsageError("The dataset has no such window.", where=str(self.dataset.path), found=f"{group}/{name}")
        return found[0]

    def detail(self, key: WindowKey) -> WindowDetail:
        """All layers of a window.

        Args:
            key: Its group and name.

        Raises:
            OlmoEarthError: If there is no such window, or it can't be read.
        """
        window = self.window(key)
        return read_detail(self.dataset, window, labels=self.labels, prediction=self.prediction, view=self.view)

    def classes(self, keys: Sequence[WindowKey]) -> Iterator[str | None]:
        """The class that most of the label of each window has, or of its prediction where it has no label.

        Args:
            keys: Group and name of each.

        Raises:
            OlmoEarthError: If a label can't be read.
        """
        for key in keys:
            window = self.window(key)
            yield read_values(self.dataset, window, labels=self.labels, prediction=self.prediction).majority
