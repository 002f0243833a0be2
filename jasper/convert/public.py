"""Names of public weights in, their addresses, licences and published error rates out."""

from __future__ import annotations

from dataclasses import dataclass

_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia"
# What the pages of these models say; read it before you use them.
_NGC_LICENCE = "NVIDIA NGC terms of use"


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A checkpoint that anyone may fetch."""

    url: str
    language: str  # ISO 639-1
    licence: str
    wer: str  # as published, greedy search, %; "" where nothing was
    sha256: str | None = None  # None where none was published


def _nemo(name: str, language: str, wer: str, version: str = "1.0.0rc1") -> PublicModel:
    url = f"{_NGC}/nemo/{name}/versions/{version}/files/{name}.nemo"
    return PublicModel(url, language, _NGC_LICENCE, wer)


# Addresses: NeMo 2.7.3, `list_available_models`; the Chinese QuartzNet's and those of NVIDIA's own `.pt`:
# DeepLearningExamples. Error rates: NeMo's documentation, docs/source/asr/data/scores. NGC publishes no
# checksums.
PUBLIC: dict[str, PublicModel] = {
    "jasper10x5dr-en": _nemo("stt_en_jasper10x5dr", "en", "LibriSpeech dev-clean 3.74, dev-other 10.21"),
    "quartznet15x5-en": _nemo("stt_en_quartznet15x5", "en", "LibriSpeech dev-clean 4.38, dev-other 11.3"),
    "quartznet15x5-ca": _nemo("stt_ca_quartznet15x5", "ca", "Common Voice dev 6.0"),
    "quartznet15x5-de": _nemo("stt_de_quartznet15x5", "de", "Common Voice dev 11.78"),
    "quartznet15x5-es": _nemo("stt_es_quartznet15x5", "es", "Common Voice dev 12.97"),
    "quartznet15x5-fr": _nemo("stt_fr_quartznet15x5", "fr", "Common Voice dev 14.01"),
    "quartznet15x5-it": _nemo("stt_it_quartznet15x5", "it", "Common Voice dev 15.22"),
    "quartznet15x5-pl": _nemo("stt_pl_quartznet15x5", "pl", "Common Voice dev 14"),
    "quartznet15x5-ru": _nemo("stt_ru_quartznet15x5", "ru", "Common Voice dev 16.23"),
    "quartznet15x5-zh": _nemo("stt_zh_quartznet15x5", "zh", ""),
    "citrinet256-en": _nemo("stt_en_citrinet_256", "en", "LibriSpeech test-clean 4.4, test-other 10.7"),
    "citrinet512-en": _nemo("stt_en_citrinet_512", "en", "LibriSpeech test-clean 3.7, test-other 8.9"),
    "citrinet1024-en": _nemo("stt_en_citrinet_1024", "en", "LibriSpeech test-clean 3.6, test-other 7.9"),
    "citrinet256-gamma-en": _nemo(
        "stt_en_citrinet_256_gamma_0_25", "en", "LibriSpeech test-clean 4.8, test-other 10.7", "1.0.0"
    ),
    "citrinet512-gamma-en": _nemo(
        "stt_en_citrinet_512_gamma_0_25", "en", "LibriSpeech test-clean 3.9, test-other 9.0", "1.0.0"
    ),
    "citrinet1024-gamma-en": _nemo(
        "stt_en_citrinet_1024_gamma_0_25", "en", "LibriSpeech test-clean 3.4, test-other 7.6", "1.0.0"
    ),
    "citrinet512-es": _nemo("stt_es_citrinet_512", "es", "Common Voice test 10.3", "1.0.0"),
    "citrinet1024-gamma-es": _nemo(
        "stt_es_citrinet_1024_gamma_0_25", "es", "Common Voice 7.0 test 6.8", "1.8.0"
    ),
    "citrinet1024-de": _nemo("stt_de_citrinet_1024", "de", "Common Voice 7.0 test 7.59", "1.5.0"),
    "citrinet1024-gamma-fr": _nemo(
        "stt_fr_citrinet_1024_gamma_0_25", "fr", "Common Voice 7.0 test 12.20", "1.5"
    ),
    "citrinet512-zh": _nemo("stt_zh_citrinet_512", "zh", ""),
    "citrinet1024-gamma-zh": _nemo("stt_zh_citrinet_1024_gamma_0_25", "zh", "", "1.0.0"),
    "quartznet15x5-base-en": PublicModel(
        f"{_NGC}/nemospeechmodels/versions/1.0.0a5/files/QuartzNet15x5Base-En.nemo", "en", _NGC_LICENCE, ""
    ),
    "jasper10x5dr-nvidia": PublicModel(
        f"{_NGC}/jasperpyt_fp16/versions/1/files/jasper_fp16.pt", "en", _NGC_LICENCE, ""
    ),
    "quartznet15x5-nvidia": PublicModel(
        f"{_NGC}/quartznet_pyt_ckpt_amp/versions/21.03.0/files/nvidia_quartznet_210504.pt",
        "en",
        _NGC_LICENCE,
        "",
    ),
}
