"""``model.yaml`` out of the sections ``model``, ``input_preprocessing`` and ``training``."""

from __future__ import annotations

from typing import Any

from olmoearth_nb.config.single_file.heads import Head, head_of
from olmoearth_nb.config.single_file.network import HuggingFace, Model, Preprocessing, Registry, Training
from olmoearth_nb.config.single_file.observed import MODALITIES, frames_of, item_groups
from olmoearth_nb.config.single_file.schema import SingleConfig
from olmoearth_nb.config.single_file.to_dataset import LABEL_LAYER
from olmoearth_nb.config.single_file.transforms import Transforms

__all__ = ["component", "to_model"]

_TRAIN_SPLITS = ("train", "val", "test")
_OUTPUT_VARIABLE = "${PREDICTION_OUTPUT_LAYER}"
# Without a section "training" nothing says how many inputs make a batch; any machine can take this many.
_BATCH_SIZE = 8


def component(class_path: str, **init_args: Any) -> dict[str, Any]:
    """An object as configurations describe it.

    Args:
        class_path: Its class.
        init_args: Its arguments; those that are None are left out.
    """
    given = {name: value for name, value in init_args.items() if value is not None}
    return {"class_path": class_path, "init_args": given} if given else {"class_path": class_path}


def to_model(config: SingleConfig) -> dict[str, Any] | None:
    """``model.yaml``; None if the file describes no model.

    Args:
        config: The file; its tasks fit its output fields.
    """
    model, preprocessing, output = config.model, config.input_preprocessing, config.data.output
    if model is None or preprocessing is None or output is None:
        return None
    heads = {
        name: head_of(name, task, output.fields[name], model.encoder, is_raster=output.is_raster)
        for name, task in model.tasks.items()
    }
    return {
        "model": _module(model, heads, config.training),
        "data": _data(config, preprocessing, heads),
        "trainer": _trainer(config, preprocessing, heads),
    }


def _module(model: Model, heads: dict[str, Head], training: Training | None) -> dict[str, Any]:
    if len(heads) == 1:
        decoder = next(iter(heads.values())).decoder
        network = component("rslearn.models.singletask.SingleTaskModel", encoder=[_encoder(model)], decoder=decoder)
    else:
        decoders = {name: head.decoder for name, head in heads.items()}
        network = component("rslearn.models.multitask.MultiTaskModel", encoder=[_encoder(model)], decoders=decoders)
    learning: dict[str, Any] = {}
    if training is not None:
        plateau = training.scheduler.model_dump(include={"factor", "patience", "min_lr", "cooldown"})
        learning = {
            "scheduler": component("rslearn.train.scheduler.PlateauScheduler", **plateau),
            "optimizer": component("rslearn.train.optimizer.AdamW", lr=training.optimizer.lr),
        }
    return component("rslearn.train.lightning_module.RslearnLightningModule", model=network, **learning)


def _encoder(model: Model) -> dict[str, Any]:
    encoder, source = model.encoder, model.encoder.source
    place: dict[str, Any]
    match source:
        case HuggingFace():
            place = {"model_id": source.model_id}
        case Registry():
            place = {"model_path": "${EXTRA_FILES_PATH}", "embedding_size": source.embedding_size}
        case _:
            place = source.model_dump(include={"model_path", "checkpoint_path", "embedding_size"})
    return component(
        "rslearn.models.olmoearth_pretrain.model.OlmoEarth",
        patch_size=encoder.patch_size,
        **place,
        use_legacy_timestamps=encoder.use_legacy_timestamps,
        token_pooling=encoder.token_pooling,
    )


def _data(config: SingleConfig, preprocessing: Preprocessing, heads: dict[str, Head]) -> dict[str, Any]:
    transforms = Transforms(tuple(config.data.modalities.given), tuple(heads.items()))
    inputs: dict[str, Any] = {}
    for key in config.data.modalities.given:
        facts = MODALITIES[key]
        inputs[facts.name] = {
            "data_type": "raster",
            "layers": item_groups(facts, frames_of(config.data.temporality)),
            "bands": list(facts.bands),
            "dtype": "FLOAT32",
            "passthrough": True,
            "load_all_layers": True,
        }
    if len(heads) == 1:
        name, head = next(iter(heads.items()))
        inputs["targets"] = _target(name, head)
        task = head.task
    else:
        inputs |= {f"{name}_targets": _target(name, head) for name, head in heads.items()}
        mapping = {name: {f"{name}_targets": "targets"} for name in heads}
        tasks = {name: head.task for name, head in heads.items()}
        task = component("rslearn.train.tasks.multi_task.MultiTask", tasks=tasks, input_mapping=mapping)
    return component(
        "rslearn.train.data_module.RslearnDataModule",
        path="${DATASET_PATH}",
        inputs=inputs,
        task=task,
        batch_size=config.training.batch_size if config.training else _BATCH_SIZE,
        num_workers="${NUM_WORKERS}",
        **_splits(preprocessing, transforms),
    )


