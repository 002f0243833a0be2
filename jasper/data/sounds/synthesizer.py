"""A seed and a clip's length in, a sound out that has no name: a few layers, each drawn from wide ranges.

A layer is a source, at a pitch that steps, glides, warbles or wanders, through resonances that stand or move,
in events that have an envelope. Birds, machines, alarms, weather and music are among what comes of it.
"""

from __future__ import annotations

import numpy as np

from jasper.data.sounds.clip import Clip, Rng, Samples, chance, log_uniform
from jasper.data.sounds.events import Events, draw_events, swing, wander
from jasper.data.sounds.filters import Bands, colour, filtered, in_a_room, moving, ringing
from jasper.data.sounds.music import SCALES
from jasper.data.sounds.sources import Voice, draw_source, stretched

LOWEST_HZ, HIGHEST_HZ = 40.0, 7000.0  # where pitches and resonances begin; they wander off
LAYERS = (1, 1, 2, 2, 3, 4)
BACKGROUND_DB = 24.0  # the softest layer is so much below the loudest


def synthesize(rng: Rng, clip: Clip) -> Samples:
    """One sound (N,), of any level."""
    wave, beat, scale = clip.silence(), None, SCALES[int(rng.integers(len(SCALES)))]
    if chance(rng, 0.3):  # layers that keep time, as music does
        beat = 60 / log_uniform(rng, 50, 200)
    for number in range(int(rng.choice(LAYERS)) + (beat is not None)):
        layer = _layer(rng, clip, beat, scale)
        level = 10 ** (-rng.uniform(0, BACKGROUND_DB) / 20) if number else 1.0
        wave += level * layer
    return _recorded(rng, clip, wave)


def _layer(rng: Rng, clip: Clip, beat: float | None, scale: tuple[int, ...]) -> Samples:
    events = draw_events(rng, clip.seconds, beat)
    pitch = _folded(_pitch(rng, clip, events, scale), np.log2(20), np.log2(clip.sample_rate / 2.2))
    source = draw_source(rng, clip, Voice(2**pitch, _brightness(rng, events)))
    loudness = np.maximum(0, stretched(clip, _loudness(rng, clip, events)))
    way = rng.random()
    if way < 0.3:  # what is struck rings on
        wave = _resonant(rng, clip, source * loudness)
    elif way < 0.7:
        wave = _through_moving(rng, clip, source, events) * loudness
    else:
        wave = _resonant(rng, clip, source) * loudness if chance(rng, 0.5) else source * loudness
    if chance(rng, 0.2):  # a flock, a canon, an echo, a pipe
        wave = sum((_later(rng, clip, wave) for _ in range(int(rng.integers(1, 5)))), wave)
    return wave / max(1e-9, float(wave.std()))


def _folded(values: Samples, low: float, high: float) -> Samples:
    """Reflected at both ends until they are inside."""
    return np.asarray(high - np.abs((values - low) % (2 * (high - low)) - (high - low)))


def _later(rng: Rng, clip: Clip, wave: Samples) -> Samples:
    """The wave a while later, what goes past its end at its beginning, and softer."""
    later = round(log_uniform(rng, 0.001, clip.seconds) * clip.sample_rate)
    return np.roll(wave, later) * rng.uniform(0.3, 1)


def _hertz(rng: Rng, clip: Clip, lowest: float) -> float:
    return log_uniform(rng, lowest, min(HIGHEST_HZ, clip.sample_rate / 2.2))


def _pitch(rng: Rng, clip: Clip, events: Events, scale: tuple[int, ...]) -> Samples:
    """(M,) log2 of Hz."""
    num_kinds = events.num_kinds
    pitch = np.full(events.place.size, np.log2(_hertz(rng, clip, LOWEST_HZ)))
    if chance(rng, 0.5):  # a melody, from note to note of a scale
        degrees = np.cumsum(rng.integers(-3, 4, events.kind.size)) if chance(rng, 0.5) else None
        steps = rng.integers(-7, 8, num_kinds)[events.kind] if degrees is None else degrees % 15 - 7
        octave, degree = np.divmod(steps, len(scale))
        pitch += events.of_event(octave + np.array(scale)[degree] / 12)
    else:
        pitch += events.of_kind(rng.standard_normal(num_kinds) * log_uniform(rng, 0.02, 1))
    if chance(rng, 0.6):  # glides and arcs
        widest = log_uniform(rng, 0.03, 2.5)
        inside = np.clip(events.place, 0, 1)
        pitch += events.of_kind(rng.uniform(-widest, widest, num_kinds)) * (inside - 0.5)
        pitch += events.of_kind(rng.uniform(-widest, widest, num_kinds)) * np.sin(np.pi * inside) / 2
    if chance(rng, 0.5):  # vibrato, warbles, sirens
        pitch += log_uniform(rng, 0.003, 1) * swing(rng, clip.seconds, 0.15)
    if chance(rng, 0.4):
        pitch += log_uniform(rng, 0.005, 0.7) * wander(rng, clip.seconds)
    if chance(rng, 0.3):  # jitter
        pitch += log_uniform(rng, 0.002, 0.15) * rng.standard_normal(pitch.size)
    return pitch


def _brightness(rng: Rng, events: Events) -> Samples:
    """(M,) 1, or falling through each event as that of a string that is plucked, or rising."""
    falls = log_uniform(rng, 0.5, 10) * np.clip(events.place, 0, 1)
    return np.asarray([np.ones(falls.size), np.exp(-falls), 1 - np.exp(-falls)][int(rng.integers(3))])


