"""A model and a manifest of clips in; what a stream loses against the whole recording, and its delay, out.

python benchmarks/stream.py MODEL MANIFEST [--minutes 10] [--look-ahead 0.25 0.5 1 1.5 3] [--step 0.5]

The clips are joined with silent pauses of 0.5 to 2 s and fed in chunks of 0.1 s. The delay of a word is the
sound that had come when it became final, less its end. Work is network frames, of those that the sound has.
"""

from __future__ import annotations

import argparse
from itertools import cycle

import numpy as np

import jasper
from jasper.audio import read_audio
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.stream import StreamConfig
from jasper.types import FloatArray, IntArray, Word

PAUSE_S = (0.5, 2.0)
CHUNK_S = 0.1


class CountingEngine:
    """Another engine, and how many frames it was given."""

    def __init__(self, model: Model) -> None:
        self.engine, self.name, self.frames = model.engine, model.engine.name, 0

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        self.frames += features.shape[0] * features.shape[2]
        return self.engine.log_probs(features, lengths)


def main() -> None:
    """Print a row a look-ahead; the first row is the whole recording's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--look-ahead", type=float, nargs="+", default=[0.25, 0.5, 1, 1.5, 3, 60])
    usual = StreamConfig()
    parser.add_argument("--step", type=float, nargs="+", default=[usual.step])
    parser.add_argument("--context", type=float, nargs="+", default=[usual.context])
    parser.add_argument("--memory", type=float, nargs="+", default=[usual.memory])
    arguments = parser.parse_args()
    model = jasper.load(arguments.model)
    wave, text = _join(model, arguments.manifest, arguments.minutes * 60)
    print("look-ahead  step  context  memory      WER  work  delay, median  95 %")
    whole = model.transcribe(wave).text
    print(f"{'the whole recording':33}  {count_errors(text.split(), whole.split()).rate:7.2%}", flush=True)
    for memory in arguments.memory:
        for context in arguments.context:
            for step in arguments.step:
                for look_ahead in arguments.look_ahead:
                    _measure(model, wave, text, StreamConfig(step, look_ahead, context, memory))


def _join(model: Model, manifest: str, seconds: float) -> tuple[FloatArray, str]:
    rng, parts, texts, samples = np.random.default_rng(0), [], [], 0
    for utterance in cycle(jasper.read_manifest(manifest)):
        if samples >= seconds * model.sample_rate:
            break
        clip = read_audio(utterance.path, model.sample_rate)
        pause = np.zeros(round(rng.uniform(*PAUSE_S) * model.sample_rate), dtype=np.float32)
        parts += [clip, pause]
        samples += clip.size + pause.size
        texts.append(model.normalize(utterance.text))
    return np.concatenate(parts), " ".join(texts)


def _measure(model: Model, wave: FloatArray, text: str, config: StreamConfig) -> None:
    engine = CountingEngine(model)
    stream = Model(model.config, engine).stream(config)
    size, heard, delays = round(CHUNK_S * model.sample_rate), list[Word](), list[float]()
    for start in range(0, wave.size, size):
        final = stream.feed(wave[start : start + size]).final
        now = min(start + size, wave.size) / model.sample_rate
        heard += final
        delays += [now - word.end for word in final]
    heard += stream.finish().final
    wer = count_errors(text.split(), [word.text for word in heard]).rate
    work = engine.frames / model.extractor.num_frames(wave.size)
    late = np.percentile(delays, [50, 95])
    print(
        f"{config.look_ahead:10g}  {config.step:4g}  {config.context:7g}  {config.memory:6g}  {wer:7.2%}"
        f"  {work:4.1f}  {late[0]:11.2f} s  {late[1]:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
