import pytest
from omegaconf import OmegaConf

from ablate.run.fields import declared
from ablate.run.mixture import Mixture, Stage
from ablate.run.parse import USUAL, from_config, unknown_key
from ablate.run.settings import Settings, SettingsError
from ablate.run.steps import ramp_steps, steps_of


def refusal(**config) -> str:
    with pytest.raises(SettingsError) as error:
        from_config(config)
    return str(error.value)


# what is configured, and what the line must name: the key, the value, what is allowed
REFUSED = {
    "unknown group": ({"dat": {}}, ["dat:", "did you mean data?"]),
    "unknown key": ({"optimizer": {"lrr": 1}}, ["optimizer.lrr:", "did you mean optimizer.lr?"]),
    "unknown key of a stage": ({"mixture": {"stages": {"late": {"strat": 0.5}}}}, ["mixture.stages.late.strat:"]),
    "unknown key, nothing near": ({"zzzzzzzz": 1}, ["zzzzzzzz: no such setting"]),
    "text for a count": ({"tokens": "many"}, ["tokens=many:", "integer"]),
    "text for a rate": ({"optimizer": {"lr": "fast"}}, ["optimizer.lr=fast:", "number"]),
    "number for a name": ({"data": {"focus": 3}}, ["data.focus=3:", "string"]),
    "value for a list": ({"data": {"domains": "qa"}}, ["data.domains=qa:", "list"]),
    "value for a group": ({"data": 7}, ["data=7:", "Data"]),
    "fraction of a row": ({"step_tokens": 4096.5}, ["step_tokens=4096.5:", "integer"]),
    "unknown choice": ({"length": {"constant": "token"}}, ["length.constant=token:", "'rows'"]),
    "choice of two lines": ({"length": {"constant": "to\nken"}}, ["length.constant=", "'rows'"]),
    "not a switch": ({"model": {"tied": "maybe"}}, ["model.tied=maybe:", "boolean"]),
    "one beta": ({"optimizer": {"betas": [0.9]}}, ["optimizer.betas"]),
    "beta of 1": ({"optimizer": {"betas": [0.9, 1.0]}}, ["optimizer.betas.1=1.0:", "less than 1"]),
    "switch for a rate": ({"optimizer": {"lr": True}}, ["optimizer.lr=True:", "number"]),
    "negative rate": ({"optimizer": {"lr": -1e-3}}, ["optimizer.lr=-0.001:", "greater than or equal to 0"]),
    "rate not a number": ({"optimizer": {"lr": float("nan")}}, ["optimizer.lr=nan:", "finite"]),
    "endless warmup": ({"schedule": {"warmup": float("inf")}}, ["schedule.warmup=inf:", "finite"]),
    "final above 1": ({"schedule": {"final": 1.5}}, ["schedule.final=1.5:", "less than or equal to 1"]),
    "all held out": ({"data": {"validation": 0.9}}, ["data.validation=0.9:", "0.5"]),
    "no device": ({"where": {"devices": 0}}, ["where.devices=0:", "1"]),
    "two devices, one process": ({"where": {"devices": 2}}, ["where.devices=2", "where.strategy=ddp"]),
    "no folder": ({"where": {"outputs": ""}}, ["where.outputs="]),
    "no step": ({"tokens": 1023}, ["tokens=1023:", "step_tokens=1024"]),
    "negative seed": ({"seed": -1}, ["seed=-1:", "0"]),
    "seed of 64 bits": ({"seed": 2**63}, ["seed=9223372036854775808:", "less than"]),
    "no domains": ({"data": {"domains": []}}, ["data.domains=[]:", "at least one"]),
    "domain twice": ({"data": {"domains": ["qa", "qa"]}}, ["data.domains=['qa', 'qa']:", "repeats"]),
    "weight of no domain": ({"mixture": {"weights": {"math": 1}}}, ["mixture.weights.math=1.0:", "science"]),
    "negative weight": ({"mixture": {"weights": {"code": -1}}}, ["mixture.weights.code=-1.0:", "at least 0"]),
    "weight not a number": ({"mixture": {"weights": {"code": float("nan")}}}, ["mixture.weights.code=nan:", "finite"]),
    "weights all 0": ({"mixture": {"weights": {"code": 0, "qa": 0}}}, ["mixture.weights=", "0.0", "above 0"]),
    "only the focus": ({"mixture": {"weights": {"qa": 1}, "share": 0.5}}, ["mixture.weights=", "beside qa"]),
    "share without focus": ({"data": {"focus": "x"}, "mixture": {"share": 0.5}}, ["data.focus=x:", "'qa'"]),
    "share above 1": ({"mixture": {"share": 1.5}}, ["mixture.share=1.5:", "1"]),
    "stage without weights": (
        {"mixture": {"stages": {"late": {}}}},
        ["mixture.stages.late.weights={}:", "at least one"],
    ),
    "weight in a stage": (
        {"mixture": {"stages": {"late": {"weights": {"math": 1}}}}},
        ["mixture.stages.late.weights.math=1.0:", "science"],
    ),
    "stage at the first step": (
        {"mixture": {"stages": {"late": {"start": 0, "weights": {"qa": 1}}}}},
        ["mixture.stages.late.start=0.0:", "after the first step"],
    ),
    "stages at one step": (
        {"mixture": {"stages": {"a": {"start": 0.5, "weights": {"qa": 1}}, "b": {"start": 146, "weights": {"qa": 1}}}}},
        ["mixture.stages=['a', 'b']:", "different steps"],
    ),
    "block of 48": ({"mixture": {"block": 48}}, ["mixture.block=48:", "power of two"]),
    "no lengths": ({"length": {"lengths": []}}, ["length.lengths=[]:", "at least one"]),
    "length beside the span": ({"length": {"lengths": [768]}}, ["length.lengths=768:", "data.span=1024"]),
    "length above the span": ({"length": {"lengths": [2048]}}, ["length.lengths=2048:", "data.span=1024"]),
    "step of half rows": ({"step_tokens": 1536}, ["step_tokens=1536:", "multiple", "1024"]),
    "one start too few": ({"length": {"lengths": [512, 1024]}}, ["length.starts=[0.0]:", "as many as"]),
    "starts late": ({"length": {"starts": [0.5]}}, ["length.starts=[0.5]:", "0, then later"]),
    "starts fall": (
        {"length": {"lengths": [256, 512, 1024], "starts": [0, 0.5, 0.25]}},
        ["length.starts=[0.0, 0.5, 0.25]:", "later"],
    ),
    "odd head": ({"size": {"heads": 3}}, ["size.heads=3:", "128"]),
    "shared heads": ({"size": {"kv_heads": 3}}, ["size.kv_heads=3:", "size.heads=4"]),
    "path for a study": ({"study": {"name": "lr/high"}}, ["study.name=lr/high:", "without /"]),
    "way out for a study": ({"study": {"name": ".."}}, ["study.name=..:", "no dot"]),
    "path for a domain": ({"data": {"domains": ["qa", "../qa"]}}, ["data.domains.1=../qa:", "without /"]),
    "project with its team": ({"where": {"wandb_project": "team/ablate"}}, ["where.wandb_project=team/ablate:"]),
    "no project": ({"where": {"wandb_project": ""}}, ["where.wandb_project=:"]),
    "no seeds": ({"study": {"seeds": []}}, ["study.seeds=[]:", "at least one"]),
    "seed twice": ({"study": {"seeds": [0, 0, 1]}}, ["study.seeds=[0, 0, 1]:", "without repeats"]),
    "seed of 64 bits in a study": ({"study": {"seeds": [2**63]}}, ["study.seeds.0=9223372036854775808:", "less than"]),
    "no further seeds there": (
        {"study": {"seeds": [2**63 - 1], "controls": {"aa_seeds": 1}}},
        ["study.seeds=[9223372036854775807]:", "aa_seeds"],
    ),
    "further seeds without end": (
        {"study": {"controls": {"aa_seeds": 10**6}}},
        ["study.controls.aa_seeds=1000000:", "1000"],
    ),
    "left open": ({"data": {"root": "???"}}, ["data.root=???:", "must be given"]),
    "points nowhere": ({"optimizer": {"lr": "${nowhere}"}}, ["optimizer.lr:", "nowhere"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_misfit_is_one_line_with_key_value_and_what_is_allowed(name):
    config, parts = REFUSED[name]
    line = refusal(**config)
    assert len(line.splitlines()) == 1
    for part in parts:
        assert part in line


def test_settings_from_hydra_and_from_plain_data_are_equal():
    plain = {"tokens": 8192, "optimizer": {"lr": "${schedule.final}"}, "schedule": {"final": 0.25}}
    assert from_config(OmegaConf.create(plain)) == from_config(plain)
    assert from_config(plain).optimizer.lr == 0.25


def test_numbers_are_read_as_the_user_writes_them():
    assert from_config({"tokens": 1e6}).tokens == 1_000_000
    assert from_config({"optimizer": {"lr": 1}}) == from_config({"optimizer": {"lr": 1.0}})


def test_every_key_is_listed_and_suggested_for_a_slip():
    keys = declared(Settings)
    assert {"data", "data.span", "mixture.share", "where.compile", "seed"} <= set(keys)
    assert len(keys) == len(set(keys))
    for key in keys:
        assert unknown_key(key + "s").startswith(f"{key}s: no such setting; did you mean ")


MEANT = {
    "lr": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "model.n_layers": "size.depth",
    "d_model": "size.width",
    "learning_rate": "optimizer.lr",
    "max_steps": "tokens",
    "batch_size": "step_tokens",
    "model.vocab_size": "data.vocabulary",
    "optimizer.warmup": "schedule.warmup",
    "modle": "model",
}


@pytest.mark.parametrize("key", MEANT)
def test_a_key_by_another_name_or_in_another_place_is_understood(key):
    assert unknown_key(key) == f"{key}: no such setting; did you mean {MEANT[key]}?"


def test_names_of_other_trainers_mean_settings_and_are_none():
    names = [name for names in USUAL.values() for name in names.split()]
    assert set(USUAL) <= set(declared(Settings))
    assert len(names) == len(set(names))
    assert not {key for key in declared(Settings) if key in names}


def test_moment_is_a_fraction_up_to_one_and_a_count_above():
    assert [steps_of(moment, 200) for moment in (0, 0.05, 0.5, 1, 2, 50.0, 500)] == [0, 10, 100, 200, 2, 50, 500]


def test_run_rounds_its_tokens_down_to_whole_steps():
    assert Settings(tokens=3 * 1024 + 1023).steps == 3


def test_domains_count_alike_without_weights():
    assert Settings().mixture_stages == [(0.0, {"general": 0.25, "code": 0.25, "science": 0.25, "qa": 0.25})]


def test_share_goes_to_the_focus_and_scales_the_others():
    mixture = Mixture(weights={"general": 2, "code": 1, "qa": 5}, share=0.4)
    [(_, weights)] = Settings(mixture=mixture).mixture_stages
    assert weights == pytest.approx({"general": 0.4, "code": 0.2, "science": 0, "qa": 0.4})


def test_stages_follow_one_another_however_they_are_listed():
    late, early = Stage(start=50, weights={"qa": 2}), Stage(start=0.1, weights={"code": 3, "qa": 1})
    stages = Settings(mixture=Mixture(stages={"late": late, "early": early})).mixture_stages
    assert [start for start, _ in stages] == [0, 0.1, 50]
    assert stages[1][1] == {"general": 0, "code": 0.75, "science": 0, "qa": 0.25}
    assert stages[2][1] == {"general": 0, "code": 0, "science": 0, "qa": 1}


def test_a_ramp_reads_at_most_the_tokens_asked():
    assert ramp_steps([1, 2, 4], [0, 0.25, 0.5], 16_000, 1_000) == [4, 2, 2]
    assert ramp_steps([1, 2], [0, 5], 16_500, 1_000) == [5, 5]
    assert ramp_steps([1], [0], 2_500, 1_000) == [2]
    with pytest.raises(SettingsError, match=r"ramp.starts=.*every stage has a step"):
        from_config({"ramp": {"multiples": [1, 2], "starts": [0, 500]}})


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"ramp": {"multiples": [1, 2]}}, r"ramp.starts=.*as many as ramp.multiples"),
        ({"schedule": {"stages": {"late": {"start": 0.0}}}}, "schedule.stages.late.start=0.0: must be within the run"),
        ({"data": {"sources": {"news": "general"}}}, "data.sources.news=general: must be for one of data.domains"),
        ({"tokens": 2**70}, "tokens=1180591620717411303424: must be at most .*16,777,216 steps"),
        ({"schedule": {"warmup": 1e9}}, r"schedule.warmup=1000000000.0: must be at most the 292 steps"),
        (
            {"schedule": {"warmup": 0.9, "decay": 0.9}},
            "schedule.warmup=0.9: must be such that schedule.decay=0.9 follows",
        ),
        ({"schedule": {"warmup": 290, "decay": 3}}, "schedule.warmup=290.0: must be such that schedule.decay=3.0"),
        ({"schedule": {"decay": 293}}, "schedule.decay=293.0: must be at most the 292 steps"),
        (
            {"schedule": {"stages": {"late": {"warmup": 147}}}},
            "schedule.stages.late.warmup=147.0: must be at most the 146 steps",
        ),
        ({"schedule": {"warmup": 1.5}}, "schedule.warmup=1.5: must be a part of the run up to 1, or a whole number"),
        ({"optimizer": {"lr": 0}}, "optimizer.lr=0.0: must be at least 1e-09"),
        ({"optimizer": {"clip": 1e-300}}, "optimizer.clip=1e-300: must be 0 for no clipping, or at least 1e-06"),
        ({"optimizer": {"eps": 1e30}}, "optimizer.eps=1e.30: must be less than or equal to 100"),
        ({"length": {"lengths": [512, 1024], "starts": [0, 292]}}, "length.starts=.*: must be within the run of 292"),
        (
            {"mixture": {"stages": {"late": {"start": 292, "weights": {"qa": 1}}}}},
            "mixture.stages.late.start=292.0: must be within the run",
        ),
        ({"monitor": {"skip": ["292-300"]}}, "monitor.skip=.*: must be some of the 292 steps, and not all"),
        ({"monitor": {"skip": ["0-100", "50-292"]}}, "monitor.skip=.*: must be some of the 292 steps, and not all"),
        ({"monitor": {"act": "skip"}, "tokens": 65_536}, "monitor.least=64: must be below the 64 steps of the run"),
        ({"size": {"depth": 10**8}}, "size.depth=100000000: must be less than or equal to 1024"),
        ({"size": {"width": 10**9}}, "size.width=1000000000: must be less than or equal to 131072"),
        ({"data": {"vocabulary": 2**31 - 1}}, "data.vocabulary=2147483647: must be less than or equal to 1048576"),
        ({"where": {"threads": 100_000}}, "where.threads=100000: must be less than or equal to 1024"),
        ({"study": {"controls": {"null_seeds": 99}}}, "study.controls.null_seeds=99: must be at most the 3 of study"),
        ({"optimizer": {"lerac": {"lowest": 0.0}}}, "optimizer.lerac.lowest=0.0: must be greater than 0"),
        ({"optimizer": {"lerac": {"lowest": 0.1, "until": 0}}}, "optimizer.lerac.until=0.0: must be within the run"),
        (
            {"optimizer": {"lerac": {"lowest": 0.1, "until": 999}}},
            "optimizer.lerac.until=999.0: must be within the run",
        ),
        ({"optimizer": {"name": "muon"}, "where": {"strategy": "zero2"}}, "optimizer.name=muon: must be adamw with"),
        ({"averaging": {"kind": "ema", "start": 1.0}}, "averaging.start=1.0: must be within the run"),
        (
            {"where": {"compile": True, "recompute": "selective"}},
            "where.recompute=selective: must be true or false with where.compile=true",
        ),
    ],
)
def test_parts_that_depend_on_one_another_are_refused_in_one_line(plain, message):
    with pytest.raises(SettingsError, match=message):
        from_config(plain)


@pytest.mark.parametrize(
    "plain",
    [
        {"schedule": {"warmup": 0.05, "decay": 1.0}},
        {"schedule": {"warmup": 0.5, "decay": 0.5}, "tokens": 3 * 1024},
        {"schedule": {"warmup": 289, "decay": 3}},
        {"tokens": 2 * 10**12, "step_tokens": 2**19},
        {"monitor": {"skip": ["280-300"]}},
        {"optimizer": {"clip": 0}},
    ],
)
def test_what_fits_just_so_is_taken(plain):
    from_config(plain)