def _loudness(rng: Rng, clip: Clip, events: Events) -> Samples:
    """(M,) from 0 to about 1: an envelope for each event, trembling, waxing and waning."""
    loudness = _envelopes(rng, events)
    if events.kind.size == 1 and chance(rng, 0.7):  # all of the clip
        loudness = np.ones(loudness.size)
    if chance(rng, 0.4):
        fastest = 12 if chance(rng, 0.7) else 150
        loudness *= 1 - rng.uniform(0.2, 1) * (1 + swing(rng, clip.seconds, 0.5, fastest)) / 2
    if chance(rng, 0.3):
        loudness *= 10 ** (rng.uniform(1, 10) * wander(rng, clip.seconds).clip(-2, 2) / 20)
    return loudness


def _envelopes(rng: Rng, events: Events) -> Samples:
    """(M,) attack, decay and release, of each kind of events its own; 0 outside of them."""
    num_kinds, place = events.num_kinds, events.place
    if chance(rng, 0.15):  # backwards
        place = 1 - place
    attack = np.exp(rng.uniform(np.log(0.004), np.log(0.7), num_kinds))
    release = np.exp(rng.uniform(np.log(0.02), np.log(0.8), num_kinds))
    decay = np.exp(rng.uniform(np.log(0.2), np.log(9), num_kinds)) * chance(rng, 0.6)
    spread = rng.uniform(0, 8) * rng.standard_normal(num_kinds)  # dB
    begun = np.clip(place / events.of_kind(attack), 0, 1)
    left = np.clip((1 - place) / events.of_kind(release), 0, 1)
    shape = (begun * left) ** rng.choice([0.5, 1, 2]) * 10 ** (-np.abs(events.of_kind(spread)) / 20)
    return np.asarray(
        np.where(events.sounding, shape * np.exp(-events.of_kind(decay) * np.clip(place, 0, 1)), 0)
    )


def _resonant(rng: Rng, clip: Clip, wave: Samples) -> Samples:
    """Through one to six resonances that stand, side by side."""
    response = np.zeros(wave.size // 2 + 1, dtype=complex)
    longest = log_uniform(rng, 0.0005, 0.3)
    for _ in range(int(rng.integers(1, 7))):
        bell = ringing(wave, _hertz(rng, clip, 60), longest * rng.uniform(0.1, 1), clip.sample_rate)
        response += bell / np.abs(bell).max() * rng.exponential()
    return filtered(wave, response + 10 ** (-rng.uniform(10, 60) / 20))


def _through_moving(rng: Rng, clip: Clip, wave: Samples, events: Events) -> Samples:
    """Through one to five resonances that move and swell, of themselves or with the events."""
    centres, levels = [], []
    for _ in range(int(rng.integers(1, 6))):
        centre = np.full(events.place.size, np.log2(_hertz(rng, clip, 120)))
        if chance(rng, 0.6):
            widest = log_uniform(rng, 0.05, 1.5)
            glide = events.of_kind(rng.uniform(-widest, widest, events.num_kinds))
            centre += events.of_kind(rng.uniform(-widest, widest, events.num_kinds))
            centre += glide * (np.clip(events.place, 0, 1) - 0.5)
        if chance(rng, 0.5):
            centre += log_uniform(rng, 0.03, 1.2) * swing(rng, clip.seconds, 0.1, 12)
        if chance(rng, 0.5):
            centre += log_uniform(rng, 0.03, 0.8) * wander(rng, clip.seconds)
        centres.append(centre)
        level = events.of_kind(rng.uniform(0.2, 1, events.num_kinds))
        if chance(rng, 0.5):
            level = level * 10 ** (rng.uniform(2, 15) * wander(rng, clip.seconds).clip(-3, 1) / 20)
        levels.append(level)
    octaves = np.exp(rng.uniform(np.log(0.08), np.log(2), len(centres)))
    bands = Bands(np.array(centres), np.array(levels), octaves)
    return moving(wave, bands, 10 ** (-rng.uniform(8, 60) / 20), clip.sample_rate)


def _recorded(rng: Rng, clip: Clip, wave: Samples) -> Samples:
    """As a microphone has it: too loud, in a room, through a channel, with noise of its own, or as it is."""
    rate, wave = clip.sample_rate, wave / max(1e-9, float(np.abs(wave).max()))
    if chance(rng, 0.12):
        wave = np.tanh(log_uniform(rng, 2, 30) * wave)
    if chance(rng, 0.4):
        wave = in_a_room(wave, log_uniform(rng, 0.01, 0.5), log_uniform(rng, 0.1, 3), rng, rate)
    if chance(rng, 0.3):
        wave = filtered(wave, colour(wave.size, rng.uniform(-0.7, 0.5), rate, 100.0))
    if chance(rng, 0.2):
        hertz = np.fft.rfftfreq(wave.size, 1 / rate)
        low, high = log_uniform(rng, 30, 500), log_uniform(rng, 1500, rate / 2)
        wave = filtered(wave, 1 / np.sqrt(1 + (low / np.maximum(hertz, 1)) ** 6 + (hertz / high) ** 8))
    if chance(rng, 0.4):
        hiss = filtered(rng.standard_normal(wave.size), colour(wave.size, rng.uniform(-1, 0), rate))
        wave = wave / np.abs(wave).max() + 10 ** (-rng.uniform(30, 75) / 20) * hiss / hiss.std()
    return np.asarray(wave - wave.mean())
