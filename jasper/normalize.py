"""Written text in, spoken text out: what the network's labels can spell.

`english` is the cleaning of NVIDIA's Jasper (after Keith Ito's Tacotron cleaners), which the MindSpore model
zoo took over, without its three faults: £ read as "PS", every "st." a saint, times left in figures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from jasper.errors import MissingExtraError

if TYPE_CHECKING:
    import inflect

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʼ＇", "'") | {"￡": "£"})
_PLAIN = re.compile(r"[A-Za-z' \t\r\n]*")
_FOREIGN = re.compile(r"[^\x00-\x7f£€]+")

_ABBREVIATIONS = {
    "mrs": "missus",
    "mr": "mister",
    "dr": "doctor",
    "drs": "doctors",
    "co": "company",
    "jr": "junior",
    "maj": "major",
    "gen": "general",
    "rev": "reverend",
    "lt": "lieutenant",
    "hon": "honorable",
    "sgt": "sergeant",
    "capt": "captain",
    "esq": "esquire",
    "ltd": "limited",
    "col": "colonel",
    "ft": "fort",
}
_ABBREVIATION = re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\.", re.IGNORECASE)
_FEET = re.compile(r"(?<=[0-9])\s?ft\.", re.IGNORECASE)
_SAINT_OR_STREET = re.compile(r"\bst\.", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9](?:(?:st|nd|rd|th)|(?:\s+[A-Z][\w']*){1,2})$")
# Words that follow a street's name in a sentence and begin no saint's.
_AFTER_STREET = frozenset(
    {
        "and",
        "are",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "near",
        "of",
        "on",
        "or",
        "the",
        "to",
        "was",
        "with",
    }
)

_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+"
_MERIDIEM = re.compile(r"(?<=[0-9])\s?([ap])\.?\s?m\b\.?")
_TIME = re.compile(
    r"(?<![0-9:])([01]?[0-9]|2[0-4]):([0-5][0-9])(?::([0-5][0-9]))?(?![0-9:])"
    r"(?:\s*o'clock\b)?(?P<half>\s*[ap] m\b)?"
)
_AMOUNT = re.compile(
    rf"([$£€])\s?({_NUMBER})(?:\.([0-9]+))?(?:(k|m|bn)\b|\s?(hundred|thousand|million|billion|trillion)\b)?"
)
_ORDINAL = re.compile(rf"({_NUMBER})(?:st|nd|rd|th)\b")
_DECADE = re.compile(r"([0-9]+)s\b")
_DECIMAL = re.compile(rf"((?<!\w)|{_NUMBER})\.([0-9]+)")
_INTEGER = re.compile(_NUMBER)

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FIGURES = {word: str(value) for value, word in enumerate(_DIGITS)}
_CURRENCIES = {
    "$": (("dollar", "dollars"), ("cent", "cents")),
    "£": (("pound", "pounds"), ("penny", "pence")),
    "€": (("euro", "euros"), ("cent", "cents")),
}
_SCALES = {"k": "thousand", "m": "million", "bn": "billion"}
_SYMBOLS = {"&": "and", "+": "plus", "%": "percent"} | {
    symbol: units[1] for symbol, (units, _) in _CURRENCIES.items()
}
_MAX_DIGITS = 15  # longer ones are read digit by digit, as telephone and serial numbers are


def english(text: str) -> str:
    """Spell English text with a to z, apostrophe and space alone.

    Raises MissingExtraError where there is something to expand and inflect or anyascii is not installed.
    """
    if not text.isascii():
        text = text.translate(_APOSTROPHES)
    if _PLAIN.fullmatch(text):
        return " ".join(text.lower().split())
    text = _FOREIGN.sub(lambda match: _transliterate(match[0]), text)
    text = _expand_abbreviations(text).lower()
    if re.search(r"[0-9]", text):
        text = _expand_numbers(text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, f" {word} ")
    return " ".join(re.sub(r"[^a-z']+", " ", text).split())


def basic(text: str) -> str:
    """Lower-case letters, digits, marks and apostrophes of any script; all else is a space."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    kept = (char if char == "'" or unicodedata.category(char)[0] in "LMN" else " " for char in text)
    return " ".join("".join(kept).split())


def figures(text: str) -> str:
    """As `english`, with zero to nine as figures: for networks that have one label a digit."""
    return " ".join(_FIGURES.get(word, word) for word in english(text).split())


def _transliterate(text: str) -> str:
    try:
        from anyascii import anyascii
    except ImportError:
        raise MissingExtraError("anyascii", "text") from None
    return anyascii(text)


