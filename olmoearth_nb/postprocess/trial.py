"""A stage of postprocessing tried out on a copy: what was chosen, and what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, get_args

import geopandas as gpd
import pandas as pd

from olmoearth_nb.postprocess.changes import Changes

__all__ = ["STAGES", "Stage", "StageChoice", "StageTrial"]

Stage: TypeAlias = Literal["window", "partition", "dataset"]
"""A stage of postprocessing, ``process_<stage>`` in ``olmoearth_run.yaml``."""

STAGES: tuple[Stage, ...] = get_args(Stage)
"""All stages, in their order."""


@dataclass(frozen=True, kw_only=True)
class StageChoice:
    """What to try.

    Attributes:
        stage: The stage.
        partition: The partition; of the dataset stage, the one to show with its neighbours, or empty for all.
        window: Name of the window, of the window stage.
        component: Class of the postprocessor, as ``olmoearth_run.yaml`` has it.
        arguments: Its ``init_args``.
    """

    stage: Stage
    partition: str = ""
    window: str = ""
    component: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageTrial:
    """What a choice gave.

    Attributes:
        choice: What was tried.
        before: Files that went into the stage -> name of the window or partition that each is of.
        after: Files that it made, in a folder that goes away with this object.
        changes: What is different.
        places: Outlines of the windows or partitions that went into the stage, with their ``name``.
        notes: What was left out, and why.
        folder: Where everything was written.
    """

    choice: StageChoice
    before: Mapping[Path, str]
    after: tuple[Path, ...]
    changes: Changes
    places: gpd.GeoDataFrame
    notes: tuple[str, ...] = ()
    folder: TemporaryDirectory[str]

    @property
    def files(self) -> pd.DataFrame:
        """Files before and after, with their sizes in bytes."""
        rows = [("before", name, path) for path, name in self.before.items()]
        rows += [("after", "", path) for path in self.after]
        cells = [(side, name, path.name, path.stat().st_size) for side, name, path in rows]
        return pd.DataFrame(cells, columns=["side", "of", "file", "bytes"])

    def close(self) -> None:
        """Removes the files that were made."""
        self.folder.cleanup()
