"""What a study holds fixed: a fair sample of as many bytes, and the documents that all arms have."""

from corpus.steps import documents_of, written
from hypothesis import given
from hypothesis import strategies as st

from ablate.corpus import flow
from ablate.corpus.document import Document
from ablate.corpus.draw import Draw, Only, write_ids
from ablate.corpus.flow import How
from ablate.corpus.passes import id_of
from ablate.run.corpus import Prepare

TEXTS = [f"{'word ' * (number % 9)}{number}" for number in range(300)]
WHOLE = sum(map(len, TEXTS))


def drawn(tmp_path, bytes, texts=TEXTS, workers=1):
    into = tmp_path / f"{bytes}-{workers}" / "web"
    how = How("web", 2, Prepare(workers=workers), most=1.0)
    return documents_of(flow.run(written(into.parent / "in", texts), into, [Draw(bytes)], how))


def test_as_many_bytes_as_asked_to_within_half_a_document(tmp_path):
    for bytes in (0, 100, WHOLE // 2, WHOLE - 1, WHOLE, 2 * WHOLE):
        got = sum(document.bytes for document in drawn(tmp_path, bytes))
        assert abs(got - min(bytes, WHOLE)) <= max(map(len, TEXTS)) / 2


def test_a_smaller_draw_is_part_of_a_larger_one_and_order_does_not_matter(tmp_path):
    small, large = ({d.text for d in drawn(tmp_path, share)} for share in (WHOLE // 4, WHOLE // 2))
    assert small < large
    assert {d.text for d in drawn(tmp_path / "reversed", WHOLE // 4, TEXTS[::-1], workers=2)} == small


def test_length_does_not_say_who_is_drawn(tmp_path):
    found = drawn(tmp_path, WHOLE // 2)
    long = [document for document in found if document.text.count("word") >= 5]
    assert 0.3 < len(long) / len(found) < 0.6  # 4 in 9 of all


@given(st.sets(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3))
def test_children_stay_where_all_their_parents_do(tmp_path_factory, ids, parents):
    path = tmp_path_factory.mktemp("ids") / "ids.npy"
    write_ids(path, ids)
    own, child = Document("x", "s", {"id": parents[0]}), Document("y", "s", {"id": "z", "parents": parents})
    found = [bool(result.documents) for result in Only(path).apply([own, child], None, 0)]
    assert found == [parents[0] in ids, set(parents) <= ids]


def test_lists_of_the_same_ids_are_one_key(tmp_path):
    ids = [id_of(Document(text, "s")) for text in TEXTS]
    keys = []
    for number, some in enumerate([ids, ids[::-1], ids[1:]]):
        write_ids(tmp_path / f"{number}.npy", some)
        keys.append(Only(tmp_path / f"{number}.npy").key())
    assert keys[0] == keys[1] != keys[2]
