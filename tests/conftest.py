from __future__ import annotations

import sys
from collections.abc import Iterator

import object_store
import parsed_once
import pytest
from jsonargparse import ArgumentParser

# Parts of the tests that take longest.
_LONGEST = ("notebooks/", "tests/runners/", "tests/model/", "tests/traces/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what takes longest first."""
    items.sort(key=lambda item: [not item.nodeid.startswith(part) for part in _LONGEST])


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    """An S3 server on this machine."""
    if object_store.program() is None and sys.platform != "linux":
        pytest.skip("there is no wheel of the server for this system: install weed of SeaweedFS")
    with object_store.running(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(autouse=True, scope="session")
def _parse_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_object", parsed_once.parse_object)
        yield
