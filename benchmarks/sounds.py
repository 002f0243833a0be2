"""A seed in, sounds in which nobody speaks out, none made as those of `music.py` are; with their manifest.

python benchmarks/sounds.py OUT [--seed 1] [--clips 8]

They were made once, after the rule that they measure was fixed: machines, signals, noises and music.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from jasper.types import FloatArray

RATE, SECONDS = 16000, 10.0
TIME = np.arange(round(RATE * SECONDS)) / RATE
KEYS = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477, 1633)]  # Hz, ITU-T Q.23
CHORDS = ((0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7, 12), (0, 4, 8, 14))  # semitones
MODES = (1.0, 2.76, 5.4, 8.93)  # of a struck bar, as multiples of the lowest
Rng = np.random.Generator


def keypad(rng: Rng) -> FloatArray:
    """A telephone number, dialled again and again."""
    length, wave = rng.uniform(0.08, 0.25), np.zeros(TIME.size)
    for start in np.arange(0.2, SECONDS - 0.3, length * rng.uniform(1.5, 3)):
        low, high = KEYS[rng.integers(len(KEYS))]
        _add(wave, start, _tone(low, length) + _tone(high, length))
    return wave


def morse(rng: Rng) -> FloatArray:
    """A beep, on and off in units of a dot."""
    unit = rng.uniform(0.05, 0.12)
    keyed = np.repeat(rng.random(round(SECONDS / unit) + 1) < 0.55, round(unit * RATE))[: TIME.size]
    return np.sin(2 * np.pi * rng.uniform(400, 1000) * TIME) * _smooth(keyed.astype(float), 0.004)


def sweep(rng: Rng) -> FloatArray:
    """Sirens: pitch up and down, exponentially."""
    rate, low, octaves = rng.uniform(0.2, 4), rng.uniform(150, 700), rng.uniform(0.5, 2.5)
    return np.sin(
        2 * np.pi * np.cumsum(low * 2 ** (octaves * (1 + np.sin(2 * np.pi * rate * TIME)) / 2)) / RATE
    )


def trembling_noise(rng: Rng) -> FloatArray:
    """Pink or brown noise whose loudness trembles at 1 to 9 Hz, where syllables are."""
    slope = rng.choice([0.5, 1.0])
    falling = np.maximum(np.fft.rfftfreq(TIME.size, 1 / RATE), 20) ** -slope
    noise = _filtered(rng.standard_normal(TIME.size), falling)
    return noise * (1 + rng.uniform(0.5, 1) * np.sin(2 * np.pi * rng.uniform(1, 9) * TIME))


def gusts(rng: Rng) -> FloatArray:
    """Noise through bands that come and go, as wind has them, and vowels too."""
    wave = np.zeros(TIME.size)
    for _ in range(4):
        loudness = _smooth(rng.standard_normal(TIME.size), rng.uniform(0.1, 0.5))
        noise = _resonator(rng.standard_normal(TIME.size), rng.uniform(150, 3500), rng.uniform(0.001, 0.01))
        wave += noise / noise.std() * np.maximum(0, loudness / loudness.std())
    return wave


def clicks(rng: Rng) -> FloatArray:
    """Clicks of a resonant body, regular or not."""
    rate, regular = rng.uniform(1, 20), rng.random() < 0.5
    times = (
        np.arange(0.1, SECONDS, 1 / rate) if regular else np.sort(rng.uniform(0, SECONDS, round(10 * rate)))
    )
    impulses = np.zeros(TIME.size)
    impulses[np.minimum((times * RATE).astype(int), TIME.size - 1)] = rng.uniform(0.3, 1, times.size)
    return _resonator(impulses, rng.uniform(500, 4000), rng.uniform(0.001, 0.02))


def engine(rng: Rng) -> FloatArray:
    """A motor: pulses through two resonances, its speed going up and down."""
    hertz = rng.uniform(25, 110) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.05, 0.5) * TIME))
    pulses = (np.diff(np.floor(np.cumsum(hertz) / RATE), prepend=0) > 0).astype(float)
    return sum((_resonator(pulses, rng.uniform(200, 2500), 0.003) for _ in range(2)), np.zeros(TIME.size))


def bars(rng: Rng) -> FloatArray:
    """A xylophone's melody: bars with their inharmonic modes."""
    beat, root, wave = rng.uniform(0.12, 0.5), rng.uniform(300, 800), np.zeros(TIME.size)
    for start in np.arange(0, SECONDS, beat):
        hertz = root * 2 ** (rng.choice([0, 2, 4, 7, 9, 12]) / 12)
        for place, mode in enumerate(MODES):
            _add(wave, start, _tone(hertz * mode, 0.8) * np.exp(-TIME[: round(0.8 * RATE)] * (5 + 8 * place)))
    return wave


