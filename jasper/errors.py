"""The errors that Jasper raises: each says what was found and what to do, and is a builtin kind too."""

from __future__ import annotations

from importlib import import_module


class JasperError(Exception):
    """Anything that the user can mend. The CLI prints its message on one line and exits with 2."""


class AudioError(JasperError, ValueError):
    """An audio file that is missing, unreadable or empty."""


class EmptyAudioError(AudioError):
    """An audio file that is whole and has no sample."""


class ConfigError(JasperError, ValueError):
    """A configuration with an unknown key, a wrong type or an impossible value."""


class TextError(JasperError, ValueError):
    """A transcript that the labels cannot spell."""


class ManifestError(JasperError, ValueError):
    """A manifest that is missing or has a line that cannot be used."""


class ModelError(JasperError, ValueError):
    """A model directory or its weights that do not fit what they claim to be."""


class UnavailableError(ModelError):
    """An engine that lacks the device or the precision on this machine; another engine may have it."""


class LanguageModelError(JasperError, ValueError):
    """A language model that cannot be read, made or used with these labels."""


class CheckpointError(JasperError, OSError):
    """A checkpoint that could not be written or read."""


class TrainingError(JasperError, RuntimeError):
    """A training that cannot go on, a loss that is not finite for example."""


class DownloadError(JasperError, OSError):
    """A download that failed or does not have the expected checksum."""


class RankError(JasperError, RuntimeError):
    """Of a training on several ranks another one has ended or does not answer."""


class Interrupted(KeyboardInterrupt):
    """A signal that ended the work. A shell and a scheduler know it by the exit code 128 + `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class MissingExtraError(JasperError, ImportError):
    """An optional package that this command needs; the message has the pip line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'jasper-asr[{extra}]'")
        self.needed = package, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return MissingExtraError, self.needed


def require(package: str, extra: str) -> None:
    """Before work that an optional package ends: raise MissingExtraError where it cannot be imported."""
    try:
        import_module(package)
    except ImportError:
        raise MissingExtraError(package, extra) from None
