"""``olmoearth_run.yaml`` of a new project: partitions, windows, splits and legend, commented."""

from __future__ import annotations

import json

from olmoearth_nb.newproject.dataset import LABEL_LAYER, raster_type
from olmoearth_nb.newproject.model import GROUP, SPLIT_PROPERTY
from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.text import block, indented

__all__ = ["prediction_window", "run_text"]

_WINDOW = 256
# Local imagery often is small: a window that reaches far beyond it is mostly nothing.
_LOCAL_WINDOW = 64
_CHUNK = 100
_METRES_A_DEGREE = 111_320
_PARTITION_PIXELS = 2800


def run_text(proposal: Proposal) -> str:
    """The file's text.

    Args:
        proposal: The project.
    """
    return block(
        """
        # How requests become windows, labels become training windows, and what the results mean.
        # Classes are given as class_path (the import path) and init_args (its arguments).

        @PARTITIONS

        @POSTPROCESSING

        @WINDOWS

        @LEGEND
        """,
        PARTITIONS=_partitions(proposal),
        POSTPROCESSING=_postprocessing(proposal),
        WINDOWS=_window_prep(proposal),
        LEGEND=_legend(proposal),
    ) + "\n"  # fmt: skip


def prediction_window(proposal: Proposal) -> int:
    """Width and height in pixels of the windows that rasters are predicted in.

    Args:
        proposal: The project.
    """
    return max(_LOCAL_WINDOW if proposal.imagery.is_local else _WINDOW, proposal.window_size)


def _partitions(proposal: Proposal) -> str:
    if proposal.task.is_raster:
        degrees = float(f"{proposal.resolution * _PARTITION_PIXELS / _METRES_A_DEGREE:.2g}")
        first = block(
            f"""
            # The request -> partitions, the units of parallel work: cells of a grid in degrees.
            partition_request_geometry:
              class_path: olmoearth_nb.partitioners.GridPartitioner
              init_args:
                grid_size: {degrees:g}
            # A partition -> windows, the units of data and inference: cells of a grid in pixels.
            prepare_window_geometries:
              class_path: olmoearth_nb.partitioners.GridPartitioner
              init_args:
                grid_size: {prediction_window(proposal)}
            """
        )
    else:
        first = block(
            f"""
            # The request -> partitions, the units of parallel work: so many features each.
            partition_request_geometry:
              class_path: olmoearth_nb.partitioners.ChunkPartitioner
              init_args:
                num_geometries_per_partition: {_CHUNK}
            # A partition -> windows: a square around the middle of each feature, as large as those trained on.
            prepare_window_geometries:
              class_path: olmoearth_nb.partitioners.FixedWindowPartitioner
              init_args:
                window_size: {proposal.window_size}
            """
        )
    projection = block(
        f"""
        use_utm: true            # the zone of each place; then only the resolution of output_projection counts
        output_projection:
          class_path: rslearn.utils.geometry.Projection
          init_args:
            crs: EPSG:3857
            x_resolution: {proposal.resolution:g}   # metres
            y_resolution: -{proposal.resolution:g}  # negative: north is up
        """
    )
    return f"partition_strategies:\n{indented(first, 2)}\n{indented(projection, 6)}"


def _postprocessing(proposal: Proposal) -> str:
    if not proposal.task.is_raster:
        return block(
            """
            # How the results of windows become one: window -> partition -> whole request. Each result gets the geometry
            # and the properties of the request feature that it is for.
            postprocessing_strategies:
              process_window:
                class_path: olmoearth_nb.postprocess.vector.CombineGeojson
                init_args:
                  geometry_source: request
                  include_request_properties: true
              process_partition:
                class_path: olmoearth_nb.postprocess.vector.CombineGeojson
              process_dataset:
                class_path: olmoearth_nb.postprocess.vector.CombineGeojson
            """
        )
    nodata = raster_type(proposal.task)[1]
    return block(
        f"""
        # How the results of windows become one: window -> partition -> whole request.
        postprocessing_strategies:
          process_window:
            class_path: olmoearth_nb.postprocess.raster.NoopRaster
          process_partition:
            class_path: olmoearth_nb.postprocess.raster.CombineGeotiff
            init_args:
              nodata_value: {nodata}   # as in dataset.json, layer "output"
          process_dataset:
            class_path: olmoearth_nb.postprocess.raster.CombineGeotiff
            init_args:
              nodata_value: {nodata}
        """
    )


def _window_prep(proposal: Proposal) -> str:
    train, val, test = proposal.split.shares
    counts = ", ".join(f"{count} {name}" for name, count in proposal.split.counts.items())
    return block(
        f"""
        # How annotations become labelled windows to train on.
        window_prep:
          sampler:
            class_path: olmoearth_nb.labels.sampling.NoopSampler   # all tasks; ChooseNSampler takes n of them
        @PREPARER
          # Windows in the same cell of this many pixels come into the same split. Neighbours are alike: a random split
          # would test the model on what it has seen. With this size every split has windows: {counts}.
          data_splitter:
            class_path: olmoearth_nb.labels.splitting.SpatialDataSplitter
            init_args:
              train_prop: {train:g}
              val_prop: {val:g}
              test_prop: {test:g}
              grid_size: {proposal.split.grid_size}
          label_layer: {LABEL_LAYER}         # of dataset.json
          group_name: {GROUP}        # the window group, as in model.yaml
          split_property: {SPLIT_PROPERTY}      # the tag, as in model.yaml
        """,
        PREPARER=indented(_preparer(proposal), 2),
    )


def _preparer(proposal: Proposal) -> str:
    if not proposal.task.is_raster:
        half = proposal.window_size // 2
        return block(
            f"""
            # A window around each point, {half} + 1 + {half} pixels wide; its label is a vector feature.
            labeled_window_preparer:
              class_path: olmoearth_nb.labels.points.PointToPixelWindowPreparer
              init_args:
                window_resolution: {proposal.resolution:g}
                window_buffer: {half}
            """
        )
    dtype, nodata = raster_type(proposal.task)
    return block(
        f"""
        # A task is one window, {proposal.window_size} pixels wide and high; its annotations become a raster.
        labeled_window_preparer:
          class_path: olmoearth_nb.labels.polygons.PolygonToRasterWindowPreparer
          init_args:
            window_resolution: {proposal.resolution:g}
            nodata_value: {nodata}    # pixels that nobody labelled
            dtype: {dtype}
        """
    )


def _legend(proposal: Proposal) -> str:
    kind = "RASTER" if proposal.task.is_raster else "VECTOR"
    head = (
        "# What the results are, for maps and for those who read them.\n"
        f"inference_results_config:\n  data_type: {kind}\n"
    )
    if proposal.values is not None:
        return head + indented(
            block(
                f"""
                regression_fields:
                  - property_name: {proposal.label_name}
                    band_index: 1
                    min_value: {proposal.values.low:g}   # the first colour
                    max_value: {proposal.values.high:g}   # the last one
                    colormap_name: {proposal.values.colormap}
                """
            ),
            2,
        )
    confidence = "" if proposal.task.is_raster else "\n    confidence_property_name: probabilities"
    values = "\n".join(
        f"      - {{value: {one.value}, label: {json.dumps(one.name, ensure_ascii=False)}, color: {list(one.color)}}}"
        for one in proposal.classes
    )
    fields = (
        f"classification_fields:\n  - property_name: {proposal.label_name}\n    band_index: 1{confidence}\n"
        f"    allowed_values:\n{values}"
    )
    return head + indented(fields, 2)
