"""Custom modules: whose they are, what becomes of edits, and how they come into other processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from olmoearth_nb.config import Carried, import_object, importable_from, modules
from olmoearth_nb.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_modules() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in [name for name in sys.modules if name.startswith("oe_own") and name not in before]:
        del sys.modules[name]
    sys.path[:] = path


def _write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_helpers_of_two_projects_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _write(
            tmp_path / name,
            **{f"oe_own_{name}": "import oe_own_helper\nclass Mine:\n    name = oe_own_helper.NAME\n"},
            oe_own_helper=f"NAME = {name!r}\n",
        )
    # As projects beside each other have it: the folder above is on both search paths.
    paths = {name: [tmp_path / name, tmp_path] for name in ("one", "two")}
    assert [import_object(f"oe_own_{name}.Mine", search_path=paths[name]).name for name in ("one", "two", "one")] == [  # type: ignore[attr-defined]
        "one",
        "two",
        "one",
    ]


@pytest.mark.parametrize("regular", [True, False])
def test_packages_of_two_projects_are_told_apart(tmp_path: Path, regular: bool) -> None:
    for name in ("one", "two"):
        _write(
            tmp_path / name,
            oe_own_pkg__sub__part=f"from oe_own_pkg.sub.table import ROWS\nclass Mine:\n    rows = ROWS, {name!r}\n",
            oe_own_pkg__sub__table=(
                "from pathlib import Path\nROWS = Path(__file__).with_name('rows.csv').read_text().splitlines()\n"
            ),
        )
        (tmp_path / name / "oe_own_pkg" / "sub" / "rows.csv").write_text(f"a\n{name}\n")
        if regular:
            _write(tmp_path / name, oe_own_pkg____init__="", oe_own_pkg__sub____init__="")
    for name in ("one", "two", "one"):
        found = import_object("oe_own_pkg.sub.part.Mine", search_path=[tmp_path / name])
        assert found.rows == (["a", name], name)  # type: ignore[attr-defined]


def test_an_edited_module_is_imported_anew_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    _write(tmp_path, oe_own_part="from oe_own_base import NUMBER\nclass Mine:\n    number = NUMBER\n")
    _write(tmp_path, oe_own_base="NUMBER = 1\n")
    first = import_object("oe_own_part.Mine", search_path=[tmp_path])
    assert import_object("oe_own_part.Mine", search_path=[tmp_path]) is first
    _write(tmp_path, oe_own_part="from oe_own_base import NUMBER\nclass Mine:\n    number = NUMBER + 100\n")
    assert import_object("oe_own_part.Mine", search_path=[tmp_path]).number == 101  # type: ignore[attr-defined]


def test_a_folder_that_was_not_there_before_is_looked_into(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with pytest.raises(ConfigError, match="is not found"):
        import_object("oe_own_later.Mine", search_path=[folder])
    assert str(folder) not in modules._seen  # nothing of it is loaded, so that nothing has to be forgotten
    folder.mkdir()
    _write(folder, oe_own_later="class Mine:\n    number = 1\n")
    assert import_object("oe_own_later.Mine", search_path=[folder]).number == 1  # type: ignore[attr-defined]
    assert str(folder) in modules._seen


def test_the_inner_of_two_projects_comes_first(tmp_path: Path) -> None:
    one, two = _write(tmp_path / "one", oe_own_same="NAME = 1"), _write(tmp_path / "two", oe_own_same="NAME = 2")
    before = list(sys.path)
    with importable_from([one, tmp_path]):
        with importable_from([two, tmp_path]):
            assert sys.path == [*before, str(two), str(one), str(tmp_path)]
            import oe_own_same  # type: ignore[import-not-found]  # noqa: F401

            assert sys.modules["oe_own_same"].NAME == 2  # type: ignore[attr-defined]
        assert sys.path == [*before, str(one), str(tmp_path)]
    assert sys.path == before
    assert modules._added == []


_WORKER = """
    import pickle, sys
    from pathlib import Path
    made = pickle.loads(Path(sys.argv[1]).read_bytes())
    print(made.value[0].describe())
"""


def _fresh(code: str, *arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_a_component_is_unpickled_in_a_new_process_that_knows_nothing(tmp_path: Path) -> None:
    project = _write(
        tmp_path / "project",
        oe_own_part="""
from olmoearth_run.runner.tools.partitioners.partition_interface import PartitionInterface
import oe_own_helper

class Mine(PartitionInterface):
    def describe(self):
        import oe_own_late
        return oe_own_helper.NAME, oe_own_late.NAME, self.use_utm
""",
        oe_own_helper="NAME = 'helper'\n",
        oe_own_late="NAME = 'late'\n",
    )
    mine = import_object("oe_own_part.Mine", search_path=[project])(use_utm=True)  # type: ignore[operator]
    file = tmp_path / "carried.pkl"
    file.write_bytes(pickle.dumps(Carried([mine], [project])))
    done = _fresh(_WORKER, file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "('helper', 'late', True)"
    # And what is left out here is what it takes: the same bytes alone don't find their module.
    file.write_bytes(pickle.dumps(mine))
    assert "oe_own_part" in _fresh(_WORKER, file).stderr


def test_a_worker_serves_one_project_after_the_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _write(tmp_path / name, oe_own_same=f"import oe_own_helper\nNAME = {name!r} + oe_own_helper.NAME\n")
        _write(tmp_path / name, oe_own_helper=f"NAME = {name.upper()!r}\n")
    done = _fresh(
        """
        import sys
        from pathlib import Path
        from olmoearth_nb.config import make_importable
        root, before = Path(sys.argv[1]), list(sys.path)
        for name in ("one", "two", "two", "one"):
            make_importable([root / name, str(root)])
            import oe_own_same
            print(sys.modules["oe_own_same"].NAME, len(sys.path) - len(before))
        import olmoearth_run.runner.tools.samplers.sampler_interface
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["oneONE 2", "twoTWO 2", "twoTWO 2", "oneONE 2"]


def test_a_module_on_pythonpath_needs_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere", oe_own_part="class Mine:\n    name = 'elsewhere'\n")
    done = _fresh(
        """
        from olmoearth_nb.config import import_object
        print(import_object("oe_own_part.Mine").name)
        """,
        path=tmp_path / "elsewhere",
    )
    assert done.stdout.strip() == "elsewhere", done.stderr
