from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from olmoearth_nb.config import importable_from
from olmoearth_nb.config.imports import import_object, import_short
from olmoearth_nb.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in [name for name in sys.modules if name.startswith("oe_custom") and name not in before]:
        del sys.modules[name]


def test_classes_callables_and_components() -> None:
    from rasterio.crs import CRS
    from rslearn.utils.geometry import Projection

    assert import_object("rslearn.utils.geometry.Projection") is Projection
    assert import_object("rasterio.crs.CRS.from_epsg") == CRS.from_epsg
    assert import_object("math.sqrt") is math.sqrt
    assert import_object("NoopSampler").__module__ == "olmoearth_nb.labels.sampling"


def test_a_custom_module_beside_the_project(tmp_path: Path) -> None:
    (tmp_path / "oe_custom_a.py").write_text("import oe_custom_b\nclass Mine:\n    other = oe_custom_b.VALUE\n")
    (tmp_path / "oe_custom_b.py").write_text("VALUE = 7\n")
    with pytest.raises(ConfigError, match=r"The module oe_custom_a is not found\. Looked in PYTHONPATH"):
        import_object("oe_custom_a.Mine")
    before = list(sys.path)
    assert import_object("oe_custom_a.Mine", search_path=[tmp_path]).other == 7
    assert sys.path == before


def test_two_projects_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "oe_custom_same.py").write_text(f"class Mine:\n    name = {name!r}\n")
    one = import_object("oe_custom_same.Mine", search_path=[tmp_path / "one"])
    two = import_object("oe_custom_same.Mine", search_path=[tmp_path / "two"])
    assert (one.name, two.name) == ("one", "two")
    assert import_object("oe_custom_same.Mine", search_path=[tmp_path / "two"]) is two


def test_a_project_hides_nothing_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "shapely.py").write_text("raise RuntimeError('hidden')\n")
    assert import_object("shapely.Point", search_path=[tmp_path]).__module__ == "shapely.geometry.point"


def test_search_path_is_taken_off_after_an_error(tmp_path: Path) -> None:
    before = list(sys.path)
    with pytest.raises(KeyError), importable_from([tmp_path]):
        assert sys.path[-1] == str(tmp_path)
        raise KeyError
    assert sys.path == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import oe_custom_nowhere",
            r"fails: it needs the package oe_custom_nowhere, which is not installed.*pip inst",
        ),
        ("import planetary_computerr", r"it needs the package planetary_computerr"),
        ("from math import nothing", r"Importing oe_custom_bad fails: ImportError: cannot import name 'nothing'"),
        ("def f(:\n", r"Importing oe_custom_bad fails: SyntaxError: "),
        ("1 / 0", r"Importing oe_custom_bad fails: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", r"Importing oe_custom_bad fails: SystemExit: 3"),
        ("", r"The module oe_custom_bad has no Mine"),
        ("class Mime: ...", r"The module oe_custom_bad has no Mine\. Did you mean Mime\?"),
    ],
)
def test_custom_modules_that_fail(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "oe_custom_bad.py").write_text(source)
    with pytest.raises(ConfigError, match=message):
        import_object("oe_custom_bad.Mine", search_path=[tmp_path])


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("GridPartitoner", r"There is no component 'GridPartitoner'.*Did you mean GridPartitioner\?"),
        ("Xyz", r"There is no component 'Xyz'.*Components: .*GridPartitioner"),
        (
            "olmoearth_run.runner.tools.partitioners.grid_partitioner.GridPartitoner",
            r"no counterpart of olmoearth_run\..*GridPartitoner\. Did you mean GridPartitioner\?",
        ),
        ("olmoearth_run.runner.callbacks.a.Writer", r"no counterpart.*Install olmoearth-runner"),
        ("rslearn.utils.geometri.Projection", r"rslearn\.utils has no geometri\.Projection\. Did you mean geometry\?"),
        ("rslearn.utils..Projection", r"There is no component"),
        ("rasterio.crs.CRS.from_epsgg", r"has no from_epsgg\. Did you mean from_epsg\?"),
        ("oe_custom_none.Thing", r"The module oe_custom_none is not found"),
    ],
)
def test_names_that_mean_nothing(dotted: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        import_object(dotted)


def test_the_error_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        import_object("oe_custom_none.Thing", search_path=[tmp_path])
    assert f"Looked in {tmp_path}, PYTHONPATH" in str(caught.value)


def test_short_names_are_those_of_the_parser() -> None:
    import rslearn.utils.geometry

    assert import_short("Projection") is rslearn.utils.geometry.Projection
    with pytest.raises(ConfigError, match=r"There is no class 'Nothing'\. Expected a dotted name"):
        import_short("Nothing")
