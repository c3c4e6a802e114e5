"""Level 2 on real text with known dirt, and rule by rule on text that was written for it."""

from pathlib import Path

import numpy as np
import pytest
import real
from dirt import DIRT, can
from level2 import level_2, results

from ablate.corpus import flow, parts
from ablate.corpus.bounds import KINDS, PROSE
from ablate.corpus.document import Document, clean, order_key
from ablate.corpus.rules import RULES, steps
from ablate.corpus.step import Measured
from ablate.run.corpus import Prepare, Processing
from ablate.run.settings import UserError

SENTENCE = "The {} river rises near the {} hills and flows past {} old mills before it meets the {} sea in the {} bay."
WORDS = [
    f"{a}{b}{c}" for a in ("bar", "cor", "del", "fen") for b in ("a", "i", "o", "u") for c in ("ton", "mer", "vik")
]


def prose(seed: int, sentences: int = 12) -> str:
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(sentences):
        words = rng.choice(WORDS, size=int(rng.integers(8, 16)))
        lines.append(f"{' '.join(words)} {rng.integers(1000)}.".capitalize())
    return "\n".join(lines)


def signed(text: str) -> str:
    """As a list of changes is: each line ends with one of four names."""
    lines = text.split("\n")
    return "\n".join(f"{line} By {prose(100 + place % 4, 1)[:60]}" for place, line in enumerate(lines))


def judged(text: str, kind: str = "prose", languages: tuple[str, ...] = (), **processing) -> str | None:
    """The rule that removes a text."""
    removed = level_2([Document(text, "one")], kind, languages, **processing)[1]
    return removed["one"].rule if removed else None


def rules_of(file: str, documents: list[Document]) -> list[Measured | None]:
    """What the rules of single documents say: copies are another matter."""
    domain = file.split("/")[0]
    kind, languages = real.KINDS.get(domain, "prose"), real.LANGUAGES.get(domain, [])
    [step] = [step for step in steps(Processing(), kind, languages) if step.name == "rules"]
    return [one.removed for one in results(step, documents)]


@pytest.mark.slow
@pytest.mark.parametrize("file", real.FILES)
def test_clean_text_stays_and_dirt_goes(file):
    """The bounds were chosen on the other half of the documents."""
    documents = [document for document in real.documents(file) if order_key(document.source)[0] % 2]
    lost = [one for one in rules_of(file, documents) if one]
    assert len(lost) <= max(1, 0.01 * len(documents)), lost
    rng = np.random.default_rng(0)
    for name, make in DIRT.items():
        sample = [document for document in documents[:60] if can(name, document.text)]
        dirty = [document._replace(text=clean(make(document.text, rng))) for document in sample]
        found = sum(one is not None for one in rules_of(file, dirty))
        assert found >= 0.95 * len(dirty) - 1, (name, found, len(dirty))


@pytest.mark.slow
@pytest.mark.skipif(not real.FILES, reason="the corpora are not here")
def test_text_of_another_language_goes():
    texts = {file.split("/")[1][:2]: real.documents(file)[:40] for file in real.FILES if file.split("/")[0] != "code"}
    for wanted in ("it", "ja", "de"):
        [step] = [one for one in steps(Processing(), "prose", [wanted]) if one.name == "rules"]
        for language, documents in texts.items():
            removed = sum(one.removed is not None for one in results(step, documents))
            assert removed <= 0.02 * len(documents) if language == wanted else removed >= 0.95 * len(documents), (
                language
            )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Too short.", "length.words"),
        (prose(1).replace("a", "\N{REPLACEMENT CHARACTER}"), "garbled.characters"),
        (prose(1).replace("o", "ã©"), "garbled.mojibake"),
        (prose(1)[:200] + " " + "Zm9vYmFy" * 40, "garbled.codes"),
        (prose(1).replace("e", "#").replace("o", "%").replace("i", "="), "symbols.signs"),
        (prose(1, 4) + " " + " ".join(map(str, range(1000, 1300))), "symbols.digits"),
        ("\n".join([prose(1, 6), *["see https://a.example/x and www.b.example"] * 3, prose(2, 1)]), None),
        ("\n".join([prose(1, 3), *[prose(2, 1)] * 4]), "repetition.lines"),
        (prose(1, 2) + " come and buy now" * 30, "repetition.top_2"),
        ("".join(3 * letter if letter.isalpha() else letter for letter in prose(1)), "repetition.characters"),
        (f"{'=' * 60}\nRelease notes\n{'=' * 60}\n\n{prose(1, 2)}\n\nMends\n{'-' * 60}\n\n{prose(2, 1)}", None),
        (prose(1, 6) + " of the wide-character class" * 7, None),  # a short page that names its subject
        (signed(prose(1, 24)), None),
        (prose(1), None),
    ],
)
def test_a_rule_finds_what_it_is_for(text, rule):
    assert judged(text) == rule


