from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from olmoearth_nb.errors import InputFileError, StorageError, UsageError
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.traces.data import (
    TraceCrop,
    TraceData,
    TraceItem,
    TraceLayer,
    TraceLoss,
    TraceModel,
    TraceModule,
    TraceOutput,
    TraceStage,
    TraceWarning,
    TraceWindow,
    TraceWritten,
)
from olmoearth_nb.traces.files import load_trace, save_trace

CLASSES = ("water", "<b>forest</b>")


def _image(steps: int = 2) -> xr.DataArray:
    values = np.arange(steps * 2 * 3 * 4, dtype=np.float32).reshape(steps, 2, 3, 4)
    values[0, 0, 0, 0] = np.nan
    starts = pd.to_datetime([f"2024-0{month}-01T10:11:12" for month in range(1, steps + 1)])
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": starts,
            "time_end": ("time", starts + pd.Timedelta(days=30)),
            "source": ("time", ["scene_1", "scene_2, scene_3"][:steps]),
            "band": ["B1", "B2"],
            "y": [3.5, 2.5, 1.5],
            "x": [0.5, 1.5, 2.5, 3.5],
        },
        attrs={"units": "as stored", "crs": "EPSG:32610", "transform": [1.0, 0, 0, 0, -1.0, 4.0], "nodata": 0.0},
    )


def _classes() -> xr.DataArray:
    return xr.DataArray(np.array([[0, 1], [-1, 1]]), dims=("y", "x"), attrs={"note": "classes"})


def make_trace(**changes: Any) -> TraceData:
    window = TraceWindow(
        group="default",
        name="w/ü",
        crs="EPSG:32610",
        resolution=(10.0, -10.0),
        bounds=(50000, -400000, 50004, -399997),
        time_range=(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)),
        options={"split": "val", "weights": [1, 2.5], "deep": {"a": None}},
    )
    model = TraceModel(
        config="model.yaml",
        type="SingleTaskModel",
        checkpoint="best.ckpt",
        checkpoint_sha256="0" * 64,
        split="predict",
        device="cpu",
        precision="32",
        parameters=12,
        versions={"torch": "2.7"},
    )
    item = TraceItem(name="scene_1", used=True, group=0, start=datetime(2024, 1, 1, tzinfo=UTC))
    boxes = gpd.GeoDataFrame(
        {"score": [0.5], "kind": ["ship"], "count": [3]}, geometry=[shapely.box(0, 0, 10.5, 2)], crs="EPSG:32610"
    )
    stats = pd.DataFrame({"input": ["image"], "band": ["B1"], "min": [math.nan], "values": [12]})
    layers = {
        "sentinel2.1": TraceLayer(name="sentinel2.1", role="input", data=_image(), items=(item,)),
        "label": TraceLayer(name="label", role="label", reason="nothing was materialized"),
        "boxes": TraceLayer(name="boxes", role="both", features=boxes.iloc[:0]),
    }
    loss = TraceLoss(total=math.inf, parts={"cls": 0.25}, map=_image(1)[0, 0])
    outputs = {
        "cover": TraceOutput(task="cover", kind="segmentation", classes=CLASSES, prediction=_classes(), loss=loss),
        "ships": TraceOutput(task="ships", kind="detection", classes=("ship",), vectors=boxes),
    }
    stages = tuple(
        TraceStage(name=name, note="", inputs={"image": _image()}, targets={}, stats=stats)
        for name in ("read", "Normalize")
    )
    given: dict[str, Any] = {
        "window": window,
        "model": model,
        "layers": layers,
        "stages": stages,
        "modules": (TraceModule(name="encoder.0", type="Conv", parameters=12, shape=(16, 3, 4), outputs=2),),
        "features": {"encoder.0": _image()[0].rename({"band": "channel"}), "pooled": xr.DataArray(np.float32(1.5))},
        "outputs": outputs,
        "crops": (TraceCrop(index=0, bounds=(0, 0, 4, 3), losses={"cls": 0.25}),),
        "written": TraceWritten(layer="output", task="cover", raster=_classes().astype(np.uint8).expand_dims("band")),
        "losses": {"cls": 0.25},
        "warnings": (TraceWarning(kind="range", text="Far off.", input="image", band="B1"),),
        "seconds": {"read": 0.5},
    }
    return TraceData(**(given | changes))


