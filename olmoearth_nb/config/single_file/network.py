"""The sections ``model``, ``input_preprocessing`` and ``training``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from olmoearth_nb.config.single_file.part import Part

__all__ = [
    "EMBEDDING_SIZES",
    "HuggingFace",
    "ManualTask",
    "Model",
    "Preprocessing",
    "Registry",
    "SplitPreprocessing",
    "Training",
    "Transform",
]

# rslearn.models.olmoearth_pretrain.model has the same table, and takes torch to import.
EMBEDDING_SIZES = {
    "OLMOEARTH_V1_NANO": 128,
    "OLMOEARTH_V1_TINY": 192,
    "OLMOEARTH_V1_BASE": 768,
    "OLMOEARTH_V1_LARGE": 1024,
    "OLMOEARTH_V1_1_NANO": 128,
    "OLMOEARTH_V1_1_TINY": 192,
    "OLMOEARTH_V1_1_BASE": 768,
    "OLMOEARTH_V1_2_NANO": 128,
    "OLMOEARTH_V1_2_TINY": 192,
    "OLMOEARTH_V1_2_SMALL": 384,
    "OLMOEARTH_V1_2_BASE": 768,
}
"""Channels of the published encoders, by model id."""


class HuggingFace(Part):
    """A published encoder."""

    name: Literal["huggingface"]
    model_id: str

    @property
    def embedding_size(self) -> int | None:
        """Channels that it gives; None for an id that nobody knows."""
        return EMBEDDING_SIZES.get(self.model_id)


class Registry(Part):
    """An encoder of OlmoEarth's registry, whose files the project has as ``extra_model_files``."""

    name: Literal["registry"]
    model_name: str
    embedding_size: int = Field(ge=1)


class ModelPath(Part):
    """An encoder in a folder with ``config.json`` and ``weights.pth``."""

    name: Literal["model_path"]
    model_path: str
    embedding_size: int = Field(ge=1)


class DistributedCheckpoint(Part):
    """An encoder in a folder of pretraining."""

    name: Literal["distributed_checkpoint"]
    checkpoint_path: str
    embedding_size: int = Field(ge=1)


Source: TypeAlias = Annotated[
    HuggingFace | Registry | ModelPath | DistributedCheckpoint,
    Field(discriminator="name"),
]


class Encoder(Part):
    """An OlmoEarth encoder; what is None is left to rslearn."""

    name: Literal["olmoearth"]
    patch_size: int = Field(ge=1, le=8)
    source: Source
    output: Literal["patch_tokens"] = "patch_tokens"
    use_legacy_timestamps: bool | None = None
    token_pooling: bool | None = None


class PixelDecoder(Part):
    """From patches to pixels: by a U-Net, or by repeating each patch."""

    name: Literal["unet", "upsample_conv"]


class AnyDecoder(Part):
    """The same, or from all patches to one result."""

    name: Literal["unet", "upsample_conv", "pooling"]


class PoolingDecoder(Part):
    """From all patches to one result."""

    name: Literal["pooling"] = "pooling"


class PixelTask(Part):
    """A class or a measurement for each pixel."""

    name: Literal["segmentation", "per_pixel_regression"]
    decoder: PixelDecoder


class RegressionTask(Part):
    """A measurement for each pixel (raster results) or window (vector results)."""

    name: Literal["regression"]
    decoder: AnyDecoder


class ClassificationTask(Part):
    """A class for each window."""

    name: Literal["classification"]
    decoder: PoolingDecoder = PoolingDecoder()


class ManualTask(Part):
    """Decoder and task as rslearn takes them."""

    name: Literal["manual"]
    decoder_layers: list[dict[str, Any]] = Field(min_length=1)
    task: dict[str, Any]


Task: TypeAlias = Annotated[PixelTask | RegressionTask | ClassificationTask | ManualTask, Field(discriminator="name")]


class Model(Part):
    """The section ``model``: an encoder, and a task for each output field."""

    encoder: Encoder
    tasks: dict[str, Task] = Field(min_length=1)


class Normalize(Part):
    """The normalisation of the pretraining."""

    name: Literal["olmoearth_normalize"]


class RandomFlip(Part):
    """Flips from left to right (x), from top to bottom (y)."""

    name: Literal["random_flip"]
    x: bool = True
    y: bool = True


class ToDecibels(Part):
    """Sentinel-1 from intensities to decibels."""

    name: Literal["sentinel1_to_decibels"]


Transform: TypeAlias = Annotated[Normalize | RandomFlip | ToDecibels, Field(discriminator="name")]


class RandomSampler(Part):
    """Some windows of a split in each epoch."""

    name: Literal["random"]
    num_samples: int = Field(ge=1)
    replace: bool = False


class DefaultPreprocessing(Part):
    """What holds for every split; ``all_tiles`` cuts a window into tiles instead of taking one by chance."""

    input_size: int = Field(ge=1)
    input_mode: Literal["all_tiles"] | None = None
    transforms: list[Transform] = Field(default_factory=list)


class SplitPreprocessing(Part):
    """What a split has of its own."""

    input_size: int | None = Field(default=None, ge=1)
    transforms: list[Transform] | None = None
    additional_transforms: list[Transform] | None = None


class TrainingPreprocessing(SplitPreprocessing):
    """The same for a split of the training."""

    sampler: RandomSampler | None = None


class PredictPreprocessing(SplitPreprocessing):
    """The same for predictions."""

    overlap_pixels: int = Field(default=0, ge=0)


class Preprocessing(Part):
    """The section ``input_preprocessing``."""

    default: DefaultPreprocessing
    train: TrainingPreprocessing | None = None
    val: TrainingPreprocessing | None = None
    test: TrainingPreprocessing | None = None
    predict: PredictPreprocessing | None = None


class AdamW(Part):
    """The optimizer."""

    name: Literal["adamw"]
    lr: float = Field(ge=0)


class Plateau(Part):
    """Lowers the learning rate when the loss does not fall any more."""

    name: Literal["plateau"]
    factor: float = Field(ge=0, le=1)
    patience: int = Field(ge=0)
    min_lr: float = Field(ge=0)
    cooldown: int = Field(ge=0)


class EncoderFreezing(Part):
    """Until when the encoder stays as it is."""

    unfreeze_at_epoch: int = Field(ge=0)
    unfreeze_lr_factor: float = Field(gt=0)


class Checkpointing(Part):
    """Which checkpoints are kept."""

    save_top_k: int = Field(ge=1)
    save_last: bool = True


class Training(Part):
    """The section ``training``."""

    max_epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimizer: AdamW
    scheduler: Plateau
    encoder_freezing: EncoderFreezing
    checkpointing: Checkpointing
