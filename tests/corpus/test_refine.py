"""Level 4: a teacher's text takes the place of the original only where it is the same, cleaner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import documents_of, results_of, summed, through
from teaching import failed as fails
from teaching import prepare, said, serving, teacher, text_of

from ablate.corpus import chunks, endpoint, guards, prompts, refine
from ablate.corpus.endpoint import Endpoint
from ablate.run.settings import UserError

PROSE = (
    "The lighthouse was built in 1838 on a granite rock. Its keeper, Grace Darling, rowed out in a storm to save "
    "the crew of a steamer. She was 22 years old, and the sea was so high that nobody thought she would return."
)


OTHER = "Many a ship was lost on this coast in winter, when rowers would not go out. " * 2
LONG = PROSE + " The boat was small and the waves were large, and all the same they came back with nine of them."
SUMMARY = (
    "A keeper of a lighthouse on a rock saved a crew by rowing out to them, although it was stormy and seas were so "
    "high that she was thought lost."
)


@given(st.text(st.sampled_from("ab .\n。é!"), max_size=300), st.integers(1, 40))
def test_pieces_joined_are_the_text_and_fit(text, size):
    pieces = chunks.cut(text, size)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= size for piece in pieces)


def test_a_text_is_cut_where_it_hurts_least():
    text = "One.\n\nTwo two.\n\nA long one. It has two sentences.\nAnd a line.\n\nEnd."
    assert chunks.cut(text, 20) == [
        "One.\n\nTwo two.\n\n",
        "A long one. ",
        "It has two ",
        "sentences.\n",
        "And a line.\n\n",
        "End.",
    ]
    assert chunks.cut("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


ALLOWED = {
    "nothing changed": (PROSE, PROSE),
    "noise removed": ("HOME | NEWS | CONTACT\n" + PROSE + "\nShare this page", PROSE),
    "hyphens joined": (PROSE.replace("lighthouse", "light-\nhouse").replace("steamer", "stea-\nmer"), PROSE),
    "a broken name joined": (PROSE.replace("Darling", "Dar ling"), PROSE),
    "a capital put right": (PROSE.replace("Grace Darling", "grace darling"), PROSE),
    "reference marks removed": (PROSE.replace(".", ".[2]"), PROSE),
    "lines put right": (PROSE.replace(" ", "\n"), PROSE),
    "words parted": (PROSE.replace("built in 1838 on a granite", "builtin1838onagranite"), PROSE),
    "ideographs": ("这座灯塔建于一八三八年。广告。", "这座灯塔建于一八三八年。"),
}


@pytest.mark.parametrize(("original", "refined"), ALLOWED.values(), ids=ALLOWED)
def test_a_cleaner_text_passes(original, refined):
    assert guards.failed(original, refined) is None


REFUSED = {
    "shorter than half": (PROSE, PROSE[:90], "length"),
    "longer": (PROSE, PROSE + " And so it was that she became famous in all the land.", "length"),
    "empty": (PROSE, "", "length"),
    "a preface": (PROSE, "Here is the text:\n" + PROSE[20:], "talk"),
    "an offer": (PROSE, PROSE[:-60] + " Let me know if you need more.", "talk"),
    "an excuse": (PROSE, "I'm sorry, but " + PROSE[:120], "talk"),
    "a fence": (PROSE, "```\n" + PROSE + "\n```", "talk"),
    "another text": (PROSE, OTHER, "similar"),
    "a summary": (PROSE, SUMMARY, "similar"),
    "another number": (PROSE, PROSE.replace("1838", "1836"), "numbers"),
    "another name": (PROSE, PROSE.replace("Grace", "Greta"), "names"),
    "a name that begins a sentence": (PROSE, PROSE.replace("Its keeper", "Bamburgh's keeper"), "names"),
    "a sentence put in": (LONG, LONG.replace("She was", "it was cold and dark. She was"), "added"),
    "a preface of another kind": (LONG, "The cleaned text:\n" + LONG, "talk"),
    "a name put in": (PROSE, PROSE.replace("a steamer", "the Forfarshire"), "names"),
    "other ideographs": ("这座灯塔建于一八三八年。广告。", "山上的老人每天都在看海。", "similar"),
}  # fmt: skip


@pytest.mark.parametrize(("original", "refined", "guard"), REFUSED.values(), ids=REFUSED)
def test_a_text_with_something_new_does_not_pass(original, refined, guard):
    found = guards.failed(original, refined)
    assert found
    assert found.guard == guard


def test_a_word_that_begins_a_sentence_may_be_short_or_a_repair_and_is_else_a_name():
    original = "it rained. the sea rose. Wben waves feIl, all slept."
    assert guards.names(original, 'So it rained. "But the Sea rose."\n- When waves fell, all slept.') is None
    assert guards.names(original, "it rained. Bamburgh rose. When waves fell, all slept.") == "Bamburgh"
    assert guards.names("it rained.", "When it rained in Bamburgh, all slept.") == "Bamburgh"


def test_talk_that_stands_in_the_original_is_text():
    original = "Here is the house where I was born, and here are the hills."
    assert guards.failed(original, original) is None


def refining(url, folder, **changes):
    of_teacher = {"chunk": 80} | changes
    return refine.steps(Endpoint.of(teacher(**of_teacher), prepare(url), folder / "replies.sqlite"))


def without_noise(body, number):
    return said(body, text_of(body).replace("[edit]", "").replace("  ", " ").strip())


PAGE = "The sea is deep [edit] and cold in winter.\n\n\nThe second paragraph [edit] is about the shore of it.\n\nThird."


def test_pieces_are_refined_and_joined_as_they_were(tmp_path):
    with serving(without_noise) as (server, url):
        documents = documents_of([PAGE, "Nothing to clean."], level=3)
        steps = refining(url, tmp_path)
        results = results_of(steps[0], documents, batch=1)
    assert [one.text for result in results for one in result.documents] == [
        "The sea is deep and cold in winter.\n\n\nThe second paragraph is about the shore of it.\n\nThird.",
        "Nothing to clean.",
    ]
    assert results[1].documents[0] is documents[1]
    assert [one.meta for result in results for one in result.documents] == [one.meta for one in documents]
    counts = summed(results)
    assert counts["refine.pieces"] == counts["teacher.requests"] == server.requests == 3
    assert counts["refine.changed"] == 2
    assert (counts["teacher.prompt_tokens"], counts["teacher.reply_tokens"]) == (30, 15)
    system = server.bodies[0]["messages"][0]
    assert system == {"role": "system", "content": prompts.REFINE}


def test_a_piece_that_fails_stays_and_is_counted_by_why(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    texts = [f"{PROSE} {n} of them." for n in range(6)]
    answers = {
        texts[1]: lambda body: said(body, PROSE + " 1 of them, said 77."),
        texts[2]: lambda body: said(body, "Sure! " + texts[2]),
        texts[3]: lambda body: said(body, texts[3][:150], "length"),
        texts[4]: lambda body: said(body, ""),
        texts[5]: lambda body: fails(400),
    }

    def answer(body, number):
        return answers[text_of(body)](body) if text_of(body) in answers else said(body, texts[0])

    with serving(answer) as (_, url):
        step = refining(url, tmp_path, chunk=1000)[0]
        results_of(step, documents_of(texts[:1]))  # a model that has answered well
        results = results_of(step, documents_of(texts))
    assert [one.text for result in results for one in result.documents] == texts
    counts = summed(results)
    stayed = {name: value for name, value in counts.items() if name.startswith("refine.stayed")}
    assert stayed == {f"refine.stayed.{why}": 1 for why in ("numbers", "talk", "cut", "empty", "refused")}
    assert not counts.get("refine.changed")
    assert [near.evidence for near in results[1].near] == ["77"]


def test_a_first_line_stays_indented_where_nothing_is_refined(tmp_path):
    with serving(without_noise) as (_, url):
        documents = documents_of(["    return x\n\nNothing to clean."])
        [result] = results_of(refining(url, tmp_path)[0], documents)
    assert result.documents[0] is documents[0]


def test_the_same_text_whatever_the_batches(tmp_path):
    documents = documents_of([PAGE.replace("sea", f"sea {n}") for n in range(9)])
    texts = []
    with serving(without_noise) as (server, url):
        for batch, folder in ((2, "a"), (9, "b")):
            texts.append(through(refining(url, tmp_path / folder), documents[::-1] if batch == 2 else documents, batch))
        requests = server.requests
        through(refining(url, tmp_path / "a"), documents)
        assert server.requests == requests
    assert texts[0] == texts[1][::-1]


def test_a_budget_says_how_much_of_the_whole_domain_is_missing(tmp_path):
    documents = documents_of([f"One text of words, number {n}." for n in range(10)])
    with serving(without_noise) as (_, url):
        of = Endpoint.of(teacher(), prepare(url, requests=3, concurrency=1), tmp_path / "replies.sqlite")
        with pytest.raises(UserError, match="as many are made, and 7 of 10 replies are missing"):
            results_of(refine.steps(of)[0], documents, batch=2)


def test_the_key_is_of_what_decides_the_text(tmp_path):
    def key(url="http://x/v1", **changes):
        return refining(url, tmp_path, **changes)[0].key()

    assert key() == key("http://y/v1")
    changes = [{"model": "b"}, {"chunk": 9}, {"seed": 1}, {"temperature": 1.0}, {"tokens": 9}, {"chat": False}]
    keys = [key(**change) for change in [{}, *changes, {"prompt": "Be brief."}]]
    assert all(keys.count(one) == 1 for one in keys)