def _expand_abbreviations(text: str) -> str:
    text = _SAINT_OR_STREET.sub(_saint_or_street, text)
    text = _FEET.sub(" feet ", text)
    return _ABBREVIATION.sub(lambda match: f"{_ABBREVIATIONS[match[1].lower()]} ", text)


def _saint_or_street(match: re.Match[str]) -> str:
    """A street has its name before it, and no name after it: "12 Main St. in St. Paul"."""
    text = match.string
    before = text[: match.start()].rstrip()
    after = re.match(r"[\s-]*([A-Za-z]*)", text[match.end() :])
    follower = after[1] if after else ""
    if not before[-1:].isalnum():
        return "saint "
    uncapitalised = not text.islower() and follower.islower()
    named = not text.isupper() and _ADDRESS.search(before) is not None
    if not follower or uncapitalised or named or follower.lower() in _AFTER_STREET:
        return "street "
    return "saint "


def _expand_numbers(text: str) -> str:
    """Spell every figure of a lower-case text. The order matters: each step leaves the rest to the next."""
    text = re.sub(r"'(?=[0-9])", " ", text)
    text = re.sub(r"(?<!\S)-(?=[$£€]?[0-9])", " minus ", text)
    text = _MERIDIEM.sub(r" \1 m ", text)
    text = _spell(_TIME, _time, text)
    text = _spell(_AMOUNT, _amount, text)
    text = _spell(_ORDINAL, _ordinal, text)
    text = _spell(_DECADE, lambda match: _inflect().plural(_year(match[1])), text)
    text = _spell(_DECIMAL, lambda match: _decimal(match[1], match[2]), text)
    return _spell(_INTEGER, lambda match: _year(match[0]), text)


def _spell(pattern: re.Pattern[str], words: Callable[[re.Match[str]], str], text: str) -> str:
    """Put words in place of figures, apart from what is around them, save an apostrophe ("1999's")."""

    def replace(match: re.Match[str]) -> str:
        end = "" if text.startswith("'", match.end()) else " "
        return f" {words(match)}{end}"

    return pattern.sub(replace, text)


def _time(match: re.Match[str]) -> str:
    hour, minute, second = int(match[1]), match[2], match[3]
    half = match["half"] or ""
    if minute == "00" and second is None:
        end = "" if half else " o'clock" if 1 <= hour <= 12 else " hundred"
        return f"{_words(hour)}{end}{half}"
    spoken = [_words(hour), *(_two_digits(part) for part in (minute, second) if part)]
    return " ".join(spoken) + half


def _two_digits(digits: str) -> str:
    return f"oh {_words(digits[1])}" if digits[0] == "0" else _words(digits)


def _amount(match: re.Match[str]) -> str:
    symbol, whole, fraction, suffix, scale = match.groups()
    (unit, units), (part, parts) = _CURRENCIES[symbol]
    scale = _SCALES.get(suffix, scale)
    if scale or (fraction is not None and len(fraction) != 2):
        number = _cardinal(whole) if fraction is None else _decimal(whole, fraction)
        return " ".join(filter(None, (number, scale, units)))
    spoken = f"{_cardinal(whole)} {unit if whole == '1' else units}"
    if fraction is None or fraction == "00":
        return spoken
    rest = f"{_cardinal(fraction.lstrip('0'))} {part if fraction == '01' else parts}"
    return rest if whole == "0" else f"{spoken} {rest}"


def _ordinal(match: re.Match[str]) -> str:
    digits = match[1].replace(",", "")
    return _words(f"{digits}th") if len(digits) <= _MAX_DIGITS else f"{_cardinal(digits)} th"


def _decimal(whole: str, fraction: str) -> str:
    point = " ".join(_words(digit) for digit in fraction)
    return f"{_cardinal(whole)} point {point}" if whole else f"point {point}"


def _year(digits: str) -> str:
    """Read four figures from 1001 to 2999 as years are: nineteen ninety nine, two thousand five."""
    if not re.fullmatch(r"[12][0-9]{3}", digits) or digits == "1000" or digits[:3] == "200":
        return _cardinal(digits)
    if digits.endswith("00"):
        return f"{_words(digits[:2])} hundred"
    return f"{_words(digits[:2])} {_two_digits(digits[2:])}"


def _cardinal(digits: str) -> str:
    digits = digits.replace(",", "")
    if len(digits) > _MAX_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return " ".join(_words(digit) for digit in digits)
    return _words(digits)


def _words(number: str | int) -> str:
    words = str(_inflect().number_to_words(str(number), andword=""))
    return " ".join(re.sub(r"[^a-z]+", " ", words).split())


@cache
def _inflect() -> inflect.engine:
    try:
        import inflect
    except ImportError:
        raise MissingExtraError("inflect", "text") from None
    return inflect.engine()
