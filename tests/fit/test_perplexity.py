"""A run of ours scores documents: as the model itself says, and each by itself."""

import math
import pickle
import random
from pathlib import Path

import pytest
import torch
from runs import record_of, train_run
from stepping import documents_of, through

from ablate.corpus import score
from ablate.data.tokens import opened
from ablate.fit import perplexity, saved
from ablate.run.corpus import Processing, Scorer
from ablate.run.settings import UserError
from ablate.sweep.worker import alone

CODE = "def add(first, second):\n    return first + second\n\n\nclass Sum:\n    def __init__(self):\n        n = 0\n"


@pytest.fixture
def trained(tiny):
    settings = tiny()
    train_run(settings)
    return settings


def reader(settings):
    return perplexity.reader_of(Path(settings.where.outputs))(record_of(settings).id)


def test_bits_are_those_that_the_model_gives_to_each_token(trained):
    corpus, half = opened(alone(trained).corpus), trained.data.span // 2
    language, tokens = saved.load(record_of(trained)), corpus.tokenizer().encode(CODE).ids
    assert half < len(tokens) <= 2 * half
    nats = 0.0
    with torch.no_grad():
        for context, asked in (([corpus.end], tokens[:half]), (tokens[:half], tokens[half:])):
            logits = language.logits(torch.tensor([context + asked]))[0].log_softmax(-1)
            nats -= sum(logits[len(context) - 1 + n, token].item() for n, token in enumerate(asked))
    assert reader(trained).bits_per_byte(CODE) == pytest.approx(nats / math.log(2) / len(CODE.encode()), rel=1e-5)


def test_documents_that_the_run_foretells_stay(trained):
    rng = random.Random(0)
    noise = ["".join(rng.choice("qxzjkvwé#~") for _ in range(300)) for _ in range(10)]
    code = [CODE.replace("add", name) * 3 for name in "abcdefghij"]
    of = Scorer(kind="perplexity", options={"run": record_of(trained).id})
    steps = score.steps(Processing(score=of), perplexity.reader_of(Path(trained.where.outputs)))
    kept = through(pickle.loads(pickle.dumps(steps)), documents_of(code, "code") + documents_of(noise, "noise"))
    assert kept
    assert all(document.source.startswith("code") for document in kept)


def test_the_key_is_of_the_weights_and_a_run_that_is_not_there_is_one_line(trained):
    result = record_of(trained).result() or {}
    assert reader(trained).key()["weights"] == result["weights_sha256"]
    assert reader(trained).bits_per_byte("") == 0
    with pytest.raises(UserError, match="nobody: no such run"):
        perplexity.reader_of(Path(trained.where.outputs))("nobody")
    (record_of(trained).folder / "result.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        reader(trained)
