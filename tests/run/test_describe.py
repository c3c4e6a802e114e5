"""What `--help` says of the settings: all of them, with what they may be."""

from ablate.run.describe import describe
from ablate.run.fields import declared
from ablate.run.settings import Settings

FOUND = {one.key: one for one in describe()}


def test_every_setting_is_described_in_words():
    assert list(FOUND) == list(declared(Settings))
    assert not [key for key, one in FOUND.items() if not one.words]


def test_what_is_allowed_is_read_from_the_type():
    allowed = {
        "tokens": "int, at least 0",
        "data.validation": "float, above 0, at most 0.5",
        "averaging.kind": "none | uniform | ema",
        "length.lengths": "list of int, at least 1",
        "mixture.share": "float, at least 0, at most 1 or null",
        "mixture.stages": "{name: start, weights}",
        "model.latent.rope_width": "int, at least 2, a multiple of 2",
    }
    assert {key: FOUND[key].allowed for key in allowed} == allowed
    assert FOUND["tokens"].default == 300_000


def test_words_are_the_comments_above_and_behind():
    words = FOUND["step_tokens"].words
    assert words == "Per optimizer step, all devices together, before the ramp"
    words = FOUND["model.init_scale"].words
    assert words.startswith("Standard deviation of matrices")
    assert words.endswith("0.6 was better in small models here.")
    assert FOUND["where.slurm"].words.startswith("What a run asks of a Slurm cluster")
