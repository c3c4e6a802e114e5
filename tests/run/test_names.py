"""Names are no paths and no lines of a script, wherever they are typed and wherever they are read."""

import os
import re

import pytest
import yaml
from submitit.slurm.slurm import _make_sbatch_string

from ablate.corpus import levels
from ablate.run import names
from ablate.run.files import below, make_own
from ablate.run.lookup import belongings, find
from ablate.run.parse import from_plain
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, SettingsError, UserError
from ablate.run.study_record import StudyRecord, study_record
from ablate.run.trunks import trunk_record
from ablate.scores import metrics
from ablate.sweep import study as studies
from ablate.sweep.executors.slurm import parameters

NO_LINES = ["a\nb", "a\rb", "a\0b", "a\x1b[31mb", "a\u2028b", "a\u202eb", "a\ud800b", "a\tb"]
NO_LABELS = [*NO_LINES, " a", "a ", " "]
NO_FILES = [*NO_LABELS, "a/b", "a\\b", "..", ".", ".a", "../a", "/etc", "-rf", "a" * 201, "é" * 101]
GOOD = ["a", "mix_sweep", "lr 3e-3", "50 %", "É", "中文", "a.b", "a..b", "it's", '"', "$(touch x)", "`x`", "a" * 200]


def deep(key: str, value: object) -> dict:
    for name in reversed(key.split(".")):
        value = {name: value}
    return value if isinstance(value, dict) else {}


PLACES = {
    "study.name": (NO_FILES, lambda name: deep("study.name", name)),
    "data.domains": (NO_FILES, lambda name: deep("data.domains", ["qa", name])),
    "study.phases": (NO_FILES, lambda name: deep("study.phases", {name: []})),
    "study.arms": (NO_LABELS, lambda name: deep("study.arms", {name: []})),
    "study.base": (NO_LABELS, lambda name: deep("study.base", name)),
    "study.grid": (NO_LABELS, lambda name: deep("study.grid", {"size": {name: []}})),
    "where.outputs": (NO_LINES, lambda name: deep("where.outputs", name)),
    "where.arm": (NO_LINES, lambda name: deep("where.arm", name)),
    "where.wandb_project": ([*NO_LABELS, "a/b", "a:b", "", "a" * 129], lambda name: deep("where.wandb_project", name)),
    "where.slurm.partition": (NO_LINES, lambda name: deep("where.slurm.partition", name)),
    "where.slurm.account": (NO_LINES, lambda name: deep("where.slurm.account", name)),
    "where.slurm.options.qos": (NO_LINES, lambda name: deep("where.slurm.options", {"qos": name})),
    "where.slurm.options": (
        [*NO_LABELS, "-a", "a=b", "a b", ""],
        lambda name: deep("where.slurm.options", {name: "1"}),
    ),
}


@pytest.mark.parametrize("key", PLACES)
def test_a_name_that_is_none_is_refused_in_one_line_that_can_be_printed(key):
    bad, place = PLACES[key]
    for name in bad:
        with pytest.raises(SettingsError) as error:
            from_plain(place(name))
        assert str(error.value).startswith(key), ascii(name)
        assert "must be" in str(error.value)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("key", [key for key in PLACES if key not in ("where.slurm.options", "where.wandb_project")])
def test_other_names_are_left_as_they_are(key):
    for name in GOOD:
        from_plain(PLACES[key][1](name))


def test_what_is_read_from_a_record_is_checked_like_what_is_typed(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"study": {"name": "../../x"}}))
    with pytest.raises(UserError, match=r"config.yaml: study.name=../../x: must be the name of a file"):
        Record(tmp_path).settings()


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "", ".", "a/b", "a\nb", "\ud800", "a" * 300])
def test_no_record_is_outside_its_folder(tmp_path, name):
    for record in (run_record, study_record, trunk_record):
        with pytest.raises(UserError, match="must be") as error:
            record(tmp_path, name)
        assert str(error.value).isprintable()


