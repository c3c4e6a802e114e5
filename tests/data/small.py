"""A small corpus of files: two domains of questions, many sources, prepared in a moment."""

import json
from pathlib import Path
from typing import Any

from ablate.data.questions import question
from ablate.data.shards import sha256_of
from ablate.data.tokens import Corpus
from ablate.run.settings import Data


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
