"""The notebooks as they are kept: run, with pictures, without what only this machine has."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_notebooks", ROOT / "tools" / "render_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_kept_notebook_can_be_read_without_running_it(tool: ModuleType, path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert tool.problems(notebook) == []
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    assert all(WIDGET not in output.get("data", {}) or output in pictures for output in outputs)
    assert "widgets" not in notebook.metadata


def test_progress_bars_and_warnings_are_not_kept_and_maps_with_a_picture_are(tool: ModuleType) -> None:
    outputs = [
        new_output("display_data", {WIDGET: {"model_id": "1"}, "text/plain": "0%"}),
        new_output("stream", name="stderr", text="warning"),
        new_output("stream", name="stdout", text="said"),
        new_output("display_data", {WIDGET: {"model_id": "2"}, "image/png": "aaaa"}),
    ]
    kernel = {"name": "python3", "display_name": "Python 3"}
    cell = new_code_cell("run()", outputs=outputs, execution_count=1)
    cell.metadata = {"execution": {"iopub.status.idle": "today"}, "tags": ["kept"]}
    notebook = new_notebook(cells=[cell], metadata={"widgets": {"state": {}}, "kernelspec": kernel})
    stripped = tool.strip(notebook)
    assert stripped.cells[0].outputs == outputs[2:]
    assert stripped.cells[0].metadata == {"tags": ["kept"]}
    assert stripped.metadata == {"kernelspec": kernel}
    assert tool.problems(stripped) == []


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (new_output("stream", name="stdout", text=f"{ROOT}/scratch"), "a folder of this machine"),
        (new_output("stream", name="stdout", text="in /home/me/x"), "a folder of this machine"),
        (new_output("execute_result", {"text/html": f"<b>{ROOT}</b>"}), "a folder of this machine"),
        (new_output("execute_result", {"text/plain": "<a.B at 0x7f0012>"}), "memory address"),
        (new_output("execute_result", {"image/png": "a" * 500_000}), "bytes, more than"),
        (new_output("error", ename="E", evalue="e", traceback=[]), "ended with an error"),
    ],
)
def test_what_should_not_be_kept_is_found(tool: ModuleType, output: nbformat.NotebookNode, problem: str) -> None:
    (found,) = tool.problems(new_notebook(cells=[new_code_cell("run()", outputs=[output], execution_count=1)]))
    assert problem in found


def test_a_cell_that_was_not_run_is_found(tool: ModuleType) -> None:
    assert tool.problems(new_notebook(cells=[new_code_cell("run()"), new_code_cell("")])) == ["cell 0 was not run"]
