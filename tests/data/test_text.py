"""Domains and what they are called in a source: renamed, or sharing one text without overlap."""

import itertools

import pytest
from small import documents_of, small_data, write_corpora, write_jsonl  # pyrefly: ignore  # beside this file

from ablate.data.documents import cleaned
from ablate.data.text import open_source
from ablate.data.tokens import prepare
from ablate.run.settings import Data, UserError


def documents(data: Data) -> dict[str, list]:
    return {domain: list(documents_of(data, domain)) for domain in data.domains}


def test_a_domain_reads_what_its_source_calls_otherwise(corpora):
    named = documents(small_data(corpora, domains=["asked", "answers"], sources={"answers": "told"}))
    own = documents(small_data(corpora))
    assert named == {"asked": own["asked"], "answers": own["told"]}


def test_a_domain_alone_has_every_clean_document_in_the_order_of_the_source(corpora):
    data = small_data(corpora)
    source = open_source(data)
    for domain in data.domains:
        assert list(documents_of(data, domain)) == list(cleaned(source.documents(domain)))


@pytest.mark.parametrize("domains", [["one", "two"], ["one", "two", "three"]])
def test_domains_of_one_name_divide_it_between_them(corpora, domains):
    whole = documents(small_data(corpora, domains=["told"], focus="told"))["told"]
    shared = documents(small_data(corpora, domains=domains, focus="one", sources=dict.fromkeys(domains, "told")))
    assert sorted(itertools.chain(*shared.values())) == sorted(whole)
    for one, other in itertools.combinations(shared.values(), 2):
        assert not {d.source for d in one} & {d.source for d in other}
        assert not {d.text for d in one} & {d.text for d in other}
    assert min(len(part) for part in shared.values()) > len(whole) / len(domains) / 2


def test_two_sources_with_the_same_text_leave_it_in_one_domain(tmp_path):
    rows = [{"text": f"text {i // 2}", "source": f"source {i}"} for i in range(200)]
    write_jsonl(tmp_path / "all" / "x.jsonl", rows)
    data = small_data(tmp_path, domains=["a", "b"], focus="a", sources={"a": "all", "b": "all"})
    texts = [d.text for part in documents(data).values() for d in part]
    assert sorted(texts) == sorted({row["text"] for row in rows})


def test_a_source_stays_in_its_share(tmp_path):
    """Which one is the last bit of sha256("share <source>"), and not of sha256("<source>"), which orders sources: so
    that the first sources of a share are a fair sample of it."""
    write_jsonl(tmp_path / "all" / "x.jsonl", [{"text": f"text {i}", "source": f"book {i}"} for i in range(6)])
    data = small_data(tmp_path, domains=["a", "b"], focus="a", sources={"a": "all", "b": "all"})
    found = {domain: {d.source for d in part} for domain, part in documents(data).items()}
    assert found == {"a": {"book 3", "book 5"}, "b": {"book 0", "book 1", "book 2", "book 4"}}


def test_shares_do_not_depend_on_the_order_of_domains(corpora):
    sources = {"one": "told", "two": "told"}
    forth = documents(small_data(corpora, domains=["one", "two"], focus="one", sources=sources))
    back = documents(small_data(corpora, domains=["two", "one"], focus="one", sources=sources))
    assert forth == back


def test_installed_text_under_other_names_and_shared():
    sources = {"italian": "science", "english": "science", "asked": "qa"}
    data = Data(domains=[*sources, "code"], sources=sources, domain_bytes=100_000)
    some = {d: list(itertools.islice(documents_of(data, d), 30)) for d in data.domains}
    assert {d.source.split(":")[0] for d in some["asked"]} == {"questions"}
    assert {d.source.split(":")[0] for d in some["code"]} == {"stdlib"}
    assert not {d.source for d in some["italian"]} & {d.source for d in some["english"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(sources={"code": "poetry"}), r"^data.sources.code: installed text has general, .*'poetry'$"),
        (Data(domains=["poetry"]), r"^data.domains: installed text has general, .*'poetry'$"),
    ],
)
def test_a_name_that_is_not_there_is_refused_by_its_key(data, message):
    with pytest.raises(UserError, match=message):
        open_source(data)


def test_a_folder_that_is_not_there_is_refused(corpora):
    with pytest.raises(UserError, match=r"has no folder 'nope'; .*data.sources.asked=<folder>"):
        open_source(small_data(corpora, sources={"asked": "nope"}))


def test_prepared_data_knows_its_sources(tmp_path):
    write_corpora(tmp_path / "corpora")
    plain = prepare(small_data(tmp_path / "corpora"), tmp_path)
    swapped = prepare(small_data(tmp_path / "corpora", sources={"asked": "told", "told": "asked"}), tmp_path)
    same = prepare(small_data(tmp_path / "corpora", sources={"asked": "asked"}), tmp_path)
    assert len({plain.folder, swapped.folder, same.folder}) == 3
    assert swapped.fingerprint != plain.fingerprint == same.fingerprint
    assert swapped.num_tokens("asked", "train") == plain.num_tokens("told", "train")
