"""Held-out text as documents: to the byte, with their sources, and without moving what the text is called."""

import hashlib
import json

import pytest
from small import small_data, splits_of, write_jsonl  # pyrefly: ignore  # beside this file

from ablate.data import heldout
from ablate.data.heldout import HeldOut, texts_of
from ablate.data.tokens import prepare
from ablate.run.settings import UserError

# Signs of several bytes, odd spaces, digits, and text that is spelled like an end
ODD = [
    "naïve 12  34\n\n\tend",
    "日本語のテキスト <|end|> после",
    "a\u00a0b e\u0301 🙂 ﬁ",
    " ".join(map(str, range(500))),
]


@pytest.fixture
def odd_data(corpora):
    rows = [{"text": f"{text} ({n})", "source": f"s{n}"} for n, text in enumerate(ODD * 30)]
    write_jsonl(corpora / "odd" / "rows.jsonl", rows)
    return small_data(corpora, domains=["asked", "odd"], validation=0.3)


@pytest.mark.parametrize("chunk", [1 << 20, 300])
def test_documents_come_back_to_the_byte_with_their_sources(odd_data, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(heldout, "CHUNK_TOKENS", chunk)  # below the length of the longest document
    corpus = prepare(odd_data, tmp_path)
    for domain in odd_data.domains:
        parts = splits_of(odd_data)[domain]
        plain = [document._replace(meta={}) for document in parts["validation"]]  # which is not kept
        assert HeldOut(corpus).documents(domain) == plain
        train = [text for texts in texts_of(corpus, domain, "train") for text in texts]
        assert train == [document.text for document in parts["train"]]


def test_names_of_sources_are_no_content(corpora, tmp_path):
    """The fingerprint is what it was before they were kept."""
    manifest = prepare(small_data(corpora), tmp_path).manifest
    contents = {name: file["sha256"] for name, file in manifest["files"].items() if name != "sources.json"}
    assert len(contents) == len(manifest["files"]) - 1
    plain = json.dumps(contents, sort_keys=True, separators=(",", ":"))
    assert manifest["fingerprint"] == hashlib.sha256(plain.encode()).hexdigest()


def test_text_prepared_before_sources_were_kept_has_one_for_every_document(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path)
    known = HeldOut(corpus).documents("told")
    del corpus.manifest["files"]["sources.json"]
    (corpus.folder / "manifest.json").write_text(json.dumps(corpus.manifest))
    (corpus.folder / "sources.json").unlink()
    documents = HeldOut(prepare(small_data(corpora), tmp_path)).documents("told")
    assert [document.text for document in documents] == [document.text for document in known]
    assert len({document.source for document in documents}) == len(documents)


def test_a_tokenizer_that_decodes_to_other_text_is_refused(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path)
    path = corpus.folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["decoder"] = {"type": "Fuse"}  # leaves the letters that stand for bytes
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match="does not decode domain told"):
        HeldOut(corpus).documents("told")
