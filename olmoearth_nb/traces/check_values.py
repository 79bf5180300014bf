"""Values of the model's inputs: next to those of training windows, and after normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from olmoearth_nb.traces.data import TraceData, TraceStage
from olmoearth_nb.traces.fills import fill_values
from olmoearth_nb.traces.findings import Finding
from olmoearth_nb.traces.guesses import Guess, Moments, best_guess, best_order, misfit
from olmoearth_nb.traces.pixels import Array, is_empty, plural

__all__ = ["check_values"]

# Pixels of a band that are looked at; a mean of so many is exact enough.
_SAMPLE = 8192
_MIN_PIXELS = 16
_COLUMNS = ("mean", "std", "min", "p01", "p99", "max")
# Of Sentinel-2 since processing baseline 04.00.
_OFFSET = 1000.0
# A normal and a uniform distribution that normalisers aim at: mean 0 and std 1, or values from 0 to 1.
_AIMS = ((0.0, 1.0), (0.5, 0.25))


def check_values(data: TraceData) -> Iterator[Finding]:
    """Findings about values of the model's inputs.

    Args:
        data: The trace.
    """
    if not data.stages:
        return
    for name, array in data.stages[0].inputs.items():
        read = _Read.of(data, name, array)
        if read is None:
            continue
        yield from _next_to_training(read)
        yield from _normalised(data, read)
    yield from _not_finite(data.stages)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """An input as it was read.

    Attributes:
        name: Its name.
        bands: Names of bands that have values.
        index: Their places in the array.
        steps: (time, band, N), NaN where there is nothing.
        training: Moments of the training windows; None if they are not known.
        limits: Least value, percentiles 1 and 99, and largest value of the training windows, (4, band).
    """

    name: str
    bands: tuple[str, ...]
    index: Array
    steps: Array
    training: Moments | None
    limits: Array | None

    @classmethod
    def of(cls, data: TraceData, name: str, array: xr.DataArray) -> _Read | None:
        if array.dims[-4:] != ("time", "band", "y", "x") or not array.size:
            return None
        values, empty = array.values.astype(np.float64), is_empty(array)
        if "crop" in array.dims:
            values, empty = (np.concatenate(list(one), axis=-2) for one in (values, empty))
        values = np.where(empty | ~np.isfinite(values), np.nan, values)
        for masks in fill_values(values, empty).values():
            for index, mask in masks.items():
                values[:, index][mask] = np.nan
        flat = values.reshape(*values.shape[:2], -1)
        flat = flat[..., :: max(flat.shape[-1] // _SAMPLE, 1)]
        names = [str(band) for band in array["band"].values] if "band" in array.coords else []
        rows = None if data.training is None else data.training[data.training["input"] == name].set_index("band")
        used = np.flatnonzero(np.isfinite(flat).sum(axis=(0, 2)) >= _MIN_PIXELS)
        if rows is not None and len(names) == flat.shape[1] and set(names) <= set(rows.index) and rows.index.is_unique:
            rows = rows.loc[names]
            used = np.array(
                [i for i in used if rows["std"].iloc[i] > 0 and np.isfinite(rows["mean"].iloc[i])], dtype=int
            )
        else:
            rows = None
        if not len(used):
            return None
        columns = {} if rows is None else {key: rows[key].to_numpy(float)[used] for key in _COLUMNS}
        return cls(
            name=name,
            bands=tuple(names[i] if names else str(i) for i in used),
            index=used,
            steps=flat[:, used],
            training=Moments(columns["mean"], columns["std"]) if columns else None,
            limits=np.stack([columns[key] for key in ("min", "p01", "p99", "max")]) if columns else None,
        )

    @property
    def pixels(self) -> Array:
        """(band, N) of all time steps."""
        return self.steps.transpose(1, 0, 2).reshape(len(self.bands), -1)


def _next_to_training(read: _Read) -> Iterator[Finding]:
    if read.training is None or read.limits is None:
        return
    where = f"input {read.name}"
    guess = _guess(read.pixels, read.training, read.limits)
    if guess is not None:
        yield Finding(
            severity="error" if guess.code == "scale" and not 0.05 < guess.number < 20 else "warning",
            code=guess.code,
            where=where,
            words=f"Values are {guess.words} than in training windows (means {_means(read)}). {_HINTS[guess.code]}",
            number=guess.number,
        )
        return
    # One window is little to tell bands by, so that the fall must be large.
    ends = np.nanpercentile(read.pixels, (1, 99), axis=1), read.limits[[0, 3]]
    order = best_order(Moments.of(read.pixels), read.training, gain=2.5, ends=ends)
    if order is not None:
        yield Finding(
            severity="warning",
            code="band-order",
            where=where,
            words=f"Bands seem to have changed places: {_order_words(read.bands, order[0])} (as values go in training "
            "windows). Look at the order of bands in dataset.json, model.yaml and the files.",
            number=order[1],
        )
        return
    odd = list(_odd_steps(read, read.training, read.limits))
    yield from odd
    if not odd:
        yield from _unlike(read, read.training, read.limits)


_HINTS = {
    "scale": "Is the unit another one: reflectance from 0 to 1, 8 bits, 16 bits?",
    "offset": "Sentinel-2 has an offset of 1000 since processing baseline 04.00: harmonize all images or none.",
    "logarithm": "Sentinel-1 comes in decibels or in linear power: use one of them in training and prediction.",
}


def _means(read: _Read) -> str:
    if read.training is None:
        return ""
    seen = Moments.of(read.pixels).mean
    pairs = [f"{b} {x:.4g}, there {t:.4g}" for b, x, t in zip(read.bands, seen, read.training.mean, strict=True)]
    return "; ".join(pairs[:3])


def _order_words(bands: Sequence[str], places: Sequence[int]) -> str:
    return ", ".join(
        f"where {bands[i]} should be there is what looks like {bands[j]}"
        for j, i in enumerate(places) if i != j
    )  # fmt: skip


def _guess(pixels: Array, training: Moments, limits: Array) -> Guess | None:
    """The likelier of another unit and an offset."""
    found = [one for one in (best_guess(pixels, training), _offset(pixels, training, limits)) if one is not None]
    return min(found, key=lambda one: one.after, default=None)


def _offset(pixels: Array, training: Moments, limits: Array) -> Guess | None:
    """Whether an offset of 1000 was added to all bands, or taken off them.

    Means can't tell: 1000 is little next to what near infrared varies by. The darkest pixels can.
    """
    if len(pixels) < 3:
        return None
    darkest = np.nanpercentile(pixels, 1, axis=1) - limits[1]
    seen = Moments.of(pixels)
    if np.median(seen.std / training.std) < 0.5:
        # A window of one class, a bright one perhaps.
        return None
    before = float(misfit(seen, training).mean())
    for offset, words in ((_OFFSET, "higher"), (-_OFFSET, "lower")):
        far = np.sort(darkest * np.sign(offset))
        after = float(misfit(Moments.of(pixels - offset), training).mean())
        if far[0] > 0.6 * _OFFSET and abs(np.median(far) - _OFFSET) < 0.5 * _OFFSET and before - after > 0.3:
            return Guess(
                code="offset", words=f"about 1000 {words} in every band", number=offset, before=before, after=after
            )
    return None


def _odd_steps(read: _Read, training: Moments, limits: Array) -> Iterator[Finding]:
    """Single time steps in another unit."""
    if len(read.steps) < 2:
        return
    for step, pixels in enumerate(read.steps):
        if np.isfinite(pixels).sum(axis=1).min() < _MIN_PIXELS:
            continue
        guess = _guess(pixels, training, limits)
        if guess is not None:
            yield Finding(
                severity="warning",
                code=guess.code,
                where=f"input {read.name}, step {step}",
                words=f"Values of this time step are {guess.words} than in training windows, those of others are not. "
                f"{_HINTS[guess.code]}",
                number=guess.number,
            )


def _unlike(read: _Read, training: Moments, limits: Array) -> Iterator[Finding]:
    """Values that training never had, for no reason that is known."""
    span = limits[3] - limits[0]
    pixels = read.pixels
    beyond = (pixels < limits[0, :, None] - 0.1 * span[:, None]) | (pixels > limits[3, :, None] + 0.1 * span[:, None])
    share = beyond.sum(axis=1) / np.maximum(np.isfinite(pixels).sum(axis=1), 1)
    z = (Moments.of(pixels).mean - training.mean) / training.std
    far = (share > 0.2) & (np.abs(z) > 3)
    if far.any():
        named = ", ".join(f"{read.bands[i]} {share[i]:.0%}" for i in np.flatnonzero(far)[:8])
        yield Finding(
            severity="warning",
            code="unlike-training",
            where=f"input {read.name}",
            words=f"Much lies outside of what training windows had: {named}. Clouds, snow, another place or season, or "
            f"another processing of the images (means {_means(read)}).",
            number=float(share.max()),
        )


# ---- normalisation ---------------------------------------------------------------------------------------------------


def _normalised(data: TraceData, read: _Read) -> Iterator[Finding]:
    """What the transforms make of values: fit it to what they aim at."""
    scaling = _affine(data, read)
    if scaling is None:
        return
    factor, shift = scaling
    where = f"stage {data.stages[-1].name}, input {read.name}"
    if (factor == 1).all() and (shift == 0).all():
        yield from _never_normalised(data, read)
        return
    seen = read.training if read.training is not None else Moments.of(read.pixels)
    source = "training windows" if read.training is not None else "this window"
    made = Moments(factor * seen.mean + shift, np.abs(factor) * seen.std)
    far = (np.abs(made.mean) > 8) | (made.std > 8) | (made.std < 0.02)
    if read.training is None:
        # A single window may be dark or flat.
        far = (np.abs(made.mean) > 20) | (made.std > 20) | (made.std < 0.002)
    # Mean and standard deviation that the normaliser was made for.
    wanted = [Moments((aim - shift) / factor, spread / np.abs(factor)) for aim, spread in _AIMS]
    reference = min(wanted, key=lambda one: float(np.sort(misfit(seen, one)).mean()))
    guess = best_guess(_normal_pixels(seen), reference, gain=2.0, fit=1.0) if read.training is not None else None
    if guess is not None or far.mean() >= 0.5 or far.sum() >= 2:
        guess = guess or best_guess(_normal_pixels(seen), reference)
        why = f" Its mean and std are for values that are {_opposite(guess.words)}." if guess is not None else ""
        named = [f"{b} {m:.3g} ± {s:.3g}" for b, m, s in zip(read.bands, made.mean, made.std, strict=True)]
        yield Finding(
            severity="error",
            code="normalisation",
            where=where,
            words=f"After it values of {source} are far from 0 ± 1: {', '.join(named[:4])}.{why} Look at the numbers "
            "of "
            "the normalising transform in model.yaml, and at the unit of the imagery.",
            number=float(np.abs(made.mean).max()),
        )
        return
    many = read.training is not None
    order = best_order(seen, reference, gain=1.0 if many else 3.0, many=many)
    if order is not None:
        yield Finding(
            severity="warning",
            code="band-order",
            where=where,
            words=f"The numbers of the normalising transform fit {source} far better in another order: "
            f"{_order_words(read.bands, order[0])}. Look at the order of bands of the input in model.yaml.",
            number=order[1],
        )
    elif far.any():
        named = [read.bands[i] for i in np.flatnonzero(far)]
        yield Finding(
            severity="warning",
            code="normalisation",
            where=where,
            words=f"After it {', '.join(named)} of {source} is far from 0 ± 1: "
            f"{made.mean[far][0]:.3g} ± {made.std[far][0]:.3g}. Look at its numbers in the normalising transform.",
            number=float(made.mean[far][0]),
        )


def _opposite(words: str) -> str:
    pairs = {"larger": "smaller", "smaller": "larger", "higher": "lower", "lower": "higher"}
    return " ".join(pairs.get(word, word) for word in words.split())


def _normal_pixels(moments: Moments) -> Array:
    """Pixels that have these moments."""
    return np.asarray(moments.mean[:, None] + moments.std[:, None] * np.linspace(-1.72, 1.72, 65))


def _affine(data: TraceData, read: _Read) -> tuple[Array, Array] | None:
    """Factor and summand that the transforms apply to each band; None if they do something else."""
    before, after = data.stages[0].inputs[read.name], data.stages[-1].inputs.get(read.name)
    if after is None or after.shape != before.shape or after.dims != before.dims:
        return None
    axis = before.get_axis_num("band")
    valid = ~is_empty(before)
    factors, shifts = [], []
    for index in read.index:
        mask = np.take(valid, index, axis=axis)
        x, y = (np.take(one.values, index, axis=axis)[mask].astype(np.float64) for one in (before, after))
        finite = np.isfinite(x) & np.isfinite(y)
        x, y = x[finite], y[finite]
        if len(x) < 2 or np.ptp(x) == 0:
            return None
        low, high = int(x.argmin()), int(x.argmax())
        factor = (y[high] - y[low]) / (x[high] - x[low])
        shift = y[low] - factor * x[low]
        error = np.abs(y - factor * x - shift).max()
        if factor == 0 or error > 1e-3 * max(float(np.ptp(y)), 1e-9) + 1e-5 * float(np.abs(y).max()):
            return None
        same = bool((x == y).all())
        factors.append(1.0 if same else factor)
        shifts.append(0.0 if same else shift)
    return np.array(factors), np.array(shifts)


def _never_normalised(data: TraceData, read: _Read) -> Iterator[Finding]:
    # Others are normalised: then this one may be a mask or a class.
    others = [name for name in data.stages[0].inputs if name != read.name]
    seen = Moments.of(read.pixels)
    large = (np.abs(seen.mean) > 50) & (seen.std > 5)
    if large.all() and not others:
        yield Finding(
            severity="note",
            code="not-normalised",
            where=f"input {read.name}",
            words=f"No transform changes its values, whose mean is {seen.mean[0]:.4g} in {read.bands[0]}. In order if "
            "the "
            "model scales them itself, or was trained so.",
            number=float(seen.mean[0]),
        )


def _not_finite(stages: Sequence[TraceStage]) -> Iterator[Finding]:
    """Where NaN and infinite values come up, and whether they reach the model."""
    before: dict[str, tuple[int, int]] = {}
    for number, stage in enumerate(stages):
        for name, array in stage.inputs.items():
            if array.values.dtype.kind != "f":
                continue
            now = int(np.isnan(array.values).sum()), int(np.isinf(array.values).sum())
            had = before.get(name, now)
            for count, old, code, what in zip(now, had, ("nan", "infinite"), ("NaN", "infinite"), strict=True):
                if count > old:
                    told = f"become {what} here ({stage.note[:80]})."
                elif count and number == len(stages) - 1:
                    told = f"are {what} when the model gets them."
                else:
                    continue
                yield Finding(
                    severity="error",
                    code=code,
                    where=f"stage {stage.name}, input {name}",
                    words=f"{plural(count, 'value')} of {array.size} {told}",
                    number=float(count),
                )
            before[name] = (max(now[0], had[0]), max(now[1], had[1]))
