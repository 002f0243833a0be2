"""Text and a voice in, speech out: the espeak-ng library of the `espeakng-loader` wheel, driven by ctypes."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jasper.errors import JasperError, MissingExtraError
from jasper.types import FloatArray

# From espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2  # samples go to the callback, and espeak_Synth returns when all have
INITIALIZE_DONT_EXIT = 0x8000  # without it, espeak-ng ends the process where its data are missing
RATE, PITCH, PITCH_RANGE = 1, 3, 4
POS_CHARACTER = 1
CHARS_UTF8 = 1
EE_OK = 0

FULL_SCALE = 32768  # of its 16-bit samples
BUFFER_MS = 200  # of one call of the callback
RANDOM_SEED = 1  # of the breath noise; espeak-ng would take the time of day

REINSTALL = "reinstall it with: pip install --force-reinstall espeakng-loader"

# int callback(short *wave, int num_samples, espeak_EVENT *events)
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class EspeakError(JasperError, RuntimeError):
    """The espeak-ng library cannot be loaded, or does not have a voice."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How to speak. `name` is an accent of espeak-ng, or accent+variant: `en-us`, `en-us+f3`."""

    name: str
    rate: int = 175  # words a minute, 80 to 450
    pitch: int = 50  # 0 to 99: from half to twice the variant's own
    pitch_range: int = 50  # 0 (a monotone) to 99


class Synthesizer:
    """Speaks English with espeak-ng.

    The library keeps its voice, its callback and its random state in globals, one set for a process. So
    each synthesizer loads a copy of its own, which stays loaded (about 1 MB): two of them never disturb
    each other, and the same calls on a new one give the same samples. One synthesizer may be shared
    between threads; they speak one after the other. What came before colours what follows (a slow flutter
    of the pitch goes on), so only the whole sequence of calls is reproducible, not a call alone.

    MissingExtraError where the wheel is not installed, EspeakError where the library cannot be loaded.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise MissingExtraError("espeakng-loader", "demo") from None
        self._data = Path(espeakng_loader.get_data_path())
        self._library = _load_private(Path(espeakng_loader.get_library_path()))
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._callback = _Callback(self._receive)  # the library holds no reference of its own
        self._sample_rate = self._initialize()

    def speak(self, text: str, voice: Voice) -> tuple[FloatArray, int]:
        """Return the wave (N,), float32 mono in [-1, 1], and its sample rate in Hz (22050).

        EspeakError if espeak-ng has no such voice.
        """
        with self._lock:
            self._set_voice(voice)
            self._pieces.clear()
            encoded = text.encode() + b"\0"
            status = self._library.espeak_Synth(
                encoded, len(encoded), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
            )
            self._check(status, f"cannot speak {text!r}")
            self._library.espeak_Synchronize()
            samples = np.frombuffer(b"".join(self._pieces), dtype=np.int16)
        return samples.astype(np.float32) / np.float32(FULL_SCALE), self._sample_rate

    def _initialize(self) -> int:
        data = str(self._data).encode()
        rate: int = self._library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, BUFFER_MS, data, INITIALIZE_DONT_EXIT
        )
        if rate <= 0:
            raise EspeakError(f"{self._data}: espeak-ng cannot read its data there; {REINSTALL}")
        self._library.espeak_ng_SetRandSeed(RANDOM_SEED)
        self._library.espeak_SetSynthCallback(self._callback)
        return rate

    def _set_voice(self, voice: Voice) -> None:
        # espeak-ng passes over a variant that it does not have, without a word.
        _, plus, variant = voice.name.partition("+")
        if plus and not (self._data / "voices" / "!v" / variant).is_file():
            raise EspeakError(f"espeak-ng has no variant {variant!r} (asked for {voice.name!r})")
        found = self._library.espeak_SetVoiceByName(voice.name.encode())
        self._check(found, f"has no voice {voice.name!r}, or cannot read it from {self._data}")
        for parameter, value in ((RATE, voice.rate), (PITCH, voice.pitch), (PITCH_RANGE, voice.pitch_range)):
            refused = self._library.espeak_SetParameter(parameter, value, 0)
            self._check(refused, f"does not take the settings of {voice}")

    def _receive(self, wave: int | None, num_samples: int, events: int | None) -> int:
        if wave is not None and num_samples > 0:
            self._pieces.append(ctypes.string_at(wave, 2 * num_samples))
        return 0  # go on

    @staticmethod
    def _check(status: int, fault: str) -> None:
        if status != EE_OK:
            raise EspeakError(f"espeak-ng {fault} (status {status})")


def _load_private(path: Path) -> ctypes.CDLL:
    """Load a copy of a library: the system gives each file that it loads globals of its own."""
    # Windows does not delete a file that is loaded.
    with tempfile.TemporaryDirectory(prefix="jasper-espeak-", ignore_cleanup_errors=True) as folder:
        try:
            library = ctypes.CDLL(shutil.copy(path, folder))
        except OSError as error:
            raise EspeakError(f"{path}: a copy in {folder} cannot be loaded: {error}; {REINSTALL}") from None
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_SetSynthCallback.restype = None
    return library
