"""Level 3: scores find what they are asked for in real text, and the best of a domain stay."""

import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import documents_of, results_of, summed, through

from ablate.corpus import classifier, score
from ablate.corpus.document import Document
from ablate.corpus.given import digest_of, texts_of
from ablate.data.documents import capped
from ablate.data.installed import Installed
from ablate.run.corpus import Processing, Scorer
from ablate.run.settings import Data, SettingsError, UserError

REAL = Path(__file__).parent.parent.parent.parent / "shared" / "corpora"


def steps(kind: str, keep: float = 0.5, **options: object):
    return score.steps(Processing(score=Scorer(kind=kind, keep=keep, options=options)))


def installed(domain: str, size: int) -> list[str]:
    source = Installed(Data(domains=[domain]))
    return [document.text for document in capped(source.documents(domain), size)]


def real(name: str) -> list[str]:
    return [json.loads(line)["text"] for line in (REAL / name).read_text(encoding="utf-8").splitlines()]


def mixed(wanted: list[str], others: list[str]) -> list[Document]:
    """In an order that tells nothing."""
    documents = documents_of(wanted, "wanted") + documents_of(others, "other")
    random.Random(0).shuffle(documents)
    return documents


def folder_of(path: Path, texts: list[str]) -> Path:
    path.mkdir()
    for number, text in enumerate(texts):
        (path / f"{number}.txt").write_text(text, encoding="utf-8")
    return path


def share_wanted(documents: list[Document]) -> float:
    """Of bytes."""
    sizes = {True: 0, False: 0}
    for document in documents:
        sizes[document.source.startswith("wanted")] += document.bytes
    return sizes[True] / sum(sizes.values())


def test_a_classifier_finds_code_among_prose(tmp_path):
    code, prose = installed("code", 1_200_000), installed("general", 800_000)
    like, wanted = code[::2], code[1::2]
    documents = mixed(wanted, prose)
    taken = steps("classifier", keep=share_wanted(documents), like=str(folder_of(tmp_path / "like", like)))
    results = results_of(taken[0], documents)
    assert summed(results)["score.classifier.auc"] > 0.75  # the others hold code too
    assert share_wanted(through(taken, documents)) > 0.98
    tags = [one.meta["scores"]["classifier"] for result in results for one in result.documents]
    of_code = [document.source.startswith("wanted") for document in documents]
    pairs = [np.array([tag for tag, code in zip(tags, of_code, strict=True) if code == is_code]) for is_code in (1, 0)]
    assert classifier.auc(*pairs) > 0.95  # some manuals are mostly code


@pytest.mark.skipif(not REAL.is_dir(), reason="the corpora are not here")
@pytest.mark.parametrize(
    ("one", "other"), [("math/math_edu", "english/en_edu"), ("european/it_lit", "european/es_lit")]
)
def test_a_classifier_tells_apart_what_is_alike(one, other):
    model = classifier.trained(real(f"{one}.jsonl"), real(f"{other}.jsonl"))
    assert model.auc > 0.98


def test_the_order_of_documents_and_batches_does_not_count(tmp_path):
    like = str(folder_of(tmp_path / "like", [f"good words number {n} are here" for n in range(20)]))
    texts = [f"{'good' if n % 3 else 'bad'} words, {n} of them" for n in range(60)]
    documents = documents_of(texts)
    kept = {batch: through(steps("classifier", like=like), documents, batch) for batch in (7, 60)}
    backwards = through(steps("classifier", like=like), documents[::-1])
    assert kept[7] == kept[60] == backwards[::-1]
    assert 0 < len(kept[7]) < 60


def test_the_sample_is_of_those_texts_whose_hash_is_smallest(tmp_path, monkeypatch):
    monkeypatch.setattr(score, "SAMPLE", 10)
    seen = []
    monkeypatch.setattr(classifier, "trained", lambda good, rest: seen.append((sorted(good), sorted(rest))))
    like = str(folder_of(tmp_path / "like", [f"good {n}" for n in range(30)]))
    texts = [f"text {n}" for n in range(50)]
    step = steps("classifier", like=like)[0]
    for batch in (3, 50):
        documents = documents_of(texts)
        parts = [documents[first : first + batch] for first in range(0, 50, batch)]
        bound = step.decide(0, [step.look(0, part, None) for part in parts], None)
        step.decide(1, [step.look(1, part, bound) for part in parts], bound)
    assert (
        seen[0]
        == seen[1]
        == (
            sorted(sorted([f"good {n}" for n in range(30)], key=classifier.order)[:10]),
            sorted(sorted(texts, key=classifier.order)[:10]),
        )
    )


def test_toxicity_is_the_same_with_less_being_better(tmp_path):
    like = str(folder_of(tmp_path / "like", [f"foul talk of kind {n}" for n in range(20)]))
    documents = documents_of([f"{'foul talk' if n < 10 else 'fine weather'} of {n}" for n in range(40)])
    for kind, foul in (("classifier", True), ("toxicity", False)):
        kept = through(steps(kind, 0.2, like=like), documents)
        assert all(("foul" in document.text) == foul for document in kept)


