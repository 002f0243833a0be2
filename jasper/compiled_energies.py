"""A wave in, the energies of its mel bands out: what `features` does with NumPy, as machine code.

NumPy transforms one frame after the other. Here LANES of them lie side by side, so that each operation is one
of the processor's vectors, and all that is made of them stays in its cache until the energies are there.
All is in the precision of the plan: in single precision a vector holds twice as many lanes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled, compiled_inline, compiled_inside
from jasper.config import FeatureConfig
from jasper.features import analysis_window, mel_filters, reflected
from jasper.types import FloatArray, IntArray

Float = NDArray[np.floating]  # all of one precision
LANES = 64  # frames; with fewer the loops are too short, with more their arrays leave the cache
_reflected: Any = compiled_inside(reflected)


class Plan(NamedTuple):
    """What the loops need of a front end's settings."""

    hop: int  # samples
    begin: int  # the first sample under the window of the first frame; negative: before the wave
    preemphasis: np.floating
    reflect: bool  # how the wave is continued: by its reflection, or by zeros
    window: Float  # (W,), W even
    cos: Float  # (n_fft,) of the angles of a whole turn
    sin: Float
    rows: IntArray  # (n_fft // 2,) where the transform leaves each frequency
    weights: Float  # (num_mels, n_fft // 2 + 1) of what `_take_power` finds
    bands: IntArray  # (num_mels, 2) the frequencies that a filter lets through, half open
    added: np.floating  # to each energy
    least: np.floating  # that an energy is said to be


class Room(NamedTuple):
    """The memory of LANES frames; what is past the last frame nobody reads."""

    signal: Float  # (samples under all their windows, filled up to whole hops,)
    columns: Float  # (hop, hops of the signal): the same, samples one hop apart side by side
    spectra: Float  # (n_fft // 2, 2 * LANES) real parts, then imaginary ones; two arrays are slower
    power: Float  # (n_fft // 2 + 1, LANES)
    energy: Float  # (LANES,) of one band


