import subprocess
import sys
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasper.config import ENGLISH_LABELS, SubwordConfig
from jasper.errors import ConfigError, MissingExtraError, TextError
from jasper.text import NORMALIZERS, Tokenizer, get_normalizer, labels_of, min_frames, read_labels

english = NORMALIZERS["english"]
basic = NORMALIZERS["basic"]
# Text where figures, signs and abbreviations meet, which plain random text seldom has.
written = st.lists(
    st.sampled_from(
        ["£", "$", "€", "5", "1", "00", "2005", ".", ":", ",", "st", "St.", "p.m.", " ", "'", "’"]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("£5", "five pounds"),
        ("£1", "one pound"),
        ("£3.50", "three pounds fifty pence"),
        ("£0.01", "one penny"),
        ("£5m", "five million pounds"),
        ("£", "pounds"),
        ("€20.", "twenty euros"),
        ("$1,234.56", "one thousand two hundred thirty four dollars fifty six cents"),
        ("$2.5 million", "two point five million dollars"),
        ("$1999", "one thousand nine hundred ninety nine dollars"),
    ],
)
def test_pounds_are_pounds(text, spoken):
    """The model zoo's: text is transliterated before currencies are read, so £ becomes "PS"."""
    assert english(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("12 Main St.", "twelve main street"),
        ("St. Paul", "saint paul"),
        ("12 Main St. in St. Paul", "twelve main street in saint paul"),
        ("12 main st., st. paul", "twelve main street saint paul"),
        ("He lives on Main St. near me", "he lives on main street near me"),
        ("They saw St. Paul's", "they saw saint paul's"),
        ("10 Downing St. Mr. Smith", "ten downing street mister smith"),
        ("42nd St. Station", "forty second street station"),
        ("ST. JOHN ON HIGH ST.", "saint john on high street"),
    ],
)
def test_streets_are_not_saints(text, spoken):
    """The model zoo's: every "st." is a saint."""
    assert english(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("3:30", "three thirty"),
        ("10:05", "ten oh five"),
        ("5:00", "five o'clock"),
        ("5:00 o'clock", "five o'clock"),
        ("3:30 p.m.", "three thirty p m"),
        ("5:00PM", "five p m"),
        ("at 9 a.m. sharp", "at nine a m sharp"),
        ("13:00", "thirteen hundred"),
        ("1:02:03", "one oh two oh three"),
        ("50:30", "fifty thirty"),
    ],
)
def test_times_expand(text, spoken):
    """The model zoo's: times stay figures, which the labels cannot spell."""
    assert english(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("1999", "nineteen ninety nine"),
        ("1905", "nineteen oh five"),
        ("1900", "nineteen hundred"),
        ("1000", "one thousand"),
        ("2000", "two thousand"),
        ("2005", "two thousand five"),
        ("2010", "twenty ten"),
        ("3000", "three thousand"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        ("1999's", "nineteen ninety nine's"),
        ("1,999", "one thousand nine hundred ninety nine"),
        ("1st 2nd 1,000th", "first second one thousandth"),
        ("3.14", "three point one four"),
        (".5 0.50", "point five zero point five zero"),
        ("007", "zero zero seven"),
        ("-5", "minus five"),
        ("1914-18", "nineteen fourteen eighteen"),
        ("B2B", "b two b"),
        ("1" * 5000, " ".join(["one"] * 5000)),
        ("9" * 5000 + "th", " ".join(["nine"] * 5000) + " th"),
        ("٣", "three"),
    ],
)
def test_numbers(text, spoken):
    assert english(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Mr. & Mrs. Smith, Jr.", "mister and missus smith junior"),
        ("Dr. No", "doctor no"),
        ("Ft. Worth, 6 ft. deep", "fort worth six feet deep"),
        ("50% + 1", "fifty percent plus one"),
        ("DON’T—stop…", "don't stop"),
        ("Café naïve Straße", "cafe naive strasse"),
        ("well-known_words", "well known words"),
        ("  a \t b\n", "a b"),
        ("", ""),
    ],
)
def test_words_and_signs(text, spoken):
    assert english(text) == spoken


@given(written)
def test_english_needs_no_other_labels(text):
    assert Tokenizer(ENGLISH_LABELS).unknown(english(text)) == set()


@pytest.mark.parametrize("name", NORMALIZERS)
@given(text=written)
def test_normalizing_twice_is_normalizing_once(name, text):
    normalize = NORMALIZERS[name]
    assert normalize(normalize(text)) == normalize(text)


def test_basic_is_idempotent_on_every_character():
    for code in range(sys.maxunicode + 1):
        once = basic(f"a{chr(code)}b")
        assert basic(once) == once


def test_plain_text_loads_no_library():
    code = (
        "import sys; from jasper.text import NORMALIZERS as n;"
        'assert n[\'english\']("Don’t STOP it") == "don\'t stop it";'
        "assert not {'inflect', 'anyascii'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("module", "text"), [("inflect", "5"), ("anyascii", "é")])
def test_missing_library_says_how_to_install_it(monkeypatch, module, text):
    from jasper import normalize

    normalize._inflect.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module} is not installed.*jasper-asr\[text\]"):
        english(text)


def test_basic_keeps_every_script():
    assert basic("Ĉu vi?  ＡＢＣ１２ हिन्दी, Ελλάς!") == "ĉu vi abc12 हिन्दी ελλάς"
    assert basic("L’État—c'est") == "l'état c'est"


def test_lower_and_none():
    assert NORMALIZERS["lower"](" A, B ") == "a, b"
    assert NORMALIZERS["none"](" A, B ") == "A, B"


def test_unknown_normalizer_lists_the_known():
    assert get_normalizer("english") is english
    with pytest.raises(ConfigError, match=r"'englsh'.*english, basic, figures, lower, none"):
        get_normalizer("englsh")


