"""Runs notebooks in place and keeps what a reader on GitHub can see: text, tables and pictures.

``python tools/render_notebooks.py [NOTEBOOK ...]``; all of ``notebooks/`` without arguments. Progress bars and
other widgets without a picture, standard error and widget state are removed. A notebook that fails, that names
folders of this machine or that is too large is not written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 500_000
_WIDGET = "application/vnd.jupyter.widget-view+json"
_KEPT_METADATA = ("kernelspec", "language_info")
_PRIVATE = re.compile(r"(?<![\w/.:])/(home|root|tmp|Users|mnt)/")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def strip(notebook: NotebookNode) -> NotebookNode:
    """Removes what shows nothing to somebody who only reads, in place.

    Args:
        notebook: A notebook of format 4.
    """
    for cell in notebook.cells:
        cell.metadata = NotebookNode({key: value for key, value in cell.metadata.items() if key == "tags"})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_seen(output)]
    notebook.metadata = NotebookNode(
        {key: notebook.metadata[key] for key in _KEPT_METADATA if key in notebook.metadata}
    )
    return notebook


def _is_seen(output: NotebookNode) -> bool:
    if output.output_type == "stream":
        return bool(output.name == "stdout")
    data = output.get("data", {})
    return _WIDGET not in data or "image/png" in data


def problems(notebook: NotebookNode) -> list[str]:
    """Why a notebook should not be kept as it is.

    Args:
        notebook: A notebook that was run and stripped.
    """
    found = []
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_BYTES:
        found.append(f"it has {size:,} bytes, more than {MAX_BYTES:,}")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if cell.source.strip() and cell.execution_count is None:
            found.append(f"cell {index} was not run")
        text = str([{**output, "data": _texts(output)} for output in cell.outputs])
        if str(ROOT) in text or _PRIVATE.search(text):
            found.append(f"the output of cell {index} has a folder of this machine")
        if _ADDRESS.search(text):
            found.append(f"the output of cell {index} has a memory address")
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"cell {index} ended with an error")
    return found


def _texts(output: NotebookNode) -> dict[str, object]:
    return {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}


def render(path: Path) -> None:
    """Runs a notebook in its folder and writes it with its outputs.

    Args:
        path: The notebook.

    Raises:
        SystemExit: If it should not be kept.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    client.store_widget_state = False
    client.execute()
    reasons = problems(strip(notebook))
    if reasons:
        raise SystemExit(f"{path.name} is not written: {'; '.join(reasons)}.")
    nbformat.write(notebook, path)


def main(arguments: Sequence[str]) -> None:
    """Runs the notebooks that are named, or all.

    Args:
        arguments: Paths of notebooks.
    """
    named = [Path(argument) for argument in arguments]
    for path in named or sorted((ROOT / "notebooks").glob("*.ipynb")):
        render(path)


if __name__ == "__main__":
    main(sys.argv[1:])
