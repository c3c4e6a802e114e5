"""A typed setting that does nothing beside the others is refused with what it needs; one that does something is not."""

import pytest

from ablate.run.fields import declared
from ablate.run.idle import NEEDS, NEEDS_ALONE, check_acts
from ablate.run.parse import from_config
from ablate.run.settings import Settings, SettingsError

# a word that needs something, and settings that have it
ACTS = {
    "averaging.decay=0.9": {"averaging": {"kind": "ema"}},
    "averaging.start=0.5": {"averaging": {"kind": "uniform"}},
    "corpus.allow=[x]": {"data": {"level": {"qa": 2}}},
    "corpus.bounds={}": {"data": {"level": {"qa": 3}}},
    "corpus.rules=[x]": {"data": {"level": {"qa": 2}}},
    "corpus.score.keep=0.1": {"data": {"level": {"qa": 3}}},
    "corpus.teacher.tokens=9": {"data": {"level": {"qa": 5}}},
    "data.columns={text: x}": {"data": {"source": "hub"}},
    "data.root=x": {"data": {"source": "shards", "tokenizer": "x"}},
    "data.verify=sampled": {"data": {"source": "shards"}},
    "evaluate.sample_tokens=9": {"evaluate": {"samples": ["x"]}},
    "length.constant=rows": {"length": {"lengths": [512, 1024], "starts": [0, 0.5]}},
    "mixture.adapted=x": {"mixture": {"adapt": "random"}, "start": "run:x"},
    "model.latent.q_rank=4": {"model": {"pattern": "AL"}},
    "model.mamba={state: 64}": {"model": {"pattern": "M"}},
    "model.qk_norm=true": {"model": {"pattern": "MA"}},
    "model.rope_theta=5e4": {"model": {"pattern": "W"}},
    "optimizer=muon": {"tokens": 4096},
    "optimizer.clipping=adagc": {"optimizer": {"clipping": "adagc"}},
    "optimizer.lerac.until=0.3": {"optimizer": {"lerac": {"lowest": 0.5}}},
    "optimizer.momentum=0.5": {"optimizer": {"name": "muon"}},
    "schedule.warmup=0.1": {"tokens": 4096},
    "schedule.final=0.5": {"schedule": {"decay": 0.1}},
    "schedule.shape=cosine": {"schedule": {"decay": 0.1}},
    "study.budget.futility=0.1": {"study": {"budget": {"race": "best"}}},
    "study.budget.keep=0.9": {"study": {"budget": {"race": "verdicts"}}},
    "study.controls.expected=better": {"study": {"controls": {"positive": ["tokens*=0.5"]}}},
    "study.judge=x": {"study": {"phases": {"x": []}}},
    "where.command=x": {"where": {"executor": "command", "command": "{run}"}},
    "where.slurm.minutes=5": {"where": {"executor": "slurm"}},
    "where.wait_minutes=5": {"where": {"strategy": "ddp"}},
    "where.wandb_alerts=true": {"where": {"wandb": "offline"}},
    "where.wandb_entity=x": {"where": {"wandb": "offline"}},
    "where.wandb_notes=x": {"where": {"wandb": "offline"}},
    "where.wandb_system=true": {"where": {"wandb": "offline"}},
    "where.wandb_tags=[x]": {"where": {"wandb": "offline"}},
}
SLURM = {"where": {"executor": "slurm"}}
ACTS_ALONE = {
    "where.retries=3": SLURM,
    "where.runs_per_device=2": {"where": {"micro_tokens": 0}},
    "where.slurm.at_once=2": None,
    "where.stall_minutes=5": SLURM,
    "where.workers=2": None,
}
LACKS = {
    "model": {"pattern": "A"},
    "schedule": {"decay": 0},
    "study": {"controls": {"positive": []}},
    "where": {"wandb": "off"},
}
PLAIN = from_config(LACKS)
WITHOUT_ATTENTION = from_config(LACKS | {"model": {"pattern": "M"}})
UNTRAINED = from_config({"tokens": 0, "start": "run:x"})


def lacking(word: str) -> Settings:
    if word == "optimizer.clipping=adagc":
        return from_config({"tokens": 100 * 1024, "step_tokens": 1024, "optimizer": {"clipping": "adagc"}})
    if word in ("optimizer=muon", "schedule.warmup=0.1"):
        return UNTRAINED
    return WITHOUT_ATTENTION if word.startswith(("model.qk_norm", "model.rope")) else PLAIN


@pytest.mark.parametrize("word", ACTS)
def test_a_typed_setting_acts_or_is_refused(word):
    with pytest.raises(SettingsError, match="does nothing without ") as refused:
        check_acts(["tokens=9", word], lacking(word))
    assert str(refused.value).startswith(f"{word}: ")
    check_acts(["tokens=9", word], from_config(ACTS[word]))


@pytest.mark.parametrize("word", ACTS)
def test_of_a_study_one_arm_is_enough(word):
    check_acts([word], lacking(word), from_config(ACTS[word]))


@pytest.mark.parametrize("word", ACTS_ALONE)
def test_a_run_that_no_study_asks_for_has_no_others_beside_it(word):
    check_acts([word], from_config(SLURM))  # of a study
    with pytest.raises(SettingsError, match=f"^{word}: does nothing without -m"):
        check_acts([word], from_config(LACKS if word != "where.slurm.at_once=2" else SLURM), alone=True)
    if acts := ACTS_ALONE[word]:
        check_acts([word], from_config(acts), alone=True)


def test_the_table_names_settings_and_is_tried_as_a_whole():
    assert set(NEEDS) <= set(declared(Settings))
    assert len(ACTS) == len(NEEDS)
    assert {word.partition("=")[0] for word in ACTS_ALONE} == set(NEEDS_ALONE) <= set(declared(Settings))


def test_of_an_arm_its_name_is_said():
    with pytest.raises(SettingsError, match=r"^study\.arms\.hot: averaging\.decay=0\.9: does nothing without"):
        check_acts(["averaging.decay=0.9"], PLAIN, of="study.arms.hot: ")