def test_a_language_that_is_not_wanted_goes_whatever_the_first_words_say():
    italian = "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura, ché la diritta via era smarrita. "
    english = "The committee met on Tuesday to discuss the plans for the new bridge over the river and its costs. "
    assert judged(italian, languages=("it",)) is None
    assert judged(italian, languages=("en",)) == "language.other"
    noise = [english[:60], *(f"{italian} {number} {WORDS[number % 40]}." for number in range(40))]
    assert judged(" ".join(noise), languages=("en",), rules=["language"]) == "language.other"
    assert judged(" ".join(noise), languages=("it",), rules=["language"]) is None


def test_scripts_with_and_without_spaces():
    thai = "แม่น้ำสายนี้ไหลผ่านเมืองเก่าและทุ่งนากว้างใหญ่ ก่อนจะลงสู่ทะเลทางทิศใต้ ชาวบ้านริมฝั่งใช้น้ำจากแม่น้ำเพื่อการเกษตรมาหลายร้อยปี"
    hindi = "यह नदी पुराने शहर और चौड़े खेतों से होकर बहती है और दक्षिण में समुद्र से मिलती है। किनारे के लोग सदियों से इसका पानी पीते हैं।"
    korean = (
        "이 강은 오래된 도시와 넓은 들판을 지나 남쪽 바다로 흘러간다. "
        "강가의 사람들은 수백 년 동안 강물로 농사를 지어 왔다."
    )
    arabic = (
        "يمر هذا النهر عبر المدينة القديمة والحقول الواسعة قبل أن يصل "
        "إلى البحر في الجنوب ويستخدم السكان ماءه منذ مئات السنين."
    )
    russian = (
        "Эта река течёт через старый город и широкие поля, прежде чем "
        "впадает в море на юге. Жители пользуются её водой сотни лет."
    )
    chinese = "这条河流经古老的城市和广阔的田野，最后在南方流入大海。河边的居民几百年来一直用河水灌溉农田。"
    for text in (thai, hindi, korean, arabic, russian, chinese):
        assert judged(text) is None, text
        assert judged(text.encode().decode("latin-1")) is not None, text
    assert judged(chinese[:20]) == "length.words"


def test_what_a_document_gets_has_nothing_to_do_with_those_beside_it():
    rng = np.random.default_rng(0)
    texts = [prose(seed) for seed in range(8)] + [make(prose(9), rng) for make in DIRT.values()]
    documents = [Document(clean(text), str(number)) for number, text in enumerate(texts)]
    [step] = [step for step in steps(Processing(), "prose", []) if step.name == "rules"]
    together = step.apply(documents, None, 0)
    assert together == [step.apply([document], None, 5)[0] for document in documents]
    assert sum(one.removed is not None for one in together) >= 8


def test_a_document_near_a_bound_stays_and_is_shown():
    text = "\n".join([prose(1, 9), *[prose(2, 1)] * 4])
    [step] = steps(Processing(rules=["repetition"], bounds={"repetition": {"again_5": 1, "again_10": 1}}), "prose", [])
    [value] = [
        one.value for one in step.apply([Document(text, "x")], None, 0)[0].near if one.rule == "repetition.lines"
    ]
    assert 0.8 * PROSE["repetition"]["lines"] <= value <= PROSE["repetition"]["lines"]


def test_bounds_of_yours_win():
    text = "\n".join([prose(1, 3), *[prose(2, 1)] * 4])
    assert judged(text, rules=["repetition"]) == "repetition.lines"
    bounds = {"repetition": {name: 1.0 for name in PROSE["repetition"]}}
    assert judged(text, bounds=bounds) is None
    assert judged("Too short.", bounds={"length": {"words": 1}}) is None


def test_only_the_rules_that_are_asked_for():
    assert [step.name for step in steps(Processing(), "prose", [])] == ["masks", "lines", "rules", "copies"]
    assert [step.name for step in steps(Processing(rules=["length", "copies"]), "prose", [])] == ["rules", "copies"]
    assert judged("Too short.", rules=["garbled", "copies"]) is None


