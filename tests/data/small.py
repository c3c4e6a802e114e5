"""A small corpus of files: two domains of questions, many sources, prepared in a moment."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ablate.corpus.copies import Copies
from ablate.corpus.document import Document
from ablate.data.documents import cleaned, held_out, key
from ablate.data.questions import question
from ablate.data.text import open_source, share_of
from ablate.data.tokens import Corpus
from ablate.run.settings import Data
from ablate.run.whole import sha256_of


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_corpora(root: Path, documents: int = 300) -> None:
    """<root>/{asked,told}/rows.jsonl, ten documents a source."""
    for domain, first in {"asked": 0, "told": 1_000_000}.items():
        rows = [{"text": question(first + i).text, "source": f"{domain}:{i // 10}"} for i in range(documents)]
        write_jsonl(root / domain / "rows.jsonl", rows)


def small_data(root: Path, **settings) -> Data:
    """Settings for that folder."""
    given: dict[str, Any] = {
        "domains": ["asked", "told"],
        "focus": "asked",
        "vocabulary": 400,
        "span": 64,
        "validation": 0.1,
    }
    return Data(source="folder", root=str(root), **(given | settings))


def intact(corpus: Corpus) -> bool:
    """Whether every file has the sha256 that the manifest tells."""
    return all(sha256_of(corpus.folder / name) == told["sha256"] for name, told in corpus.manifest["files"].items())


def documents_of(data: Data, domain: str) -> Iterator[Document]:
    """The clean documents of a domain, one after the other."""
    return filter(share_of(data, domain), cleaned(open_source(data).documents(data.names[domain])))


def held(sizes: dict[str, int], share: float) -> set[str]:
    """Names of the sources that are held out; `sizes`: bytes by source."""
    names = {key(name): name for name in sizes}
    keys = np.array(sorted(names), dtype=np.uint64)
    found = held_out(keys, np.array([sizes[names[one]] for one in sorted(names)]), share)
    return {names[one] for one in found.tolist()}


def splits_of(data: Data) -> dict[str, dict[str, list[Document]]]:
    """The documents of every domain, by split, all in memory: what a preparation is to come to."""
    found = {}
    for domain in data.domains:
        documents, sizes = list(documents_of(data, domain)), dict[str, int]()
        for document in documents:
            sizes[document.source] = sizes.get(document.source, 0) + document.bytes
        chosen = held(sizes, data.validation)
        found[domain] = {"train": [d for d in documents if d.source not in chosen]}
        found[domain]["validation"] = [d for d in documents if d.source in chosen]
    copies = Copies.of(document.text for parts in found.values() for document in parts["validation"])
    return {domain: parts | {"train": copies.cut(parts["train"]).documents} for domain, parts in found.items()}
