from __future__ import annotations

from pathlib import Path

import pytest

from olmoearth_nb.cache import cache_folder


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLMOEARTH_NB_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "olmoearth_nb"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "olmoearth_nb"
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", "relative")
    assert cache_folder() == tmp_path / "relative"