def _target(name: str, head: Head) -> dict[str, Any]:
    if head.label_dtype is None:
        return {"data_type": "vector", "layers": [LABEL_LAYER], "is_target": True}
    return {
        "data_type": "raster",
        "layers": [LABEL_LAYER],
        "bands": [name],
        "dtype": head.label_dtype,
        "is_target": True,
    }


def _splits(preprocessing: Preprocessing, transforms: Transforms) -> dict[str, Any]:
    default = preprocessing.default
    configs: dict[str, Any] = {
        "default_config": {"crop_size": default.input_size, "transforms": transforms.configured(default.transforms)}
    }
    for name in (*_TRAIN_SPLITS, "predict"):
        split = getattr(preprocessing, name)
        own: dict[str, Any] = {}
        if split is not None and split.input_size is not None:
            own["crop_size"] = split.input_size
        if split is not None and split.transforms is not None:
            own["transforms"] = transforms.configured(split.transforms)
        elif split is not None and split.additional_transforms is not None:
            own["transforms"] = transforms.configured([*default.transforms, *split.additional_transforms])
        if name == "predict":
            own |= {
                "load_all_crops": True,
                "skip_targets": True,
                "output_layer_name_skip_inference_if_exists": _OUTPUT_VARIABLE,
            }
            if split is not None and split.overlap_pixels:
                own["overlap_pixels"] = split.overlap_pixels
        else:
            own["tags"] = {"split": name}
            if default.input_mode == "all_tiles":
                own["load_all_crops"] = True
            if split is not None and split.sampler is not None:
                own["sampler"] = component(
                    "rslearn.train.dataset.RandomSamplerFactory",
                    num_samples=split.sampler.num_samples,
                    replacement=split.sampler.replace,
                )
        configs[f"{name}_config"] = own
    return configs


def _trainer(config: SingleConfig, preprocessing: Preprocessing, heads: dict[str, Head]) -> dict[str, Any]:
    training = config.training
    callbacks: list[dict[str, Any]] = []
    if training is not None:
        first = next(iter(heads.values()))
        monitor = first.monitor if len(heads) == 1 else ("val_loss", "min")
        callbacks = [
            component("lightning.pytorch.callbacks.LearningRateMonitor", logging_interval="epoch"),
            component(
                "rslearn.train.callbacks.freeze_unfreeze.FreezeUnfreeze",
                module_selector=["model", "encoder", 0],
                **training.encoder_freezing.model_dump(include={"unfreeze_at_epoch", "unfreeze_lr_factor"}),
            ),
            component(
                "lightning.pytorch.callbacks.ModelCheckpoint",
                dirpath="${TRAINER_DATA_PATH}",
                monitor=monitor[0],
                mode=monitor[1],
                **training.checkpointing.model_dump(include={"save_top_k", "save_last"}),
            ),
        ]
    callbacks.append(_writer(config, preprocessing, heads))
    return {**({"max_epochs": training.max_epochs} if training else {}), "callbacks": callbacks}


def _writer(config: SingleConfig, preprocessing: Preprocessing, heads: dict[str, Head]) -> dict[str, Any]:
    overlap = preprocessing.predict.overlap_pixels if preprocessing.predict else 0
    factor = config.transpiler_context.downsample_factor
    merger = None
    if (overlap or factor > 1) and next(iter(heads.values())).label_dtype is not None:
        merger = component(
            "rslearn.train.prediction_writer.RasterMerger",
            overlap_pixels=overlap or None,
            downsample_factor=factor if factor > 1 else None,
        )
    several = len(heads) > 1
    return component(
        "olmoearth_nb.model.fields_writer.FieldsWriter" if several else "rslearn.train.prediction_writer.RslearnWriter",
        path="${DATASET_PATH}",
        output_layer=_OUTPUT_VARIABLE,
        fields=list(config.data.output.fields) if several and config.data.output else None,
        merger=merger,
    )
