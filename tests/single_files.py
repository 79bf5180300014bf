"""A small ``olmoearth_config.yaml``, right in every respect, to change in one place at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

COLORS = ([0, 0, 255], [0, 128, 0], [255, 255, 0, 255])

_SINGLE_FILE: dict[str, Any] = {
    "config_version": "0.1.0",
    "data": {
        "temporality": {
            "name": "period",
            "observation": {"name": "repeating_interval", "num_periods": 3, "period_duration_days": 30},
        },
        "modalities": {"sentinel2_l2a": {"space_mode": "mosaic"}},
        "output": {
            "data_type": "raster",
            "fields": {
                "category": {
                    "field_type": "segmentation",
                    "nodata_value": 255,
                    "allowed_values": [
                        {"value": value, "label": label, "color": color}
                        for value, (label, color) in enumerate(zip(("water", "forest", "field"), COLORS, strict=True))
                    ],
                }
            },
        },
    },
    "model": {
        "encoder": {
            "name": "olmoearth",
            "patch_size": 4,
            "source": {"name": "huggingface", "model_id": "OLMOEARTH_V1_2_NANO"},
        },
        "tasks": {"category": {"name": "segmentation", "decoder": {"name": "upsample_conv"}}},
    },
    "input_preprocessing": {"default": {"input_size": 16}, "predict": {"overlap_pixels": 4}},
    "labeled_data_prep": {
        "sampler": {"name": "noop"},
        "window_preparer": {"name": "polygon_to_raster"},
        "data_splitter": {"name": "random", "train_prop": 0.5, "val_prop": 0.25, "test_prop": 0.25},
    },
    "training": {
        "max_epochs": 2,
        "batch_size": 4,
        "optimizer": {"name": "adamw", "lr": 0.001},
        "scheduler": {"name": "plateau", "factor": 0.2, "patience": 2, "min_lr": 0, "cooldown": 10},
        "encoder_freezing": {"unfreeze_at_epoch": 1, "unfreeze_lr_factor": 10},
        "checkpointing": {"save_top_k": 1},
    },
    "prediction_requests": {
        "partitioners": {
            "request_to_partitions": {"name": "grid", "grid_size": 0.008},
            "partition_to_windows": {"name": "grid", "grid_size": 32, "projection": {"method": "use_utm"}},
        },
        "postprocessors": {
            "window": {"name": "noop"},
            "partition": {"name": "combine_geotiff"},
            "request": {"name": "combine_geotiff"},
        },
    },
}

MODALITIES: dict[str, dict[str, Any]] = {
    "sentinel2_l2a": {"sort_by": "cloud_cover"},
    "sentinel1_rtc": {"orbit_direction": "descending_orbit"},
    "landsat": {},
}


@dataclass(frozen=True)
class When:
    """A temporality, and the layers that it makes: suffix -> space mode, images, period, duration, offset."""

    given: dict[str, Any]
    layers: dict[str, tuple[Any, ...]]


_MONTHLY = {"name": "repeating_interval", "num_periods": 4, "period_duration_days": 30}
_BEST = {"name": "sampled", "num_samples": 2, "duration_days": 60}

TEMPORALITIES = {
    "periods": When({"name": "period", "observation": _MONTHLY}, {"": ("MOSAIC", 4, "30d", "120d", None)}),
    "samples": When({"name": "period", "observation": _BEST}, {"": ("MOSAIC", 2, None, "60d", None)}),
    "point": When(
        {"name": "point_in_time", "observation_window_seconds": 86401},
        {"": ("CONTAINS", 1, "86401s", "86401s", "-43200.5s")},
    ),
    "framed": When(
        {
            "name": "framed_point_in_time",
            "lookbehind_observation": _MONTHLY,
            "lookbehind_offset_days": 5,
            "lookahead_observation": _BEST,
            "lookahead_offset_days": 7,
        },
        {
            "_lookbehind": ("MOSAIC", 4, "30d", "120d", "-125d"),
            "_lookahead": ("MOSAIC", 2, None, "60d", "7d"),
        },
    ),
}


def single_file() -> dict[str, Any]:
    """The configuration."""
    return copy.deepcopy(_SINGLE_FILE)


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The configuration with values at ``a__b__c`` changed; None removes a key."""
    for path, value in changes.items():
        *above, last = path.split("__")
        part = config
        for key in above:
            part = part[key]
        if value is None:
            part.pop(last, None)
        else:
            part[last] = value
    return config