def test_a_rule_that_removes_most_of_a_domain_is_allowed_by_its_name(tmp_path):
    def level(name: str, *allow: str) -> Path:
        how = flow.How("web", 2, Prepare(workers=1), list(allow), most=0.5)
        found = steps(Processing(allow=list(allow)), "prose", [])
        return flow.run([tmp_path / "part-00000.parquet"], tmp_path / name, found, how)

    short = [Document(f"Only {number} words.", str(number)) for number in range(300)]
    parts.write(tmp_path / "part-00000.parquet", [*short, Document(prose(1, 6), "long"), Document(prose(1, 6), "copy")])
    with pytest.raises(UserError, match=r"domain web: rule length.words removes \d+% of its text.*corpus.allow"):
        level("stopped")
    for name in ("length", "length.words"):
        folder = level(name, name)
        assert [one.text for path in parts.paths_of(folder) for one in parts.read(path)] == [prose(1, 6)]


@pytest.mark.parametrize(
    ("processing", "kind", "languages", "said"),
    [
        ({"rules": ["lenght"]}, "prose", [], "corpus.rules: 'lenght' must be one of length, garbled"),
        ({"allow": ["all"]}, "prose", [], "corpus.allow: 'all' must be one of"),
        ({"bounds": {"repeats": {"lines": 1}}}, "prose", [], "corpus.bounds.repeats: must be one of length, garbled"),
        ({"bounds": {"length": {"words": 1, "w": 1}}}, "prose", [], "corpus.bounds.length.w: must be one of words"),
        ({}, "poetry", [], "corpus.kinds: 'poetry' must be one of prose, code, math, qa"),
        ({}, "prose", ["english"], "corpus.languages: 'english' must be a code such as en"),
    ],
)
def test_a_mistake_is_one_line(processing, kind, languages, said):
    with pytest.raises(UserError, match=said):
        steps(Processing(**processing), kind, languages)


def test_keys_tell_what_decides():
    def keys(kind="prose", languages=(), **processing):
        return [step.key() for step in steps(Processing(**processing), kind, list(languages))]

    assert keys() == keys(allow=["length"])
    others = [keys(kind) for kind in KINDS] + [keys(languages=["it"]), keys(bounds={"length": {"words": 3}})]
    assert len({repr(one) for one in others}) == len(others)
    assert keys(rules=RULES) == keys()


@pytest.mark.parametrize(
    "file", [file for file in real.FILES if "en_wiki" in file or "math_edu" in file or "zh" in file]
)
def test_level_2_of_level_2_is_level_2(file):
    rng = np.random.default_rng(0)
    documents = real.documents(file)[:150]
    dirty = [one._replace(text=clean(make(one.text, rng))) for make in DIRT.values() for one in documents[:3]]
    menus = [
        one._replace(text=f"Home and news and about us all\n{one.text}\nAll rights reserved by us") for one in documents
    ]
    kind = real.KINDS.get(file.split("/")[0], "prose")
    once = level_2([*documents[:50], *menus[50:], *dirty], kind)[0]
    assert 100 <= len(once) <= 150
    assert level_2(once, kind) == (once, {})


@pytest.mark.parametrize("rules", [["language"], ["against"], ["language", "against"]])
def test_rules_that_do_nothing_are_refused(rules):
    with pytest.raises(UserError, match="do nothing; `language` needs"):
        steps(Processing(rules=rules), "prose", [])
    assert [step.name for step in steps(Processing(rules=[*rules, "copies"]), "prose", [])] == ["copies"]


@pytest.mark.parametrize(
    ("rule", "name", "value", "said"),
    [
        ("length", "words", -5, "length.words=-5.*: must be a whole number, at least 0"),
        ("lines", "words", 2.5, "lines.words=2.5: must be a whole number, at least 1"),
        ("lines", "documents", 1, "lines.documents=1.*: must be a whole number, at least 2"),
        ("repetition", "lines", 30, "repetition.lines=30.*: must be from 0 to 1"),
        ("symbols", "signs", -0.1, "symbols.signs=-0.1: must be from 0 to 1"),
        ("copies", "share", 0, "copies.share=0.*: must be above 0"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(rule, name, value, said):
    with pytest.raises(UserError, match=said):
        steps(Processing(bounds={rule: {name: value}}), "prose", [])
