"""Small tasks that the tests of the room share."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry

TIMES = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))


@pytest.fixture
def make_task() -> Callable[..., AnnotationTask]:
    """Makes a task of (geometry, labels) pairs; its area is their envelope unless one is given."""

    def make(
        *annotations: tuple[BaseGeometry, dict[str, Any]], area: BaseGeometry | None = None, number: int = 1
    ) -> AnnotationTask:
        shapes = [shp for shp, _ in annotations]
        area = area or shapely.box(*shapely.GeometryCollection(shapes).buffer(1e-4).bounds)
        return AnnotationTask(
            task_id=uuid.UUID(int=number),
            task_st_geometry=STGeometry(WGS84_PROJECTION, area, TIMES),
            annotations=[
                LabeledSTGeometry(st_geometry=STGeometry(WGS84_PROJECTION, shp, TIMES), labels=labels)
                for shp, labels in annotations
            ],
        )

    return make
