"""What is composed once for many arms is what Hydra composes for each of them."""

import dataclasses

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode

from ablate.console.compose import CONF, settings_of
from ablate.sweep.composition import Composer

OVERRIDES = [
    [],
    ["optimizer.lr=0.001"],
    ["optimizer.lr=2", "data.span=512", "seed=3", "schedule.shape=cosine", "mixture.share=null", "where.arm=''"],
    ["length.lengths=[${data.span}]", "data.span=512"],
    ["length.lengths=['${data.span}']", "tokens=${step_tokens}"],
    ["schedule=cosine", "schedule.final=0.2"],
    ["schedule.final=0.2", "schedule=cosine"],
    ["length={lengths: [256, 512], starts: [0.0, 0.7]}"],
    ["model=llama", "model.pattern=M", "size=micro"],
    ["+system=zagreus", "size=nano"],
    ["+experiment=mix_sweep", "tokens=1e6", "mixture.share=0.05"],
    ["+mixture.stages.second={start: 0.5, weights: {general: 1, code: 1, science: 1, qa: 1}}"],
]


@pytest.fixture
def composer():
    with initialize_config_dir(CONF, version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        yield Composer(loader, loader.load_configuration("train", [], RunMode.MULTIRUN))


@pytest.mark.parametrize("overrides", OVERRIDES, ids=str)
def test_it_is_what_hydra_composes(composer, overrides):
    composer([])  # so that something is there to be mistaken for it
    whole = composer.loader.load_sweep_config(composer.master, overrides)
    assert composer(overrides) == settings_of(whole)


def test_arms_that_choose_the_same_files_read_them_once(composer):
    first, second = composer(["schedule=cosine", "seed=1"]), composer(["schedule=cosine", "seed=2"])
    assert len(composer.composed) == 1
    assert dataclasses.replace(first, seed=2) == second


def test_names_of_the_users_own_need_no_plus(composer):
    data = composer(["data.level={code: 2}", "data.level.general=1", "data.columns={text: content}"]).data
    assert (data.level, data.columns) == ({"code": 2, "general": 1}, {"text": "content"})
    assert composer(["data=hub", "data.domains=[english]", "data.sources={english: ../d}"]).data.names == {
        "english": "../d"
    }


@pytest.mark.parametrize("override", ["schedule.no_such=1", "no_such=1", "schedule=no_such", "tokens.no=1"])
def test_what_hydra_refuses_is_refused(composer, override):
    with pytest.raises(HydraException):
        composer([override])
