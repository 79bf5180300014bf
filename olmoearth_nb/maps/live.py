"""What every live thing of this room has: its faces, a place for errors, and an end that frees its widgets."""

from __future__ import annotations

import base64
import contextlib
import html
import importlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import MissingDependencyError, OlmoEarthError, UsageError

__all__ = ["LiveView", "png_of", "widget_library"]

_WIDGET = "application/vnd.jupyter.widget-view+json"
# JupyterLab 4.4 and later have messages of widgets handled by several threads of the kernel: a second filter arrives
# while the first one is at work. One lock for all, since views call each other.
_ONE_AT_A_TIME = threading.RLock()
_ERROR = "color:#b00020;white-space:pre-wrap;margin:2px 0"


def widget_library() -> ModuleType:
    """The package ipywidgets, imported when the first widget is made.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        return importlib.import_module("ipywidgets")
    except ImportError as error:
        raise MissingDependencyError(
            f"Widgets need ipywidgets: {error}.", fix="pip install 'olmoearth-nb[notebook]'."
        ) from error


def png_of(figure: Figure) -> str:
    """A figure as base64 text.

    Args:
        figure: One of this package, see :class:`olmoearth_nb.maps.canvas.Picture`.
    """
    picture: bytes = figure._repr_png_()  # type: ignore[attr-defined]  # of our Picture
    return base64.b64encode(picture).decode("ascii")


class LiveView(traitlets.HasTraits):
    """Something live that code can read and set, and that has a picture for where no widget can be.

    Subclasses make their widgets within ``with self.owning():``, set ``self.root`` to a box that has
    ``self.message`` as its last child, wrap what callbacks do in ``with self.guarded():`` and draw :meth:`static`.

    Attributes:
        root: The widget that is displayed.
        message: Where errors are shown, under the widget.
    """

    root: Any
    message: Any

    def __init__(self) -> None:
        super().__init__()
        self._owned: dict[str, Any] = {}
        with self.owning():
            self.message = widget_library().HTML()

    @contextlib.contextmanager
    def owning(self) -> Iterator[dict[str, Any]]:
        """Notes every widget that is made inside, those that other libraries make on the way too, for :meth:`close`.

        Yields:
            Those widgets by their model's id, once the block has ended.
        """
        before = set(_all_widgets())
        made: dict[str, Any] = {}
        try:
            yield made
        finally:
            made |= {key: widget for key, widget in _all_widgets().items() if key not in before}
            self._owned |= made

    def free(self, widgets: Mapping[str, Any]) -> None:
        """Closes widgets that are not needed any more.

        Args:
            widgets: What an :meth:`owning` block yielded.
        """
        for key, widget in widgets.items():
            widget.close()
            self._owned.pop(key, None)

    @contextlib.contextmanager
    def guarded(self, *, anew: bool = True) -> Iterator[None]:
        """Shows what is raised inside under the widget: in a callback nobody else would see it.

        Callbacks are run one after the other, of whatever view they are.

        Args:
            anew: Take away first what was shown before.
        """
        with _ONE_AT_A_TIME:
            if anew:
                self.say("")
            try:
                with foreign_code(UsageError, "A callback failed"):
                    yield
            except OlmoEarthError as error:
                self.say(str(error), error=True)

    def say(self, text: str, *, error: bool = False) -> None:
        """Writes a line under the widget.

        Args:
            text: Plain text; nothing if empty.
            error: Whether something went wrong.
        """
        style = _ERROR if error else "margin:2px 0"
        self.message.value = f'<div style="{style}">{html.escape(text)}</div>' if text else ""

    def static(self) -> Figure:
        """The same as a matplotlib figure, as things stand now."""
        raise NotImplementedError

    def close(self) -> None:
        """Removes this from the notebook and frees its widgets."""
        self.free(dict(self._owned))

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        faces: dict[str, Callable[[], Any]] = {
            "text/plain": lambda: repr(self),
            "image/png": lambda: png_of(self.static()),
            _WIDGET: lambda: self.root._repr_mimebundle_()[_WIDGET],
        }
        wanted = [kind for kind in faces if (not include or kind in include) and kind not in (exclude or ())]
        return {kind: faces[kind]() for kind in wanted}


def _all_widgets() -> dict[str, Any]:
    # leafmap and ipyleaflet make widgets of their own (styles, layouts), which nobody else closes.
    found: dict[str, Any] = widget_library().widgets.widget._instances
    return dict(found)
