"""Which windows a prediction that was cut off had before it, so that the next one goes on with the same batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from olmoearth_nb.files import hash_json, read_json, write_json
from olmoearth_nb.store.windows import WindowKey

__all__ = ["Unfinished"]


class Unfinished:
    """A note of what was predicted when a prediction of some windows began; it is there until that ends.

    The last bits of a result depend on the batch that it is computed in; what was predicted before is in none.

    Args:
        state: Folder of the scratch's state.
        windows: All windows of the prediction, whatever state they are in.
    """

    def __init__(self, state: Path, windows: Iterable[WindowKey]) -> None:
        self._path = state / f"predicting_{hash_json(sorted(windows))[:16]}.json"

    def predicted_before(self, predicted: Collection[WindowKey]) -> set[WindowKey]:
        """Windows that had their output when this prediction began for the first time.

        Args:
            predicted: Windows that have it now.
        """
        if self._path.exists():
            return {(group, name) for group, name in read_json(self._path)}.intersection(predicted)
        write_json(self._path, sorted(predicted))
        return set(predicted)

    def end(self) -> None:
        """Nothing is left to go on with."""
        self._path.unlink(missing_ok=True)
