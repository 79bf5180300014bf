from __future__ import annotations

import subprocess
import sys

import olmoearth_nb

HEAVY = ("torch", "lightning", "rslearn", "leafmap", "ipyleaflet", "ipywidgets", "geopandas", "rasterio", "matplotlib")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_import_brings_nothing_heavy_and_changes_nothing() -> None:
    code = (
        "import os, sys, logging; before = dict(os.environ), len(logging.root.handlers);"
        "import olmoearth_nb;"
        f"assert (dict(os.environ), len(logging.root.handlers)) == before;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert _run(code).strip() == "[]"


def test_runners_come_without_torch() -> None:
    code = "import sys; from olmoearth_nb import OlmoEarthRunPredictRunner; print('torch' in sys.modules)"
    assert _run(code).strip() == "False"


def test_every_public_name_is_there_and_sorted() -> None:
    assert olmoearth_nb.__all__ == sorted(olmoearth_nb.__all__)
    assert all(hasattr(olmoearth_nb, name) for name in olmoearth_nb.__all__)
    assert set(olmoearth_nb.__all__) <= set(dir(olmoearth_nb))
