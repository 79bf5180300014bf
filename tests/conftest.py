from __future__ import annotations

from collections.abc import Iterator

import object_store
import pytest


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    """An S3 server on this machine."""
    with object_store.running(tmp_path_factory.mktemp("store")) as running:
        yield running
