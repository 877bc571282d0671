"""BM25 vectors."""

from __future__ import annotations

import pytest

from retrieval.keywords import KeywordEncoder, identifiers
from retrieval.language import candidates, language_of
from retrieval.store import Sparse


def test_query_and_passage_share_the_tokens_of_shared_words() -> None:
    encoder = KeywordEncoder()
    passage = encoder.documents(["Galaxies hold billions of stars; a galaxy holds gas too."])[0]
    assert set(encoder.query("galaxy").indices) <= set(passage.indices)  # stemmed alike
    assert not set(encoder.query("palace").indices) & set(passage.indices)
    assert len(set(passage.indices)) == len(passage.indices) == len(passage.values)


def test_words_used_more_often_weigh_more() -> None:
    encoder = KeywordEncoder()
    once, often = encoder.documents(["salt water glass stone", "salt salt salt stone"])
    token = encoder.query("salt").indices[0]
    assert _weight(often, token) > _weight(once, token) > 0


def _weight(vector: Sparse, token: int) -> float:
    return vector.values[vector.indices.index(token)]


def test_texts_without_words_and_broken_texts() -> None:
    encoder = KeywordEncoder()
    assert encoder.query("") == encoder.query(" \n\t") == Sparse((), ())
    assert encoder.documents([]) == []
    broken = encoder.query("salt \ud83d")
    assert set(encoder.query("salt").indices) <= set(broken.indices)


PASSAGES = {
    "chinese": ("机器学习是人工智能的一个分支，研究如何让计算机从数据中学习。", "计算机从数据中学习"),
    "japanese": ("東京は日本の首都であり、世界最大の都市圏です。", "日本の首都であり"),
    "korean": ("서울은 대한민국의 수도이며 한강이 흐른다.", "수도 한강"),
    "thai": ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "เมืองหลวงของประเทศไทย"),
    "khmer": ("ភ្នំពេញគឺជារាជធានីនៃប្រទេសកម្ពុជា", "រាជធានីនៃប្រទេស"),
    "lao": ("ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ", "ນະຄອນຫຼວງ"),
    "burmese": ("နေပြည်တော်သည်မြန်မာနိုင်ငံ၏မြို့တော်ဖြစ်သည်", "မြန်မာနိုင်ငံ"),
    "german": ("Die Häuser der Städte wurden von den Bürgern mit Holz gebaut.", "Häuser der Städte"),
    "french": ("Les navires sont arrivés dans le port avec des marchandises.", "navires arrivés port"),
    "russian": ("Корабли пришли в порт рано утром.", "корабли порт"),
}


@pytest.mark.parametrize("language", PASSAGES)
def test_words_copied_from_a_passage_find_it_in_any_script(language: str) -> None:
    passage, question = PASSAGES[language]
    encoder = KeywordEncoder()
    asked = set(encoder.query(question).indices)
    held = set(encoder.documents([passage])[0].indices)
    assert len(asked & held) >= 0.6 * min(len(asked), 3)
    for other, (text, _) in PASSAGES.items():
        if other != language:
            assert len(asked & set(encoder.documents([text])[0].indices)) < len(asked & held)


def test_inflected_words_meet_in_their_language() -> None:
    encoder = KeywordEncoder()
    passage = encoder.documents(["Die Arbeiter haben die Maschinen nicht repariert, sondern ersetzt."])[0]
    assert set(encoder.query("Wann wurde die Maschine ersetzt?").indices) & set(passage.indices)
    assert set(encoder.query("naive").indices) <= set(encoder.documents(["A naïve plan."])[0].indices)


def test_one_han_sign_is_enough() -> None:
    encoder = KeywordEncoder()
    assert set(encoder.query("猫").indices) <= set(encoder.documents(["黒い猫がいる"])[0].indices)


def test_identifiers_count_whole() -> None:
    encoder = KeywordEncoder()
    right, wrong = encoder.documents(["Set foo.bar-baz to ERR_CONN_42.", "Set foo-bar to baz, ERR of CONN 42."])
    asked = set(encoder.query("foo.bar-baz ERR_CONN_42").indices)
    assert len(asked & set(right.indices)) > len(asked & set(wrong.indices))
    assert list(identifiers("See p53, v1.2.3 and well-known 3,000 or 2019.")) == ["p53", "v1.2.3"]


def test_full_width_twins_are_the_same_words() -> None:
    encoder = KeywordEncoder()
    assert set(encoder.query("ＡＢＣ").indices) == set(encoder.query("abc").indices)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the capital of France?", "english"),
        ("galaxy rotation curves", "english"),
        ("Die Katze schläft auf dem Sofa und träumt", "german"),
        ("Le chat dort sur le canapé", "french"),
        ("El perro de la casa está en el jardín", "spanish"),
        ("Москва столица России", "russian"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_short_question_is_tried_in_several_languages() -> None:
    assert candidates("der Hund")[:2] == ("english", "german")
    assert "german" in candidates("Häuser")
