"""Real text beside the repository, where it is: five domains, eight languages of people and of machines."""

import json
from pathlib import Path

from ablate.corpus.document import Document, clean

ROOT = Path(__file__).parents[2].parent / "shared" / "corpora"
KINDS = {"math": "math", "code": "code"}
LANGUAGES = {"asian": ["ja", "zh"], "english": ["en"], "european": ["de", "es", "fr", "it"], "math": ["en"]}
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("*/*.jsonl"))


def documents(file: str) -> list[Document]:
    rows = [json.loads(line) for line in (ROOT / file).read_text(encoding="utf-8").split("\n") if line]
    return [Document(clean(row["text"]), f"{file}:{number}") for number, row in enumerate(rows)]
