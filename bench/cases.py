"""What is measured: two sizes of model on the same text, and a folder to train them in.

    nano    1 M parameters, vocabulary 2048      micro   10 M parameters, vocabulary 4096

Both take 16 rows of 256 tokens a step, on one thread: what one worker of a sweep does on a laptop.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from ablate.data.batches import Steps, training_spans
from ablate.data.tokens import prepare
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.parse import from_plain
from ablate.run.settings import Settings
from bench.rounds import ROOT

DATA = ROOT / "outputs" / "data"  # prepared once, and shared with everything else

VOCABULARY = {"nano": 2048, "micro": 4096}
LENGTH = 256  # tokens of a row
STEP_TOKENS = 4096


def settings(
    size: str, steps: int, outputs: Path | str, precision: str = "fp32", changes: Mapping[str, Any] | None = None
) -> Settings:
    """A run of `steps` steps of conf/size/<size>: one evaluation, after the last of them, and no checkpoint.

    `changes`: of settings, as they nest.
    """
    plain = OmegaConf.create(
        {
            "data": {"vocabulary": VOCABULARY[size], "span": LENGTH},
            "size": yaml.safe_load((ROOT / "conf" / "size" / f"{size}.yaml").read_text()),
            "length": {"lengths": [LENGTH]},
            "tokens": steps * STEP_TOKENS,
            "step_tokens": STEP_TOKENS,
            "evaluation": {"times": 1, "spans": 1},
            "precision": precision,
            "where": {
                "outputs": str(outputs),
                "device": "cpu",
                "wandb": "off",
                "progress": False,
                "saves": 1,
            },
        }
    )
    return from_plain(OmegaConf.to_container(OmegaConf.merge(plain, changes or {})))


def steps_of_run(one: Settings) -> Steps:
    """The batches of a run, as its own trainer reads them."""
    corpus = prepare(one.data, Path(one.where.outputs))
    return Steps(Order(timeline(one), training_spans(corpus, one)), corpus)


@contextmanager
def outputs() -> Iterator[Path]:
    """An output folder for one measurement, which knows the prepared text already."""
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "data").symlink_to(DATA)
        yield Path(folder)
