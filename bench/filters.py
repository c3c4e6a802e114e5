"""Level 2 beside the tools that people use, on real text of five domains.

    rules             all of level 2, near duplicates included, beside the mean of datatrove's single filters
    near duplicates   with shingles and verification, beside all stages of datatrove's, and beside datasketch's
                      signatures and index, which verify nothing
    memory            of near duplicates among half a million short documents

datatrove's filters find words with spaCy, which `make bench` installs.
"""

import contextlib
import functools
import importlib
import io
import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ablate.corpus.document import Document
from ablate.corpus.near import BANDS, ROWS, RUN
from ablate.corpus.rules import steps
from ablate.corpus.step import Step
from ablate.run.corpus import Processing
from bench.rounds import ROOT, Row, ratios, report, run

TEXT = ROOT.parent / "shared" / "corpora"
KINDS = {"math": "math", "code": "code"}
LANGUAGES = {"asian": ["ja", "zh"], "english": ["en"], "european": ["de", "es", "fr", "it"], "math": ["en"]}
FILE_BYTES, BATCH, ROUNDS = 400_000, 256, 5
MANY, FEW = 500_000, 20_000  # documents whose memory is measured

ENGLISH = "eng"  # whose words datatrove has spaCy find

Texts = dict[str, list[Document]]