def test_the_runs_of_an_edited_study_are_no_paths(tmp_path):
    study = StudyRecord(tmp_path / "studies" / "mine")
    declared = {"name": "mine", "question": "", "base": "none", "arms": {"none": {}}, "domains": ["qa"]}
    declared |= {"metric": "macro", "margin": 0.01, "confidence": 0.95}
    study.write(declared | {"runs": {"none": {"0": "../../../etc"}}})
    with pytest.raises(UserError, match=r"\.\./\.\./\.\./etc, in .*runs: must be the name of a file"):
        list(study.records())
    with pytest.raises(UserError, match="must be the name of a file"):
        find("mine/none/0", tmp_path)
    with pytest.raises(UserError, match="must be the name of a file"):
        find("../none/0", tmp_path)


def test_below_gives_what_is_there(tmp_path):
    assert below(tmp_path, "a") == tmp_path / "a"


def test_domains_that_differ_in_capitals_alone_are_one_file_somewhere():
    with pytest.raises(SettingsError, match=r"data.domains=.*without repeats, capitals aside: QA"):
        from_plain(deep("data.domains", ["qa", "code", "QA"]))
    assert names.clash(["straße", "STRASSE"]) == "STRASSE"
    assert names.clash(["caf\u00e9", "cafe\u0301"]) == "cafe\u0301"
    assert names.clash(["a", "b"]) is None


@pytest.mark.parametrize("name", ["macro", "micro", "rest", "preference:acc", "task:mine:acc", *metrics.METRICS])
def test_a_domain_is_not_called_like_a_metric(name):
    settings = from_plain(deep("data.domains", ["qa", name]))
    with pytest.raises(
        SettingsError, match=f"data.domains={re.escape(name)}: must be other names than those of metric"
    ):
        metrics.check(settings)


def test_a_domain_is_not_called_like_all_domains():
    with pytest.raises(SettingsError, match=r"data.domains=all: must be another name"):
        levels.check(from_plain(deep("data.domains", ["qa", "all"])))


@pytest.mark.parametrize("name", ["null control", "A/A control", "positive control"])
def test_an_arm_is_not_called_like_a_control(name):
    base = Settings()
    with pytest.raises(SettingsError, match=f"study.arms.{name}: is the name of a control"):
        studies.plan(base.study, base, {name: base})


@pytest.mark.parametrize("name", GOOD)
def test_no_name_is_a_line_of_a_batch_script(name, tmp_path):
    settings = from_plain(
        deep("where", {"outputs": name, "slurm": {"partition": name, "account": name, "options": {"qos": name}}})
        | deep("study.name", name)
    )
    asked = parameters(settings.where, f"ablate-{settings.study.name}", [])
    script = _make_sbatch_string(command="true", folder=tmp_path / settings.where.outputs, map_count=2, **asked)
    lines = [line for line in script.splitlines() if line and not line.startswith(("#SBATCH --", "# "))]
    assert [line.split()[0] for line in lines] == ["#!/bin/bash", "export", "srun"]


def test_nothing_is_written_where_a_link_leads(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in ("runs/linked", "runs/run/checkpoints", "studies/mine/report"):
        link = tmp_path / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(elsewhere)
    (tmp_path / "runs/other").mkdir()
    (tmp_path / "runs/other/metrics.jsonl").symlink_to(elsewhere / "file")
    for run in ("linked", "run", "other"):
        with pytest.raises(UserError, match="is a link, and nothing is written where links lead"):
            Record(tmp_path / "runs" / run).begin(Settings(), "text", {})
    with pytest.raises(UserError, match=r"mine/report: is a link"):
        StudyRecord(tmp_path / "studies" / "mine").write({})
    assert not os.listdir(elsewhere)


def test_outputs_may_be_on_another_disk(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    assert make_own(tmp_path / "runs" / "run") == tmp_path / "runs" / "run"
    assert (tmp_path / "disk" / "run").is_dir()


def test_a_run_called_like_a_pattern_takes_no_other_with_it(tmp_path):
    for name in ("*", "mine"):
        (tmp_path / "exports" / name).mkdir(parents=True)
        (tmp_path / "runs" / name).mkdir(parents=True)
    found = belongings(Record(tmp_path / "runs" / "*"))
    assert found == [tmp_path / "runs" / "*", tmp_path / "exports" / "*"]
