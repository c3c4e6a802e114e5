"""Lines that many documents have go; what people write again and again stays, and so do copies."""

import tracemalloc
from collections import Counter

import numpy as np
from level2 import results
from test_near import prose

from ablate.corpus.document import Document
from ablate.corpus.lines import LONG, Lines, Told

LIMITS = {"lines.documents": 12.0, "lines.words": 3.0}
MENU, NOTICE = "Home | News | About us | Contact", "© 2024 The Daily Page. All rights reserved, in all countries."


def pages(count: int, *lines: str) -> list[Document]:
    rng = np.random.default_rng(0)
    return [Document("\n".join([MENU, prose(rng), prose(rng), *lines]), str(number)) for number in range(count)]


def cut(documents: list[Document], kind: str = "prose", parts: int = 3) -> list[str]:
    return [one.text for result in results(Lines(kind, LIMITS), documents, parts) for one in result.documents]


def test_a_line_of_many_documents_goes():
    documents = pages(12, NOTICE)
    assert cut(documents) == ["\n".join(document.text.split("\n")[1:3]) for document in documents]
    assert cut(documents[:11]) == [document.text for document in documents[:11]]
    assert cut(documents, parts=1) == cut(documents, parts=12) == cut(documents[::-1])[::-1]


def test_what_went_is_counted():
    documents = pages(12, NOTICE)
    [noted] = {tuple(result.noted.items()) for result in results(Lines("prose", LIMITS), documents)}
    assert noted == (("lines.removed", 2), ("lines.bytes", len(f"{MENU}\n\n{NOTICE}".encode())))


def test_copies_of_a_document_are_one_document():
    [page] = pages(1, NOTICE)
    copies = [page._replace(text=f"{page.text}\n{number}", source=str(number)) for number in range(50)]
    assert cut(copies) == [copy.text for copy in copies]


def test_a_document_that_is_mostly_lines_of_others_keeps_them():
    documents = [*pages(20, NOTICE), Document(f"{MENU}\n{NOTICE}\nshort", "menu")]
    assert cut(documents)[-1] == documents[-1].text


def test_a_short_line_must_be_in_a_share_of_all():
    documents = [*pages(20), *(document._replace(text=document.text.replace(MENU, "x")) for document in pages(11_000))]
    assert len(MENU) < LONG
    assert cut(documents)[:20] == [document.text for document in documents[:20]]
    longer = [document._replace(text=f"{document.text}\n{NOTICE}") for document in documents[:20]]
    assert all(NOTICE not in text and MENU in text for text in cut([*longer, *documents[20:]])[:20])


def test_a_line_of_two_words_and_lines_of_code_stay():
    documents = pages(20, "Read more")
    assert all("Read more" in text for text in cut(documents))
    assert cut(documents, "code") == [document.text for document in documents]
    chinese = [document._replace(text=f"{document.text}\n版权所有，未经许可不得转载。") for document in documents]
    assert all("版权" not in text for text in cut(chinese))


def test_pages_whose_longest_lines_are_their_frame_are_many_pages():
    frame = [f"{NOTICE} {'and so on ' * 15}{number}" for number in range(2)]
    own = [[prose(np.random.default_rng((n, line)), 9) for line in range(30)] for n in range(20)]
    documents = [Document("\n".join([frame[0], *lines, frame[1]]), str(n)) for n, lines in enumerate(own)]
    once = cut(documents)
    assert once == ["\n".join(lines) for lines in own]
    assert cut([Document(text, str(n)) for n, text in enumerate(once)]) == once


def test_many_shared_lines_are_counted_in_little_memory():
    rng = np.random.default_rng(0)
    lines = rng.integers(1 << 63, size=3000, dtype=np.uint64) * np.uint64(2) + rng.integers(
        2, size=3000, dtype=np.uint64
    )
    notes = [
        np.unique(
            np.stack([rng.choice(lines, 4000), np.uint64(part) * rng.integers(9, size=4000).astype(np.uint64)], 1),
            axis=0,
        )
        for part in range(60)
    ]
    tracemalloc.start()
    found = Lines("prose", LIMITS).decide(1, notes, Told(frozenset(), 40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pairs = np.unique(np.concatenate(notes), axis=0)
    numbers, counts = np.unique(pairs[:, 0], return_counts=True)
    wanted = {n for n, count in zip(numbers.tolist(), counts.tolist(), strict=True) if count >= (12 if n & 1 else 40)}
    assert found == wanted
    assert 0 < len(wanted) < len(lines)
    assert peak < pairs.nbytes


def test_lines_worth_a_second_look_are_those_that_come_up_often_in_all_parts_together():
    rng = np.random.default_rng(3)
    parts_P = [np.unique(rng.choice(rng.integers(1 << 32, size=300), size=200)).astype(np.uint32) for _ in range(5)]
    parts_P[1:] = [np.union1d(part, parts_P[0][::2]) for part in parts_P[1:]]
    notes = [(part, np.full(len(part), 7, dtype=np.uint16), 40) for part in parts_P]
    times = Counter(number for part in parts_P for number in part.tolist())
    wanted = {number for number, count in times.items() if 7 * count >= LIMITS["lines.documents"]}
    assert 0 < len(wanted) < len(times)
    assert Lines("prose", LIMITS).decide(0, notes, None).halves == wanted
