from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from olmoearth_nb.remote.luggage import pack, unpack


@dataclass
class _Job:
    root: Path
    variables: dict[str, str]
    other: Path


def test_paths_are_those_of_the_other_machine() -> None:
    job = _Job(Path("/a/run"), {"DATASET": "/a/run/dataset_0", "note": "of /a/run"}, Path("/a/running/x"))
    found = unpack(
        pack((job, Path("/b/project/m.yaml")), [Path("/a/run"), Path("/b/project")]), [Path("/c"), Path("/d")]
    )
    assert found == (
        _Job(Path("/c"), {"DATASET": "/c/dataset_0", "note": "of /a/run"}, Path("/a/running/x")),
        Path("/d/m.yaml"),
    )
