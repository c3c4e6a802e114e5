"""Runs on tokens that other tools wrote: equal streams give equal weights."""

import numpy as np
import pytest
from runs import record_of, train_run
from safetensors.torch import load_file

from ablate.data.tokens import prepare_for
from ablate.fit import checkpoint


@pytest.mark.parametrize("workers", [0, 1])
def test_equal_streams_give_equal_weights_and_scores(tiny, tmp_path, workers):
    ours = tiny(data={"tokenizer": "", "vocabulary": 512}, where={"workers": workers})
    corpus = prepare_for(ours)
    for domain in corpus.domains:
        (tmp_path / domain).mkdir()
        train = np.array(corpus.tokens(domain, "train"))
        for number, part in enumerate(np.array_split(train, 3)):  # in the middle of documents, and of windows
            np.save(tmp_path / domain / f"part-{number}.npy", part.astype([np.uint16, np.int64, np.uint32][number]))
        corpus.tokens(domain, "validation").tofile(tmp_path / domain / "val.bin")
    of_shards = {"source": "shards", "root": str(tmp_path), "tokenizer": str(corpus.folder / "tokenizer.json")}
    theirs = tiny(data={"vocabulary": 512, "domain_bytes": 0, **of_shards}, where={"workers": workers})
    results = [train_run(settings) for settings in (ours, theirs)]
    weights = [checkpoint.sha256(load_file(record_of(settings).weights)) for settings in (ours, theirs)]
    assert weights[0] == weights[1]
    assert results[0]["validation"] == results[1]["validation"]
    assert record_of(ours).id != record_of(theirs).id
