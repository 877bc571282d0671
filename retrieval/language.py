"""Script and language of a text, as far as keyword search needs them: by characters and by small words."""

from __future__ import annotations

import re
from collections import Counter

# Scripts that put no spaces between words, and Hangul, whose particles cling to words.
UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u1100-\u11ff\uac00-\ud7a3"  # Hangul
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_WORDS = re.compile(r"[^\W\d_]+")
_SAMPLE = 4000  # characters looked at
_LEAST = 2  # small words that make a language out of a text that could be English

# The most frequent words that are no English ones; those that several languages share count for each of them.
_SMALL = {
    "english": "the of and to in is that for it as with was on are by be this from or an which not have at but",
    "german": "der die das und ist nicht ein eine den dem mit von zu auf für sich auch werden im wird sind des bei",
    "french": "le la les des est et une dans que qui pour pas sur au du avec ce par sont plus aux cette ont il",
    "spanish": "el la los las que del una por con para como más pero sus se su fue son entre está al lo es y",
    "italian": "il di che la per non una del sono con della anche gli nel alla dei più delle si lo è stato",
    "portuguese": "que não uma para com os por mais dos como foi ao das pela são também seu sua ele em é às do da",
    "dutch": "het een van dat niet zijn voor met als ook maar bij wordt aan door naar werd deze uit heeft de en is",
    "swedish": "och att det som en är av för på med den till inte har ett från om vid kan eller var efter",
    "danish": "og at det som er af for på med den til ikke har et fra ved kan eller var blev efter en der",
    "norwegian": "og at det som er av for på med den til ikke har et fra ved kan eller var ble etter en i",
    "finnish": "ja on ei että se oli hän ovat mutta kun myös joka tai kuin mukaan sen sekä hänen voi jotka",
    "hungarian": "a az és hogy nem egy is volt meg ez csak mint azt de már vagy még el ki amely után szerint",
    "romanian": "și de la în cu nu este pe care din un pentru mai sunt au fost prin sau ca lui iar dar",
    "turkish": "ve bir bu için ile de da olarak çok daha olan gibi kadar sonra ancak ise en değil vardır",
}
_BY_WORD: dict[str, tuple[str, ...]] = {}
for _language, _list in _SMALL.items():
    for _word in _list.split():
        _BY_WORD[_word] = (*_BY_WORD.get(_word, ()), _language)

_BY_SCRIPT = (
    (re.compile("[\u0400-\u04ff]"), "russian"),
    (re.compile("[\u0370-\u03ff\u1f00-\u1fff]"), "greek"),
    (re.compile("[\u0600-\u06ff\u0750-\u077f]"), "arabic"),
)
LANGUAGES = (*_SMALL, *(language for _, language in _BY_SCRIPT))


def language_of(text: str) -> str:
    """The likeliest of LANGUAGES; English where nothing speaks for another."""
    return candidates(text)[0]


def candidates(text: str) -> tuple[str, ...]:
    """Languages that the text may be in, the likeliest first; never empty. A question is too short to be sure."""
    sample = text[:_SAMPLE]
    if not sample.isascii():
        letters = sum(map(str.isalpha, sample))
        for script, language in _BY_SCRIPT:
            if 2 * len(script.findall(sample)) > letters > 0:
                return (language,)
    votes = Counter(language for word in _WORDS.findall(sample.lower()) for language in _BY_WORD.get(word, ()))
    best = max(votes.values(), default=0)
    if not votes and not sample.isascii():  # accents without a small word: any of them
        return tuple(_SMALL)
    if best < _LEAST or votes["english"] >= best:
        return ("english", *_others(votes, max(best, _LEAST)))
    return tuple(language for language, count in votes.most_common() if 2 * count >= best)


def _others(votes: Counter[str], best: int) -> tuple[str, ...]:
    """Languages that nearly as much speaks for: English and Dutch share words."""
    return tuple(language for language, count in votes.most_common() if language != "english" and 2 * count >= best)