# Scores as SentencePiece gives them: log-probabilities, and for byte pairs the order of the merges.
UNIGRAM = {" the": -2.0, " t": -3.0, "he": -3.0, "h": -6.0, "e": -5.0, " ": -4.0, "t": -5.5, "n": -6.0}
PAIRS = {"he": 0.0, " t": -1.0, " the": -2.0, " th": -9.0, " ": -10.0, "t": -11.0, "h": -12.0, "e": -13.0}


def subword_tokenizer(scores: dict[str, float], algorithm: str) -> Tokenizer:
    subwords = SubwordConfig(algorithm=algorithm, scores=tuple(scores.values()))
    return Tokenizer(tuple(scores), subwords)


@pytest.mark.parametrize(
    ("algorithm", "scores", "text", "pieces"),
    [
        ("unigram", UNIGRAM, "the", [" the"]),
        ("unigram", UNIGRAM, "then the", [" the", "n", " the"]),
        ("unigram", UNIGRAM, "hethe", [" ", "he", "t", "he"]),
        ("unigram", UNIGRAM, "", []),
        ("bpe", PAIRS, "the", [" the"]),  # h+e, then ␣+t, then both
        ("bpe", PAIRS, "th", [" th"]),
        ("bpe", PAIRS, "  hee  t ", [" ", "he", "e", " t"]),
    ],
)
def test_subwords_are_cut_by_score(algorithm, scores, text, pieces):
    tokenizer = subword_tokenizer(scores, algorithm)
    assert [tokenizer.labels[token] for token in tokenizer.encode(text)] == pieces


@given(st.text(alphabet="then "))
def test_the_unigram_path_is_the_best_of_all(text):
    """Against every way to spell a word of the pieces."""

    def best(rest: str) -> float:
        starts = [p for p in UNIGRAM if rest.startswith(p)]
        return max((UNIGRAM[p] + best(rest[len(p) :]) for p in starts), default=-1e9) if rest else 0.0

    word = "".join(text.split())[:7]
    tokens = subword_tokenizer(UNIGRAM, "unigram").encode(word)
    found = sum(list(UNIGRAM.values())[token] for token in tokens)
    assert found == pytest.approx(best(f" {word}") if word else 0.0)


@pytest.mark.parametrize(("algorithm", "scores"), [("unigram", UNIGRAM), ("bpe", PAIRS)])
@given(text=st.text(alphabet="the "))
def test_subword_tokenizer_round_trip(algorithm, scores, text):
    tokenizer = subword_tokenizer(scores, algorithm)
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(f" {word}" for word in text.split())


def test_subword_tokenizer_names_what_it_cannot_spell():
    tokenizer = subword_tokenizer({" ab": 0.0, "c": -1.0}, "unigram")
    with pytest.raises(TextError, match="'x'"):
        tokenizer.encode("abx")
    with pytest.raises(TextError, match="a letter is in longer labels alone"):
        tokenizer.encode("ac")


@given(st.text(alphabet=st.sampled_from(ENGLISH_LABELS)))
def test_tokenizer_round_trip(text):
    tokenizer = Tokenizer(ENGLISH_LABELS)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_text_has_one_space_between_its_words_however_many_were_said():
    tokenizer = Tokenizer((" ", "a", "b"))
    assert tokenizer.text([0, 1, 2, 0, 0, 1, 0]) == "ab a"
    assert tokenizer.text([]) == tokenizer.text([0, 0]) == ""


def test_tokenizer_names_what_it_cannot_spell():
    tokenizer = Tokenizer(("a", "b"))
    assert tokenizer.blank == 2
    assert tokenizer.unknown("axbé") == {"x", "é"}
    with pytest.raises(TextError, match="'x', 'é'"):
        tokenizer.encode("axbé")


@pytest.mark.parametrize("token", [-1, 2])
def test_tokenizer_does_not_spell_the_blank(token):
    with pytest.raises(TextError, match=f"{token}"):
        Tokenizer(("a", "b")).decode([0, token])


@pytest.mark.parametrize(
    ("labels", "message"), [([], "no label"), (["a", "th"], "label 2 is 'th'"), (["a", "a"], "twice")]
)
def test_labels_are_distinct_characters(labels, message):
    with pytest.raises(ConfigError, match=message):
        Tokenizer(labels)


@pytest.mark.parametrize("space", [" ", "<space>"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_read_labels(tmp_path, space, end):
    path = tmp_path / "labels.txt"
    path.write_bytes((f"{space}\na\né\n\u2028" + end).encode())
    assert read_labels(path) == (" ", "a", "é", "\u2028")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\n\nb\n", "label 2 is empty"), (b"a\na\n", "twice"), (b"", "no label"), (b"\xff", "UTF-8")],
)
def test_bad_label_files(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"labels\.txt.*{message}"):
        read_labels(path)


def test_missing_label_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_labels(tmp_path / "none")


def test_labels_of_texts():
    assert labels_of(["b a", "'c"]) == (" ", "'", "a", "b", "c")
    assert labels_of(["ba"]) == ("a", "b")


@given(st.lists(st.integers(0, 2), max_size=8))
def test_min_frames_is_the_length_of_the_shortest_path(tokens):
    path = []
    for token in tokens:
        path += [None, token] if path and path[-1] == token else [token]
    assert [token for token, _ in groupby(path) if token is not None] == tokens
    assert min_frames(tokens) == len(path)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("Zero one TWO", "0 1 2"), ("eighty", "eighty"), ("someone", "someone"), ("", "")],
)
def test_figures_writes_the_ten_digits_and_nothing_else_as_figures(written, expected):
    assert NORMALIZERS["figures"](written) == expected
