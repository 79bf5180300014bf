"""``olmoearth_run.yaml`` out of the sections ``prediction_requests``, ``labeled_data_prep`` and ``data.output``."""

from __future__ import annotations

from typing import Any

from olmoearth_nb.config.single_file.data import ClassField, Output, OutputField
from olmoearth_nb.config.single_file.schema import SingleConfig
from olmoearth_nb.config.single_file.steps import (
    CombineGeotiff,
    CrsProjection,
    Grid,
    LabeledDataPrep,
    Partitioner,
    PointToRaster,
    PolygonToRaster,
    Postprocessor,
    Preparer,
)
from olmoearth_nb.config.single_file.to_dataset import LABEL_LAYER, dtype_of

__all__ = ["to_run"]

_TOOLS = "olmoearth_run.runner.tools"
# Metres a pixel; what OlmoEarth encoders were trained with.
_RESOLUTION = 10.0
_SAMPLERS = {"noop": "noop_sampler.NoopSampler", "choose_n": "choose_n_sampler.ChooseNSampler"}
_SPLITTERS = {
    "random": "random_data_splitter.RandomDataSplitter",
    "spatial": "spatial_data_splitter.SpatialDataSplitter",
}
_PREPARERS = {
    "point_to_pixel": "point_to_pixel_window_preparer.PointToPixelWindowPreparer",
    "point_to_raster": "point_to_raster_window_preparer.PointToRasterWindowPreparer",
    "polygon_to_raster": "polygon_to_raster_window_preparer.PolygonToRasterWindowPreparer",
}


def to_run(config: SingleConfig) -> dict[str, Any]:
    """``olmoearth_run.yaml``, with the sections for which the file has something.

    Args:
        config: The file.
    """
    requests, output, prep = config.prediction_requests, config.data.output, config.labeled_data_prep
    run: dict[str, Any] = {}
    if requests is not None:
        partitioners, steps = requests.partitioners, requests.postprocessors
        run["partition_strategies"] = {
            "partition_request_geometry": _partitioner(partitioners.request_to_partitions),
            "prepare_window_geometries": _partitioner(partitioners.partition_to_windows),
        }
        run["postprocessing_strategies"] = {
            "process_window": _postprocessor(steps.window, output),
            "process_partition": _postprocessor(steps.partition or CombineGeotiff(), output),
            "process_dataset": _postprocessor(steps.request or CombineGeotiff(), output),
        }
    if prep is not None:
        run["window_prep"] = _window_prep(prep, config)
    if output is not None:
        run["inference_results_config"] = _results(output)
    return run


def _component(module: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    class_path = f"{_TOOLS}.{module}"
    return {"class_path": class_path, "init_args": arguments} if arguments else {"class_path": class_path}


def _partitioner(partitioner: Partitioner) -> dict[str, Any]:
    if not isinstance(partitioner, Grid):
        return _component("partitioners.noop_partitioner.NoopPartitioner")
    arguments: dict[str, Any] = {"grid_size": partitioner.grid_size}
    if partitioner.overlap_size:
        arguments["overlap_size"] = partitioner.overlap_size
    if partitioner.clip:
        arguments["clip"] = True
    match partitioner.projection:
        case CrsProjection() as given:
            arguments["output_projection"] = _projection(given.crs, given.x_resolution, given.y_resolution)
        case None:
            pass
        case _:
            # The CRS is that of each place; only the resolution counts.
            arguments["output_projection"] = _projection("EPSG:3857", _RESOLUTION, -_RESOLUTION)
            arguments["use_utm"] = True
    return _component("partitioners.grid_partitioner.GridPartitioner", arguments)


def _projection(crs: str, x_resolution: float, y_resolution: float) -> dict[str, Any]:
    arguments = {"crs": crs, "x_resolution": x_resolution, "y_resolution": y_resolution}
    return {"class_path": "rslearn.utils.geometry.Projection", "init_args": arguments}


def _postprocessor(postprocessor: Postprocessor, output: Output | None) -> dict[str, Any]:
    if output is not None and not output.is_raster:
        return _component("postprocessors.combine_geojson.CombineGeojson")
    if not isinstance(postprocessor, CombineGeotiff):
        return _component("postprocessors.noop_raster.NoopRaster")
    arguments: dict[str, Any] = {"max_pixels_per_dimension": postprocessor.max_pixels_per_dimension}
    arguments["nodata_value"] = _nodata(output)
    if postprocessor.value_transform is not None:
        transform = postprocessor.value_transform.model_dump(include={"type", "scale", "offset", "output_dtype"})
        arguments["value_transform"] = {key: value for key, value in transform.items() if value is not None}
    return _component("postprocessors.combine_geotiff.CombineGeotiff", arguments)


def _nodata(output: Output | None) -> float:
    """What pixels without data have: what the first field says, else 0."""
    value = _first(output).nodata_value if output is not None else None
    return 0 if value is None else value


def _first(output: Output) -> OutputField:
    return next(iter(output.fields.values()))


def _window_prep(prep: LabeledDataPrep, config: SingleConfig) -> dict[str, Any]:
    sampler, splitter = prep.sampler, prep.data_splitter
    fields = {"train_prop", "val_prop", "test_prop", "seed", "grid_size"}
    return {
        "sampler": _component(f"samplers.{_SAMPLERS[sampler.name]}", sampler.model_dump(include={"n"})),
        "labeled_window_preparer": _preparer(prep.window_preparer, config),
        "data_splitter": _component(f"data_splitters.{_SPLITTERS[splitter.name]}", splitter.model_dump(include=fields)),
        "label_layer": LABEL_LAYER,
        "group_name": "default",
        "split_property": "split",
    }


def _preparer(preparer: Preparer, config: SingleConfig) -> dict[str, Any]:
    arguments: dict[str, Any] = {"window_resolution": _RESOLUTION}
    output = config.data.output
    match preparer:
        case PointToRaster():
            arguments["window_buffer"] = preparer.window_buffer
            arguments["dtype"] = dtype_of(_first(output)) if output is not None else "uint8"
            arguments["nodata_value"] = _nodata(output)
        case PolygonToRaster():
            arguments["nodata_value"] = _nodata(output)
            if preparer.gridding_strategy is not None and config.input_preprocessing is not None:
                size = config.input_preprocessing.default.input_size
                grid = {"window_size_px": size, "gridding_strategy": preparer.gridding_strategy}
                arguments["grid_config"] = grid
            if preparer.drop_inconsistent_utm:
                arguments["drop_inconsistent_utm"] = True
    return _component(f"labeled_window_preparers.{_PREPARERS[preparer.name]}", arguments)


def _results(output: Output) -> dict[str, Any]:
    classes, ranges = [], []
    for index, (name, one) in enumerate(output.fields.items(), start=1):
        entry: dict[str, Any] = {"property_name": name}
        if output.is_raster:
            entry["band_index"] = index
        if isinstance(one, ClassField):
            entry["allowed_values"] = [
                {"value": value.value, "label": value.label, "color": list(value.color)} for value in one.allowed_values
            ]
            classes.append(entry)
        else:
            ranges.append({**entry, **one.model_dump(include={"min_value", "max_value", "colormap_name"})})
    results: dict[str, Any] = {"data_type": output.data_type.upper()}
    if classes:
        results["classification_fields"] = classes
    if ranges:
        results["regression_fields"] = ranges
    return results