def make_plan(config: FeatureConfig, precision: type[np.floating]) -> Plan:
    """Work out what does not depend on the wave."""
    n_fft, window, filters = config.n_fft, analysis_window(config), mel_filters(config)
    angles = 2 * np.pi / n_fft * np.arange(n_fft)
    passing = filters > 0
    ends = np.stack([passing.argmax(axis=1), passing.shape[1] - passing[:, ::-1].argmax(axis=1)], axis=1)
    weights = filters.copy()
    weights[:, 1:-1] /= 4  # there it finds four times the power
    return Plan(
        config.hop_length,
        (n_fft - window.size) // 2 - n_fft // 2,
        precision(config.preemphasis),
        config.edges == "reflect",
        (np.append(window, 0.0) if window.size % 2 else window).astype(precision),
        np.cos(angles).astype(precision),
        np.sin(angles).astype(precision),
        _transformed_rows(n_fft // 2),
        weights.astype(precision),
        ends.astype(np.int64),
        precision(config.log_offset if config.log_guard == "add" else 0),
        precision(config.log_offset if config.log_guard == "clamp" else 0),
    )


def _transformed_rows(size: int) -> IntArray:
    """The row in which `_transform` leaves each frequency: its digits, base 4, in reverse."""
    rows, rest, stride = np.zeros(size, dtype=np.int64), np.arange(size), size
    while stride > 1:
        radix = min(4, stride)
        stride //= radix
        rows += rest % radix * stride
        rest //= radix
    return rows


@compiled
def fill_energies(wave: FloatArray, first: int, end: int, plan: Plan, energies: Float) -> None:
    """Fill in energies (num_mels, T) of a wave (N,), of the frames from `first` to before `end`.

    They are ready for the logarithm.
    """
    half, hops, dtype = len(plan.rows), LANES + (len(plan.window) - 1) // plan.hop, plan.window.dtype
    room = Room(
        np.empty(hops * plan.hop, dtype),
        np.empty((plan.hop, hops), dtype),
        np.empty((half, 2 * LANES), dtype),
        np.empty((half + 1, LANES), dtype),
        np.empty(LANES, dtype),
    )
    for start in range(first, end, LANES):
        _emphasize(wave, plan.begin + start * plan.hop, plan, room.signal)
        _lay_columns(room)
        _cut_frames(plan, room)
        _transform(plan, room.spectra)
        _take_power(plan, room)
        _sum_bands(plan, room, energies[:, start : min(start + LANES, end)])


@compiled_inside
def _emphasize(wave: FloatArray, begin: int, plan: Plan, signal: Float) -> None:
    """Fill signal (S,) with the wave from `begin` on, pre-emphasised, then continued at its ends."""
    size = len(signal)
    first = min(max(0, 1 - begin), size)  # in the wave, and not its first sample
    end = min(max(first, len(wave) - begin), size)
    inside = signal[first:end]
    now, before = wave[begin + first :], wave[begin + first - 1 :]
    for index in range(len(inside)):
        inside[index] = now[index] - plan.preemphasis * before[index]
    for index in range(first):
        signal[index] = _sample(wave, begin + index, plan)
    for index in range(end, size):
        signal[index] = _sample(wave, begin + index, plan)


@compiled_inside
def _sample(wave: FloatArray, place: int, plan: Plan) -> Any:
    """A pre-emphasised sample of a wave (N,) or of what continues it."""
    if not plan.reflect and (place < 0 or place >= len(wave)):
        return 0 * plan.preemphasis
    place = _reflected(place, len(wave))
    before = plan.preemphasis * wave[place - 1] if place > 0 else 0 * plan.preemphasis
    return wave[place] - before


@compiled_inside
def _lay_columns(room: Room) -> None:
    """Lay the signal out anew: samples one hop apart, which frames have at one place, side by side."""
    hop, hops = room.columns.shape
    for place in range(hop):
        row, samples = room.columns[place], room.signal[place:]
        for index in range(hops):
            row[index] = samples[index * hop]


@compiled_inside
def _cut_frames(plan: Plan, room: Room) -> None:
    """Lay frames side by side, under the window: even samples as real parts, odd ones as imaginary ones."""
    used = len(plan.window) // 2
    for index in range(2 * used):
        samples = room.columns[index % plan.hop, index // plan.hop :]
        row, weight = room.spectra[index // 2, index % 2 * LANES :], plan.window[index]
        for lane in range(LANES):
            row[lane] = samples[lane] * weight
    room.spectra[used:] = 0


@compiled_inside
def _transform(plan: Plan, spectra: Float) -> None:
    """Fourier transform of every lane, in place (Gentleman and Sande's; radix 4, at last 2 where need be)."""
    size, turn = len(spectra), 2  # places in the table of angles from one row to the next
    while size >= 4:
        quarter = size // 4
        for start in range(0, len(spectra), size):
            for step in range(quarter):
                _transform_four(plan, step * turn, spectra[start + step :], quarter)
        size, turn = quarter, 4 * turn
    if size == 2:
        for start in range(0, len(spectra), 2):
            a, b = spectra[start], spectra[start + 1]
            for place in range(2 * LANES):
                a[place], b[place] = a[place] + b[place], a[place] - b[place]


@compiled_inline
def _transform_four(plan: Plan, angle: int, rows: Float, apart: int) -> None:
    """The first row and the next three, so far `apart`: their transform, turned by 0, 1, 2 and 3 angles."""
    a, b, c, d = rows[0], rows[apart], rows[2 * apart], rows[3 * apart]
    cos_b, cos_c, cos_d = plan.cos[angle], plan.cos[2 * angle], plan.cos[3 * angle]
    sin_b, sin_c, sin_d = plan.sin[angle], plan.sin[2 * angle], plan.sin[3 * angle]
    for re in range(LANES):
        im = LANES + re
        sum_ac, sum_bd = a[re] + c[re], b[re] + d[re]
        isum_ac, isum_bd = a[im] + c[im], b[im] + d[im]
        dif_ac, dif_bd = a[re] - c[re], b[re] - d[re]
        idif_ac, idif_bd = a[im] - c[im], b[im] - d[im]
        a[re], a[im] = sum_ac + sum_bd, isum_ac + isum_bd
        x, y = dif_ac + idif_bd, idif_ac - dif_bd
        b[re], b[im] = x * cos_b + y * sin_b, y * cos_b - x * sin_b
        x, y = sum_ac - sum_bd, isum_ac - isum_bd
        c[re], c[im] = x * cos_c + y * sin_c, y * cos_c - x * sin_c
        x, y = dif_ac - idif_bd, idif_ac + dif_bd
        d[re], d[im] = x * cos_d + y * sin_d, y * cos_d - x * sin_d


@compiled_inside
def _take_power(plan: Plan, room: Room) -> None:
    """The power of each frequency, fourfold but at both ends.

    Real and imaginary parts were even and odd samples, one step apart.
    """
    half, first = len(plan.rows), room.spectra[0]
    for re in range(LANES):
        even, odd = first[re], first[LANES + re]
        total, difference = even + odd, even - odd
        room.power[0, re], room.power[half, re] = total * total, difference * difference
    for low in range(1, half // 2 + 1):
        a, b = room.spectra[plan.rows[low]], room.spectra[plan.rows[half - low]]
        power, mirrored = room.power[low], room.power[half - low]
        cos, sin = plan.cos[low], plan.sin[low]
        for re in range(LANES):
            im = LANES + re
            even, ieven = a[re] + b[re], a[im] - b[im]
            odd, iodd = a[im] + b[im], b[re] - a[re]
            x, y = odd * cos + iodd * sin, iodd * cos - odd * sin
            power[re] = (even + x) * (even + x) + (ieven + y) * (ieven + y)
            mirrored[re] = (even - x) * (even - x) + (ieven - y) * (ieven - y)


@compiled_inside
def _sum_bands(plan: Plan, room: Room, energies: Float) -> None:
    """Sum the weighed power of every filter's band into energies (num_mels, count), and guard them."""
    for band in range(len(energies)):
        room.energy[:] = plan.added
        for frequency in range(plan.bands[band, 0], plan.bands[band, 1]):
            weight, power = plan.weights[band, frequency], room.power[frequency]
            for lane in range(LANES):
                room.energy[lane] += weight * power[lane]
        for lane in range(energies.shape[1]):
            energies[band, lane] = max(room.energy[lane], plan.least)
