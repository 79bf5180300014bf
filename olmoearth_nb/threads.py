"""Work that goes on in threads beside other work: reading what comes next, writing what has come.

The threads have an environment of GDAL all the while: else rasterio makes one for each file (0.5 ms).
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import rasterio

__all__ = ["Behind", "ahead"]

T = TypeVar("T")


class _Ended:
    """The iterator has no more, or raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterator[T], *, size: Callable[[T], int], budget: int) -> Iterator[T]:
    """The items of an iterator, in order, which a thread takes from it before they are wanted.

    Whatever the iterator raises is raised here, after the items before it. Closing this ends the thread.

    Args:
        items: The iterator; only the thread touches it.
        size: Bytes that an item takes.
        budget: Bytes that may wait; one item always may.
    """
    waiting: deque[T | _Ended] = deque()
    room = threading.Condition()
    held, stopped = 0, False

    def has_room() -> bool:
        return stopped or held < budget or not waiting

    def fill() -> None:
        nonlocal held
        error = None
        try:
            with rasterio.Env.from_defaults():
                for item in items:
                    with room:
                        waiting.append(item)
                        held += size(item)
                        room.notify_all()
                        room.wait_for(has_room)
                        if stopped:
                            return
        except BaseException as raised:  # noqa: BLE001  raised again where the items are wanted
            error = raised
        with room:
            waiting.append(_Ended(error))
            room.notify_all()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(fill,), name="olmoearth-nb-reader", daemon=True)
    thread.start()
    try:
        while True:
            with room:
                room.wait_for(lambda: bool(waiting))
                item = waiting.popleft()
                if not isinstance(item, _Ended):
                    held -= size(item)
                room.notify_all()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        with room:
            stopped = True
            room.notify_all()
        thread.join()


class Behind(contextlib.AbstractContextManager["Behind[T]"], Generic[T]):
    """Calls that a thread makes, one after the other, while its caller goes on; at most one waits.

    Args:
        done: Is given what each call returned, in the thread that uses this object.
    """

    def __init__(self, done: Callable[[T], object]) -> None:
        self._done = done
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="olmoearth-nb-writer")
        self._calls: deque[Future[T]] = deque()

    def __exit__(self, kind: object, *_: object) -> None:
        """Waits for the calls that were begun; after an exception those that were not are left."""
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        while self._calls:
            call = self._calls.popleft()
            if not call.cancelled() and (kind is None or call.exception() is None):
                self._done(call.result())

    def call(self, function: Callable[[], T]) -> None:
        """Has a function called.

        Args:
            function: What to call.
        """
        while len(self._calls) > 1 or (self._calls and self._calls[0].done()):
            self._done(self._calls.popleft().result())
        self._calls.append(self._pool.submit(contextvars.copy_context().run, _in_env, function))


def _in_env(function: Callable[[], T]) -> T:
    with rasterio.Env.from_defaults():
        return function()
