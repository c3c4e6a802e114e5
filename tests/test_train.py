"""The commands as a user types them: what they print, what they leave, how they fail."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from typed import typed

from ablate.run.fields import declared
from ablate.run.parse import from_config
from ablate.run.settings import Settings, UserError
from ablate.train import main, train

ROOT = Path(__file__).parent.parent
TINY = [
    "size=tiny",
    "size.width=32",
    "size.hidden=64",
    "data.domains=[general,code,qa]",
    "data.domain_bytes=150000",
    "data.span=64",
    "data.vocabulary=512",
    "tokens=10240",
    "step_tokens=512",
    "evaluation.times=3",
    "evaluation.spans=4",
    "where.peak_tflops=0.1",
]


# Trains, and stands still after two steps until it is asked to stop
HELD = """
import time
from ablate.fit.saver import Saver
from ablate.train import main
end = Saver.on_train_batch_end
def held(self, trainer, *rest, **more):
    while trainer.global_step == 2 and self.signal is None:
        time.sleep(0.01)
    end(self, trainer, *rest, **more)
Saver.on_train_batch_end = held
main()
"""


def start(*words: str, program: Sequence[str] = ("-m", "ablate.train"), **options) -> subprocess.Popen:
    command = [sys.executable, *program, *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def ablate(*words: str) -> tuple[int, str, str]:
    done = typed("train", *words)
    return done.returncode, done.stdout, done.stderr


def with_folder(outputs: Path) -> list[str]:
    return [*TINY, f"where.outputs={outputs}"]


BAD = {
    "modle=llama": "modle: no such setting; did you mean model?",
    "model=nope": "model=nope: no such choice; there are",
    "optimizer.lr=-1": "optimizer.lr=-1: must be greater than or equal to 0",
    "+anything=1": "anything: no such setting",
    "evaluate.tasks.sums.seed=1": "sums.seed: is not set there; it is added with +evaluate.tasks.sums.seed=",
    "tokens=many": "tokens=many: must be a valid integer",
    "tokens=10": "tokens=10: must be at least one step of step_tokens",
    "+mixture.weights.nope=1": "mixture.weights.nope=1.0: must be for one of data.domains: general",
    "+mixture.weights.qa=-1": "mixture.weights.qa=-1.0: must be at least 0",
    "+mixture.weights={qa: 0}": "mixture.weights={'qa': 0.0}: must be above 0",
    "data.domains=[nope]": "data.domains: installed text has general, code, science, qa, chains; it has no 'nope'",
    "data=folder": "data.root",
    "where.outputs=/proc/nowhere": "/proc/nowhere",
    "length.lengths=[100]": "length.lengths=100: must be a divisor of data.span",
    "data.domains=[rest,qa]": "data.domains=rest: must be other names than those of metrics: macro, micro, rest",
    "study.metric=nope": "study.metric=nope: must be one of macro, micro, rest",
    "evaluation.spans=1000000": "evaluation.spans=1000000: domain",
    "+experiment=nope": "experiment=nope: no such choice; there are ",
    "experiment=mix_sweep": "experiment: is chosen with a plus, +experiment=...",
    "optimizer.lr": "optimizer.lr: must be a setting and its value, key=value",
    "length.lengths=[256": "length.lengths=[256: cannot be read; brackets must be closed",
    "optimizer.lr=${nope}": "optimizer.lr: Interpolation key 'nope' not found",
    "study.arms={hot: [optimizer.lr=1]}": "is of a study, and this is one run; -m trains the study",
    "-m study.arms={hot: [optimizer.lr=1]}": "an override within a value stands in quotes: '+study.arms.hot=[",
}


@pytest.mark.slow
@pytest.mark.parametrize("word", BAD)
def test_a_mistake_is_one_line_and_leaves_nothing(word, outputs, capsys):
    words = ["-m", word.removeprefix("-m ")] if word.startswith("-m ") else [word]
    with pytest.raises(SystemExit) as end:
        main([*with_folder(outputs), *words])
    err = capsys.readouterr().err
    assert end.value.code == 1
    assert err.startswith("error: ")
    assert BAD[word] in err
    assert len(err.splitlines()) == 1, err
    assert not (outputs / "runs").exists()


def test_help_names_the_groups_and_the_commands():
    code, out, _ = ablate("--help")
    assert code == 0
    groups = (
        "data: folder, hub, installed",
        "schedule: bitnet, constant, cosine, linear, wsd",
        "system: davinci, elleci, vitruvian, zagreus",
    )
    for word in ("+experiment=mix_sweep -m", "+system=zagreus size=nano", *groups):
        assert word in out


@pytest.mark.slow
def test_one_run_and_the_same_again(outputs):
    code, out, err = ablate(*with_folder(outputs), "where.wandb=offline")
    assert code == 0, err
    assert re.search(r"macro +\d\.\d{4} bits per byte", out)
    runs = list((outputs / "runs").iterdir())
    assert len(runs) == 1
    mirrored = list((outputs / "wandb").glob(f"offline-run-*-{runs[0].name}"))
    assert len(mirrored) == 1
    before = (runs[0] / "metrics.jsonl").read_bytes()
    code, out, _ = ablate(*with_folder(outputs))
    assert code == 0
    assert "finished" in out
    assert (runs[0] / "metrics.jsonl").read_bytes() == before


STUDY = ["+experiment=mix_sweep", "-m", "size=tiny", "where.wandb=off", "where.workers=2"]


@pytest.mark.slow
def test_a_study_ends_with_a_verdict_and_again_trains_nothing(outputs):
    fewer = ["~study.arms.share_05", "~study.arms.share_15", '+study.arms.null=["mixture.share=0.0"]']
    words = [*STUDY, *with_folder(outputs), *fewer]
    code, out, err = ablate(*words, "seed=0,1")
    assert code == 0, err
    ids = {path.name for path in (outputs / "runs").iterdir()}
    assert "page     " in out
    assert re.search(r"share_40.*(better|worse|equivalent|inconclusive)", out, re.DOTALL)
    declaration = json.loads((outputs / "studies" / "mix_sweep" / "study.json").read_text())
    assert declaration["runs"]["null"] == declaration["runs"]["none"]
    known = {run for runs in declaration["control_runs"].values() for run in runs.values()}
    arms = {run for runs in declaration["runs"].values() for run in runs.values()}
    assert len(arms) == 4
    assert ids in (arms | known, arms | {declaration["control_runs"]["null control"]["0"]})
    assert "trained twice, is the same to the bit" in " ".join(out.split())
    code, out, err = ablate(*words, "seed=0,1")
    assert code == 0, err
    assert f"{len(ids)} done, {7 - len(ids)} missing" in out
    assert {path.name for path in (outputs / "runs").iterdir()} == ids


def test_an_arm_outside_the_factor_is_refused_by_name(outputs):
    code, _, err = ablate(*STUDY, *with_folder(outputs), '+study.arms.bad=["optimizer.lr=0.1"]')
    assert code == 1
    assert "error: study.arms.bad: differs outside the factor ['mixture']: optimizer.lr (0.003 -> 0.1)" in err
    assert not (outputs / "studies").exists()


@pytest.mark.slow
def test_a_dry_run_shows_the_plan_and_trains_nothing(outputs):
    code, out, err = ablate(*STUDY, *with_folder(outputs), "where.dry_run=true")
    assert code == 0, err
    assert "16 runs (4 of them controls), seeds 0, 1, 2: 0 done, 16 missing" in out
    assert "FLOPs" in out
    assert [path.name for path in (outputs / "studies").glob("*/*")] == ["plan.png"]
    assert not (outputs / "runs").exists()


def test_a_dry_run_of_one_run_shows_its_plan_and_trains_nothing(tiny, outputs, capsys):
    assert math.isnan(train(tiny(where={"dry_run": True})))
    out = " ".join(capsys.readouterr().out.split())
    assert "10,240 tokens in 20 steps" in out
    assert "on 1 device (measured on a few steps)" in out
    assert [path.name for path in outputs.iterdir() if path.name != "data"] == ["plan.png"]


def test_a_dry_run_looks_for_the_parent(tiny):
    with pytest.raises(UserError, match=r"^start=run:nobody: no such run in "):
        train(tiny(start="run:nobody", where={"dry_run": True}))


@pytest.mark.slow
def test_a_published_system_is_planned_without_its_text(tmp_path):
    code, out, err = ablate("+system=zagreus", "where=cluster", "where.dry_run=true", f"where.outputs={tmp_path}")
    assert code == 0, err
    out = " ".join(out.split())
    assert "437,760,960 parameters" in out
    assert "english, italian, pdf, code (hub); not looked at" in out
    assert re.search(r"memory 2\d\.\d GiB a device", out)
    # 3.47e21 FLOPs at a third of 64 times 989 TFLOP/s
    assert "about 1.9 days on 64 devices (each at a third of the peak of an H100" in out
    assert [path.name for path in tmp_path.iterdir()] == ["plan.png"]


def test_where_slurm_never_trains_here(tiny, outputs, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UserError, match=r"there is no sbatch on this machine; use where\.executor=local"):
        train(tiny(where={"executor": "slurm"}))
    assert not list(outputs.glob("runs/*/metrics.jsonl"))


# Little text, and no steps to speak of; widths as they are
SMALL = [word for word in TINY if word.startswith(("data.", "tokens", "step_tokens"))]


@pytest.mark.slow
@pytest.mark.parametrize("study", ["arch_sweep", "arch_flops_sweep"])
def test_architectures_of_other_widths_differ_in_their_model_alone(outputs, study):
    code, out, err = ablate(f"+experiment={study}", "-m", *SMALL, f"where.outputs={outputs}", "where.dry_run=true")
    assert code == 0, err
    assert "19 runs (4 of them controls)" in out
    assert "model: pattern A → MMMA" in " ".join(out.split())


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_finishes(outputs):
    words = [*with_folder(outputs), "tokens=102400", "where.wandb=off"]
    process = start(*words, program=("-c", HELD))
    while not list((outputs / "runs").glob("*/metrics.jsonl")):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    folder = next((outputs / "runs").iterdir())
    assert list((folder / "checkpoints").glob("step-*"))
    assert ablate(*words)[0] == 0
    assert (folder / "result.json").exists()


@pytest.mark.parametrize("group", sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir()))
def test_every_file_of_every_group_composes(group):
    """Through Hydra itself, in this process: names, interpolations, ranges."""
    from hydra import compose, initialize_config_dir

    from ablate.console.compose import settings_of

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            plus = "+" if group in ("experiment", "debug", "system") else ""
            root = ["data.root=somewhere"] if path.stem == "folder" else []
            root += ["tokens=0"] if group == "compress" and path.stem != "none" else []
            config = compose("train", [f"{plus}{group}={path.stem}", *root])
            assert isinstance(settings_of(config), Settings)


def test_every_setting_can_be_typed_without_a_plus():
    """Hydra only overrides keys that stand in conf/: all of them must."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train")
    for key in declared(Settings):
        assert OmegaConf.select(config, key, throw_on_missing=False, default="absent") != "absent", key


def test_defaults_in_conf_are_the_defaults_of_the_code():
    """Two places say what the optimizer's defaults are; they must agree."""
    for group in ("optimizer/adamw", "model/llama", "size/nano", "mixture/uniform", "where/laptop", "data/installed"):
        folder = group.split("/")[0]
        values = yaml.safe_load((ROOT / "conf" / f"{group}.yaml").read_text())
        whole = values if folder == "where" else {folder: values}  # a place to train at sets the precision too
        assert from_config(whole) == Settings()
    controls = yaml.safe_load((ROOT / "conf" / "controls" / "usual.yaml").read_text())
    assert from_config({"study": {"controls": controls}}).study == Settings().study


os.environ.setdefault("WANDB_SILENT", "true")


@pytest.mark.slow
def test_a_study_without_m_says_that_it_is_one_run(tiny, capsys):
    train(tiny(study={"name": "mix_sweep"}))
    assert "one run, the base of mix_sweep; -m trains the whole study" in capsys.readouterr().out
