from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from config_project import ProjectFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    for name in ("NUM_WORKERS", "WANDB_PROJECT", "WANDB_NAME", "WANDB_ENTITY", "DATASET_PATH"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "project"
    path.mkdir()
    return ProjectFolder(path)


@pytest.fixture
def published() -> Callable[[str], Path]:
    """The folder of a published project; skips where those are not."""

    def find(name: str) -> Path:
        path = Path(__file__).parents[2] / ".." / "shared" / "projects" / name
        if not path.is_dir():
            pytest.skip("published projects are not beside the checkout")
        return path.resolve()

    return find
