"""A Jupyter-first kit for OlmoEarth Run projects: every step alone, every result to look at.

Public names are imported when they are first used (PEP 562), so that ``import olmoearth_nb`` is fast and brings neither
torch nor a map library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from olmoearth_nb.bundles import bundle_project, unbundle, verify_bundle
    from olmoearth_nb.config import Project
    from olmoearth_nb.config.single_file import convert_project
    from olmoearth_nb.config.upgrade import upgrade_project
    from olmoearth_nb.errors import OlmoEarthError
    from olmoearth_nb.labels.annotations import make_annotations
    from olmoearth_nb.legend import Legend
    from olmoearth_nb.maps.preview import preview
    from olmoearth_nb.maps.widgets.drawer import draw_request
    from olmoearth_nb.maps.widgets.new_project import new_project_form
    from olmoearth_nb.newproject.propose import propose_project
    from olmoearth_nb.planning.rates import Rates
    from olmoearth_nb.runners.finetune import OlmoEarthRunFineTuneRunner
    from olmoearth_nb.runners.new_project import new_project
    from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner
    from olmoearth_nb.runners.window_trace import WindowTrace
    from olmoearth_nb.store.materialize import BuildOptions
    from olmoearth_nb.store.migrate import migrate_windows
    from olmoearth_nb.traces.compare import compare

__version__ = "0.1.0"

_HOMES = {
    "BuildOptions": "olmoearth_nb.store.materialize",
    "Legend": "olmoearth_nb.legend",
    "OlmoEarthError": "olmoearth_nb.errors",
    "OlmoEarthRunFineTuneRunner": "olmoearth_nb.runners.finetune",
    "OlmoEarthRunPredictRunner": "olmoearth_nb.runners.predict",
    "Project": "olmoearth_nb.config",
    "Rates": "olmoearth_nb.planning.rates",
    "WindowTrace": "olmoearth_nb.runners.window_trace",
    "bundle_project": "olmoearth_nb.bundles",
    "compare": "olmoearth_nb.traces.compare",
    "convert_project": "olmoearth_nb.config.single_file",
    "draw_request": "olmoearth_nb.maps.widgets.drawer",
    "make_annotations": "olmoearth_nb.labels.annotations",
    "migrate_windows": "olmoearth_nb.store.migrate",
    "new_project": "olmoearth_nb.runners.new_project",
    "new_project_form": "olmoearth_nb.maps.widgets.new_project",
    "preview": "olmoearth_nb.maps.preview",
    "propose_project": "olmoearth_nb.newproject.propose",
    "unbundle": "olmoearth_nb.bundles",
    "upgrade_project": "olmoearth_nb.config.upgrade",
    "verify_bundle": "olmoearth_nb.bundles",
}

__all__ = [
    "BuildOptions",
    "Legend",
    "OlmoEarthError",
    "OlmoEarthRunFineTuneRunner",
    "OlmoEarthRunPredictRunner",
    "Project",
    "Rates",
    "WindowTrace",
    "__version__",
    "bundle_project",
    "compare",
    "convert_project",
    "draw_request",
    "make_annotations",
    "migrate_windows",
    "new_project",
    "new_project_form",
    "preview",
    "propose_project",
    "unbundle",
    "upgrade_project",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