def pad(rng: Rng) -> FloatArray:
    """Chords of detuned sawtooths through a filter that opens and closes."""
    wave, length = np.zeros(TIME.size), rng.uniform(0.8, 2.5)
    for start in np.arange(0, SECONDS, length):
        root = rng.uniform(90, 220)
        for step in CHORDS[rng.integers(len(CHORDS))]:
            hertz = root * 2 ** (step / 12) * (1 + 0.004 * rng.standard_normal())
            _add(wave, start, 2 * (hertz * TIME[: round(length * RATE)] % 1) - 1)
    return _resonator(wave, rng.uniform(300, 1500), 0.002) * (
        1.2 + np.sin(2 * np.pi * rng.uniform(0.3, 4) * TIME)
    )


def kit(rng: Rng) -> FloatArray:
    """Drums from noise in resonators, in a rhythm of twelve."""
    wave, step = np.zeros(TIME.size), rng.uniform(0.09, 0.2)
    hits = [(rng.uniform(60, 3000), rng.uniform(0.005, 0.05), rng.random(12) < 0.4) for _ in range(4)]
    for index, start in enumerate(np.arange(0, SECONDS, step)):
        for hertz, fall, pattern in hits:
            if pattern[index % 12]:
                burst = rng.standard_normal(RATE // 5) * np.exp(-TIME[: RATE // 5] / 0.01)
                hit = _resonator(burst, hertz, fall)
                _add(wave, start, hit / np.abs(hit).max())
    return wave


SOUNDS: dict[str, Callable[[Rng], FloatArray]] = {
    "keypad": keypad,
    "morse": morse,
    "sweep": sweep,
    "trembling-noise": trembling_noise,
    "gusts": gusts,
    "clicks": clicks,
    "engine": engine,
    "bars": bars,
    "pad": pad,
    "kit": kit,
}


def main() -> None:
    """Write the sounds and OUT/sounds.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=int, default=8, help="of each kind")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (label, make) in enumerate(SOUNDS.items()):
        for clip in range(arguments.clips):
            rng, name = np.random.default_rng((arguments.seed, number, clip)), f"{label}-{clip:02d}"
            wave = make(rng)
            soundfile.write(
                arguments.out / f"{name}.flac", rng.uniform(0.1, 0.8) * wave / np.abs(wave).max(), RATE
            )
            place = {"id": name, "audio_filepath": f"{name}.flac"}
            rows.append({**place, "duration": SECONDS, "text": "", "label": label})
    (arguments.out / "sounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _tone(hertz: float, length: float) -> FloatArray:
    return np.sin(2 * np.pi * hertz * TIME[: round(length * RATE)])


def _smooth(values: FloatArray, seconds: float) -> FloatArray:
    """Of a first-order low pass with this time constant."""
    keep = np.exp(-1 / (seconds * RATE))
    return _filtered(values, (1 - keep) / (1 - keep / _turn(values)))


def _resonator(values: FloatArray, hertz: float, fall: float) -> FloatArray:
    """Of two poles at a frequency; what they ring with falls by e in `fall` seconds."""
    keep, turn = np.exp(-1 / (fall * RATE)), _turn(values)
    return _filtered(
        values, 1 / (1 - 2 * keep * np.cos(2 * np.pi * hertz / RATE) / turn + (keep / turn) ** 2)
    )


def _turn(values: FloatArray) -> FloatArray:
    """z of a filter's transfer function, at the frequencies of the values' spectrum."""
    return np.exp(2j * np.pi * np.fft.rfftfreq(values.size))


def _filtered(values: FloatArray, response: FloatArray) -> FloatArray:
    return np.fft.irfft(np.fft.rfft(values) * response, values.size)


def _add(wave: FloatArray, start: float, sound: FloatArray) -> None:
    room = wave[round(start * RATE) :][: sound.size]
    room += sound[: room.size]


if __name__ == "__main__":
    main()