def filters(quick: bool) -> list[Row]:
    """MB of text a CPU second; GB of memory"""
    texts = {path.name: _read(path, FILE_BYTES // (10 if quick else 1)) for path in sorted(TEXT.glob("*"))[:5]}
    rounds = 1 if quick else ROUNDS
    peak = report([sys.executable, "-m", "bench.filters", str(FEW if quick else MANY)])["gigabytes"]
    memory_row = Row("near duplicates", f"{MANY:,} documents, GB", [peak], 1.2, "at most")
    return [*_rules(texts, rounds), *_duplicates(texts, rounds), memory_row]


def _rules(texts: Texts, rounds: int) -> list[Row]:
    others = {f"datatrove {name}": functools.partial(_datatrove, one=one) for name, one in theirs().items()}
    ours = {
        "level 2": functools.partial(_level, languages={}),
        "level 2 with languages": functools.partial(_level, languages=LANGUAGES),
    }
    found = run({name: functools.partial(_speed, texts, work) for name, work in (ours | others).items()}, rounds)
    rows = [Row("rules", f"{name}, MB/s", values) for name, values in found.items()]
    mean = [float(np.mean(of_round)) for of_round in zip(*(found[name] for name in others), strict=True)]
    return rows + [Row("rules", f"{name} / mean of the filters", ratios(found[name], mean), 5) for name in ours]


def _duplicates(texts: Texts, rounds: int) -> list[Row]:
    sides = {"ours": _near, "datatrove": _stages, "datasketch": _datasketch}
    found = run({name: functools.partial(_speed, texts, work) for name, work in sides.items()}, rounds)
    rows = [Row("near duplicates", f"{name}, MB/s", values) for name, values in found.items()]
    limits = {"datatrove": 12, "datasketch": 1.5}
    compared = {name: ratios(found["ours"], found[name]) for name in limits}
    return rows + [Row("near duplicates", f"ours / {name}", compared[name], limit) for name, limit in limits.items()]


def _read(folder: Path, file_bytes: int) -> list[Document]:
    """The first documents of each file of a domain."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        size = 0
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")):
            if line and size < file_bytes:
                found.append(Document(json.loads(line)["text"], f"{path.name}:{number}", {"id": f"{number:032x}"}))
                size += found[-1].bytes
    return found


def _megabytes(texts: Texts) -> float:
    return sum(document.bytes for documents in texts.values() for document in documents) / 1e6


def _speed(texts: Texts, work: Callable[[Texts], None]) -> float:
    start = time.process_time()
    work(texts)
    return _megabytes(texts) / (time.process_time() - start)


def _flow(step: Step, documents: Sequence[Document]) -> list[Document]:
    batches = [documents[start : start + BATCH] for start in range(0, len(documents), BATCH)]
    told, kept = None, []
    for number in range(step.rounds):
        told = step.decide(number, [step.look(number, batch, told) for batch in batches], told)
    for number, batch in enumerate(batches):
        kept += [one for result in step.apply(batch, told, number * BATCH) for one in result.documents]
    return kept


def _level(texts: Texts, languages: dict[str, list[str]]) -> None:
    for domain, documents in texts.items():
        for step in steps(Processing(), KINDS.get(domain, "prose"), languages.get(domain, [])):
            documents = _flow(step, documents)


def _near(texts: Texts) -> None:
    for domain, documents in texts.items():
        [step] = steps(Processing(rules=["copies"]), KINDS.get(domain, "prose"), [])
        _flow(step, documents)


@functools.cache
def theirs() -> dict[str, Any]:
    from datatrove.pipeline import filters
    from loguru import logger

    logger.disable("datatrove")
    return {
        "Gopher repetition": filters.GopherRepetitionFilter(language=ENGLISH),
        "Gopher quality": filters.GopherQualityFilter(language=ENGLISH),
        "C4": filters.C4QualityFilter(language=ENGLISH),
        "FineWeb": filters.FineWebQualityFilter(language=ENGLISH),
    }


def _pipeline(documents: Iterable[Document]) -> Any:
    from datatrove.data import Document as Theirs

    return (Theirs(text=document.text, id=document.source) for document in documents)


def _datatrove(texts: Texts, one: Any) -> None:
    for documents in texts.values():
        list(one.run(_pipeline(documents)))


def _stages(texts: Texts) -> None:
    for documents in texts.values():
        without_copies(lambda documents=documents: _pipeline(documents))


def without_copies(documents: Callable[[], Any]) -> list[Any]:
    """Those that all stages of datatrove's near duplicates leave; it reads them twice."""
    import xxhash
    from datatrove.pipeline.dedup import minhash

    # datatrove 0.10 hands it text, which version 4 does not take
    hashes: Any = importlib.import_module("datatrove.utils.hashes.xxhash")
    hashes.xxhash = SimpleNamespace(xxh64_intdigest=lambda text: xxhash.xxh64_intdigest(text.encode()))
    config = minhash.MinhashConfig(n_grams=RUN, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        signatures, buckets, remove = (f"{folder}/{name}" for name in ("signatures", "buckets", "remove"))
        minhash.MinhashDedupSignature(signatures, config, language=ENGLISH).run(documents(), 0, 1)
        for bucket in range(config.num_buckets):
            minhash.MinhashDedupBuckets(signatures, buckets, config=config).run(None, bucket, config.num_buckets)
        minhash.MinhashDedupCluster(buckets, remove, config=config).run(None, 0, 1)
        return list(minhash.MinhashDedupFilter(remove).run(documents(), 0, 1))


def _datasketch(texts: Texts) -> None:
    from datasketch import MinHash, MinHashLSH  # pyrefly: ignore[missing-import]

    for documents in texts.values():
        index = MinHashLSH(num_perm=BANDS * ROWS, params=(14, 8))
        for number, document in enumerate(documents):
            words = re.findall(r"\w+", document.text.lower())
            runs = {" ".join(words[start : start + RUN]) for start in range(max(1, len(words) - RUN + 1))}
            signature = MinHash(num_perm=BANDS * ROWS)
            signature.update_batch([one.encode() for one in runs])
            index.query(signature)
            index.insert(number, signature)


def memory(count: int) -> float:
    """The most memory that near duplicates among so many documents of 400 bytes take, a tenth of them copies; in GB."""
    words = np.array([f"w{number}" for number in range(20_000)])

    def batch(number: int) -> list[Document]:
        rng = np.random.default_rng(number)
        texts = [str.join(" ", words[rng.integers(0, len(words), 70)]) for _ in range(BATCH)]
        for place in range(0, BATCH, 10):
            texts[place] = f"{texts[place + 1]} {number}"
        return [Document(text, f"{number}:{place}", {"id": f"{place:032x}"}) for place, text in enumerate(texts)]

    [step] = steps(Processing(rules=["copies"]), "prose", [])
    told: Any = None
    for round in range(step.rounds):
        told = step.decide(round, [step.look(round, batch(number), told) for number in range(count // BATCH)], told)
    removed = 0
    for number in range(count // BATCH):
        removed += sum(one.removed is not None for one in step.apply(batch(number), told, number * BATCH))
    assert removed > 0.09 * count, removed
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    print(json.dumps({"gigabytes": memory(int(sys.argv[1]))}))
