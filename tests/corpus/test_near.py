"""Of documents that say the same, the longest stays, in whatever order they come."""

from collections.abc import Sequence

import numpy as np
import pytest
import real
from dirt import edited
from level2 import results

from ablate.corpus.bounds import PROSE
from ablate.corpus.document import Document
from ablate.corpus.near import RUN, Copies, _signatures
from ablate.corpus.words import runs, words

LIMITS = {"copies.share": PROSE["copies"]["share"]}
WORDS = np.array(
    [f"{a}{b}" for a in "bcdfghklmnprst" for b in ("ale", "ine", "oth", "ump", "ark", "est", "ong", "ill")]
)


def prose(rng: np.random.Generator, length: int = 120) -> str:
    return " ".join(rng.choice(WORDS, size=length))


def kept(documents: Sequence[Document], kind: str = "prose", parts: int = 3) -> list[Document]:
    return [one for result in results(Copies(kind, LIMITS), documents, parts) for one in result.documents]


def jaccard(one: str, other: str) -> float:
    mine, others = (set(runs(words([text]), RUN).tolist()) - {0} for text in (one, other))
    return len(mine & others) / len(mine | others)


def planted(rng: np.random.Generator, texts: Sequence[str]) -> tuple[list[Document], dict[str, float]]:
    """Documents and a copy of each with a few of its words changed; how like they are, by the copy's source."""
    documents, like = [], {}
    for number, text in enumerate(texts):
        copy = edited(text, rng, rng.uniform(0.002, 0.06))
        documents += [Document(text, f"{number}"), Document(copy, f"{number}'")]
        like[f"{number}"] = jaccard(text, copy)
    return documents, like


def pairs_left(documents: Sequence[Document]) -> set[str]:
    sources = [document.source.rstrip("'") for document in documents]
    return {source for source in sources if sources.count(source) == 2}


def test_near_copies_go_and_others_stay():
    rng = np.random.default_rng(0)
    documents, like = planted(rng, [prose(rng, int(rng.integers(60, 400))) for _ in range(400)])
    left = pairs_left(kept(documents))
    near = {source for source, value in like.items() if value >= 0.8}
    far = {source for source, value in like.items() if value < 0.6}
    assert len(near) >= 60
    assert len(far) >= 30
    assert len(near - left) >= 0.95 * len(near)
    assert far <= left


@pytest.mark.slow
@pytest.mark.parametrize("file", real.FILES)
def test_near_copies_of_real_text_go_and_nothing_else(file):
    rng = np.random.default_rng(0)
    kind = real.KINDS.get(file.split("/")[0], "prose")
    clean = kept(real.documents(file)[:600], kind)
    documents, like = planted(rng, [document.text for document in clean])
    left = kept(documents, kind)
    near = {source for source, value in like.items() if value >= 0.8}
    gone = set(like) - pairs_left(left)
    assert len(near & gone) >= 0.95 * len(near)
    assert len({document.source.rstrip("'") for document in left}) >= len(like) - 0.01 * len(gone)


def test_the_longest_stays_then_the_smallest_hash_in_any_order_and_number_of_parts():
    rng = np.random.default_rng(1)
    texts = [prose(rng) for _ in range(20)]
    longer = [f"{text} {prose(rng, 8)}" for text in texts]
    documents = [Document(text, f"{name}{number}") for name in "abc" for number, text in enumerate(texts)]
    documents += [Document(text, f"long{number}") for number, text in enumerate(longer)]
    assert sorted(kept(documents)) == sorted(documents[60:])
    once = sorted(kept(documents[:60]))
    assert len(once) == 20
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(60)
        assert sorted(kept([documents[place] for place in order], parts=seed + 1)) == once


def test_what_is_like_one_that_went_stays():
    """a holds most of b, b most of c, and a too little of c: b goes, and c is not a copy of what is left."""
    rng = np.random.default_rng(2)
    parts = [prose(rng, 12) for _ in range(12)]
    chain = [" ".join(parts[start : start + 10]) + " end" * (3 - start) for start in range(3)]
    a, b, c = (Document(text, name) for name, text in zip("abc", chain, strict=True))
    assert jaccard(a.text, c.text) < 0.7
    assert kept([a, b, c]) == [a, c]
    assert kept([b, c]) == [b]


def test_the_evidence_is_the_twin():
    rng = np.random.default_rng(3)
    one = prose(rng)
    documents = [Document(one, "web:1"), Document(one, "web:2"), Document(one[: one.rindex(" ")], "web:3")]
    removals = [result.removed for result in results(Copies("prose", LIMITS), documents)]
    found = dict(zip([document.source for document in documents], removals, strict=True))
    [stays] = [source for source, removed in found.items() if removed is None]
    assert {removed.rule for removed in found.values() if removed} == {"copies.exact", "copies.near"}
    assert all(removed.evidence == f"{stays}: {one[:80]}" for removed in found.values() if removed)


TEMPLATE = (
    "A train runs at {} km an hour and crosses a platform of {} m in {} seconds, while a man on the platform walks at "
    "{} km an hour towards it. How long is the train, in metres, and when did it pass the man who stood still?"
)


def test_problems_that_differ_in_their_numbers_stay():
    rng = np.random.default_rng(4)
    documents = [Document(TEMPLATE.format(*rng.integers(10, 99, 4)), str(number)) for number in range(300)]
    changed = [one._replace(text=one.text.replace("the man who", "that man who")) for one in documents[:100]]
    assert kept(documents, "math") == kept(documents, "qa") == documents
    assert len(kept(documents + changed, "math")) == len(documents)


def test_signatures_estimate_what_texts_have_in_common():
    rng = np.random.default_rng(5)
    text = prose(rng, 600)
    for share in (0.01, 0.02):
        copies = [edited(text, rng, share) for _ in range(60)]
        keys = _signatures([Document(one, "x") for one in [text, *copies]]).keys_DB
        expected = np.mean([jaccard(text, copy) ** 7 for copy in copies])
        assert np.mean(keys[1:] == keys[0]) == pytest.approx(expected, abs=0.06)


def test_texts_of_a_few_words():
    documents = [Document(text, str(number)) for number, text in enumerate(["", "", "a b", "a  b!", "a b c", "中文"])]
    assert {document.text for document in kept(documents)} == {"", "a  b!", "a b c", "中文"}