def same(one: Any, other: Any) -> None:
    """Equal to the last bit, types and order included."""
    assert type(one) is type(other)
    match one:
        case xr.DataArray():
            xr.testing.assert_identical(one, other)
            assert one.dtype == other.dtype
        case gpd.GeoDataFrame():
            assert one.crs == other.crs
            assert list(one.columns) == list(other.columns)
            assert one.to_dict("records") == other.to_dict("records")
        case pd.DataFrame():
            pd.testing.assert_frame_equal(one, other)
        case dict():
            assert list(one) == list(other)
            for key in one:
                same(one[key], other[key])
        case list() | tuple():
            assert len(one) == len(other)
            for left, right in zip(one, other, strict=True):
                same(left, right)
        case _ if dataclasses.is_dataclass(one):
            for field in dataclasses.fields(one):
                same(getattr(one, field.name), getattr(other, field.name))
        case _:
            assert one == other


def test_a_trace_comes_back_as_it_was(tmp_path: Path) -> None:
    trace = make_trace()

    save_trace(trace, tmp_path / "new folder" / "trace.zip")

    same(load_trace(tmp_path / "new folder" / "trace.zip"), trace)


def test_names_that_would_collide_in_the_file_do_not(tmp_path: Path) -> None:
    features = {name: xr.DataArray(np.full(2, index)) for index, name in enumerate(["a/b", "a_b", "a:b", "..", "a"])}

    save_trace(make_trace(features=features), tmp_path / "trace")

    same(load_trace(tmp_path / "trace").features, features)


def test_the_file_is_open(tmp_path: Path) -> None:
    save_trace(make_trace(), tmp_path / "trace.zip")

    with zipfile.ZipFile(tmp_path / "trace.zip") as archive:
        archive.extractall(tmp_path)
    assert json.loads((tmp_path / "trace.json").read_text())["format"] == "olmoearth_nb trace"
    with xr.open_dataset(tmp_path / "arrays.nc", group="layers/sentinel2.1/data") as layer:
        assert list(layer["band"].values) == ["B1", "B2"]
        assert layer["values"].attrs["crs"] == "EPSG:32610"


def test_it_is_read_without_torch(tmp_path: Path) -> None:
    save_trace(make_trace(), tmp_path / "trace.zip")
    code = (
        "import sys; from olmoearth_nb.runners.window_trace import WindowTrace;"
        f"trace = WindowTrace.load({str(tmp_path / 'trace.zip')!r}); print(trace.name, 'torch' in sys.modules)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "w/ü False"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="The trace is missing"):
        load_trace(tmp_path / "nothing")
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputFileError, match="can't be read"):
        load_trace(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(InputFileError, match=r"trace\.json"):
        load_trace(tmp_path / "other.zip")


def test_a_file_that_was_damaged(tmp_path: Path) -> None:
    path = save_trace(make_trace(), tmp_path / "trace.zip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(InputFileError, match="can't be read"):
        load_trace(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": "x"}, "no trace"), ({"version": 99}, "version 1; found 99"), ({"trace": {"$class": "X"}}, "KeyError")],
)
def test_a_file_of_another_kind(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = save_trace(make_trace(), tmp_path / "trace.zip")
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("trace.json")) | change
        arrays = archive.read("arrays.nc")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("trace.json", json.dumps(content))
        archive.writestr("arrays.nc", arrays)

    with pytest.raises(InputFileError, match=message):
        load_trace(path)


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="write here"):
        save_trace(make_trace(), tmp_path / "file" / "trace.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_outputs_by_task() -> None:
    trace = WindowTrace(make_trace())

    assert trace.output("ships").kind == "detection"
    with pytest.raises(UsageError, match=r"trace\.output\('cover'\)"):
        trace.logits
    with pytest.raises(UsageError, match="Expected cover, ships"):
        trace.output("x")
    assert trace.stage(-1) is trace.stage("Normalize")
    with pytest.raises(UsageError, match="Expected read, Normalize"):
        trace.stage("Pad")


def test_it_shows_itself() -> None:
    text = repr(WindowTrace(make_trace()))

    assert "default/w/ü" in text
    assert "2 time steps, 2 bands" in text
    assert "nothing was materialized" in text
    assert "read → Normalize" in text
    assert "Far off." in text


def test_a_saved_trace_has_no_model(tmp_path: Path) -> None:
    trace = WindowTrace(make_trace())
    loaded = WindowTrace.load(trace.save(tmp_path / "trace.zip"))

    with pytest.raises(UsageError, match=r"what_if\(\) needs the model"):
        loaded._model("what_if()")


def test_where_a_window_is() -> None:
    window = make_trace().window

    assert window.shape == (3, 4)
    assert window.transform == (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0)
    outline = window.outline()
    assert outline.crs == "EPSG:4326"
    assert outline.to_crs(window.crs).total_bounds == pytest.approx((500000, 3999970, 500040, 4000000), abs=0.01)
