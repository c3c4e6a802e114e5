"""The parts that settings name: each is looked up where it is, and refused in one line where it is not."""

import sys

import pytest

from ablate.fit import parts
from ablate.run.parse import from_config
from ablate.run.settings import SettingsError

# what is configured, and what the line must name: the key, the value, what is allowed
REFUSED = {
    "no such shape": (
        {"schedule": {"shape": "square"}},
        ["schedule.shape=square:", "linear, cosine, sqrt"],
    ),
    "no such shape of a stage": (
        {"schedule": {"stages": {"late": {"shape": "square"}}}},
        ["schedule.stages.late.shape=square:", "must be one of linear"],
    ),
    "exponential to 0": ({"schedule": {"shape": "exponential", "final": 0}}, ["schedule.final=0.0:", "above 0"]),
    "stage exponential to 0": (
        {"schedule": {"stages": {"late": {"shape": "exponential", "final": 0}}}},
        ["schedule.stages.late.final=0.0:", "above 0"],
    ),
    "no such source": ({"data": {"source": "x"}}, ["data.source=x:", "installed, folder, hub"]),
    "no such optimizer": ({"optimizer": {"name": "lion"}}, ["optimizer.name=lion:", "adamw, adamw8bit, muon"]),
    "no such mixer": ({"model": {"pattern": "AX"}}, ["model.pattern='AX':", "A, L, M"]),
    "no pattern": ({"model": {"pattern": ""}}, ["model.pattern='':", "A, L, M"]),
    "normed without attention": (
        {"model": {"pattern": "LM", "qk_norm": True}},
        ["model.qk_norm=True:", "model.pattern=LM, which has no A"],
    ),
    "part of a head of Mamba": (
        {"model": {"pattern": "AM", "mamba": {"head_width": 48}}},
        ["model.mamba.head_width=48:", "divisor of the inner width 256"],
    ),
    "heads of Mamba in no groups": (
        {"model": {"pattern": "M", "mamba": {"groups": 3}}},
        ["model.mamba.groups=3:", "divisor of the 8 heads"],
    ),
    "options of a mixer without": (
        {"model": {"pattern": "A", "options": {"A": {"window": 8}}}},
        ["model.options.A={'window': 8}:", "whose mixer has some"],
    ),
    "no such module": ({"where": {"imports": ["nowhere_at_all"]}}, ["where.imports=nowhere_at_all:", "ModuleNotFound"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_part_that_there_is_not_is_one_line_with_key_value_and_what_is_allowed(name):
    config, said = REFUSED[name]
    with pytest.raises(SettingsError) as error:
        parts.check(from_config(config))
    assert len(str(error.value).splitlines()) == 1
    assert all(part in str(error.value) for part in said)


def test_records_of_parts_that_are_not_here_can_be_read():
    assert from_config({"model": {"pattern": "W", "options": {"W": {"window": 8}}}}).model.pattern == "W"


def test_a_module_that_breaks_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_part.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(SettingsError, match=r"where\.imports=broken_part: ZeroDivisionError: division by zero"):
        parts.check(from_config({"where": {"imports": ["broken_part"]}}))