def test_listed_words_and_phrases_are_a_share_of_all(tmp_path):
    (tmp_path / "words.txt").write_text("Damn\nsilly fool\n\n", encoding="utf-8")
    step = steps("words", words=str(tmp_path / "words.txt"))[0]
    texts = ["damn, DAMN it all", "a silly fool he", "silly, no fool", "", "the fool damn"]
    shares = [
        one.meta["scores"]["words"] for result in results_of(step, documents_of(texts)) for one in result.documents
    ]
    assert shares == pytest.approx([2 / 4, 2 / 4, 0, 0, 1 / 3], abs=1e-6)


def test_a_list_without_words_and_a_domain_without_text_are_one_line(tmp_path):
    (tmp_path / "words.txt").write_text(" \n\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"corpus.score.options.words=.*words.txt: must have words in it"):
        steps("words", words=str(tmp_path / "words.txt"))
    like = folder_of(tmp_path / "like", [f"good text {n}" for n in range(9)])
    with pytest.raises(UserError, match=r"like=.*: 9 good texts and 0 others: at least 5 of each are needed"):
        results_of(steps("classifier", like=str(like))[0], documents_of(["", ""]))


def test_what_repeats_itself_has_less_entropy_however_long():
    prose = installed("general", 60_000)[0][:20_000]
    documents = documents_of([prose, prose[:2000], "the same line again\n" * 500])
    values = [one.meta["scores"]["entropy"] for one in through([steps("entropy")[0]], documents)]
    assert values[0] == pytest.approx(values[1], rel=0.2)
    assert values[2] < values[0] / 4
    assert values[1] == pytest.approx(len(zlib.compress(prose[:2000].encode())) / len(prose[:2000].encode()), abs=0.01)


SCORED = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), min_size=1, max_size=30)


@given(SCORED, st.floats(0.05, 1), st.sampled_from([1, -1]))
def test_the_best_stay_until_the_share_is_reached(rows, keep, sign):
    documents = [
        Document("x" * size, "s", {"id": str(n), "scores": {"k": value}}) for n, (value, size) in enumerate(rows)
    ]
    step, total = score.Select("k", sign, keep), sum(size for _, size in rows)
    try:
        kept = through([step], documents, batch=4)
    except UserError:
        assert max(size for _, size in rows) > 2 * keep * total
        return
    went = [document for document in documents if document not in kept]
    of = [[sign * document.meta["scores"]["k"] for document in some] for some in (kept, went)]
    assert not went or min(of[0]) >= max(of[1])
    assert abs(sum(document.bytes for document in kept) - keep * total) <= max(size for _, size in rows) / 2 + 1e-9
    assert through([step], documents[::-1]) == kept[::-1]


def test_what_goes_and_what_nearly_went_say_by_how_much():
    documents = [Document("x" * 10, "s", {"id": str(n), "scores": {"k": n / 10}}) for n in range(10)]
    results = results_of(score.Select("k", 1, 0.5), documents)
    removed = [result.removed for result in results if result.removed]
    assert [(one.rule, -one.value) for one in removed] == [("select.k", n / 10) for n in range(5)]
    assert {-one.bound for one in removed} == {0.5}
    assert [-measured.value for result in results for measured in result.near] == [n / 10 for n in range(5, 10)]


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (
            "cleverness",
            {},
            "corpus.score.kind=cleverness: must be one of classifier, toxicity, words, entropy, perplexity",
        ),
        ("classifier", {}, "corpus.score.options={}: classifier takes like"),
        ("entropy", {"like": "x"}, "corpus.score.options={'like': 'x'}: entropy takes none"),
        (
            "classifier",
            {"like": "nowhere"},
            "corpus.score.options.like=nowhere: must be a file, or a folder with files",
        ),
        ("words", {"words": ""}, "corpus.score.options.words=: must be a file"),
    ],
)
def test_wrong_options_are_one_line(kind, options, said):
    with pytest.raises(SettingsError) as error:
        steps(kind, **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_too_little_good_text_is_one_line(tmp_path):
    (tmp_path / "one.txt").write_text("little", encoding="utf-8")
    with pytest.raises(UserError, match="1 good texts and 20 others: at least 5 of each are needed"):
        through(steps("classifier", like=str(tmp_path)), documents_of([f"text {n}" for n in range(20)]))


def test_the_key_knows_the_contents_that_are_given_not_their_place(tmp_path):
    one, other = (folder_of(tmp_path / name, ["a", "b"]) for name in ("one", "other"))
    keys = [steps("classifier", like=str(folder))[0].key() for folder in (one, other)]
    assert keys[0] == keys[1]
    (other / "1.txt").write_text("c", encoding="utf-8")
    assert steps("classifier", like=str(other))[0].key() != keys[0]


def test_the_code_of_an_installed_package_may_be_the_good_text():
    texts = list(texts_of("corpus.score.options.like", "package:numpy"))
    assert len(texts) > 100
    assert any("def einsum" in text for text in texts)
    assert all(text for text in texts)
    with pytest.raises(SettingsError, match="package:nowhere: must be an installed package"):
        digest_of("corpus.score.options.like", "package:nowhere")
