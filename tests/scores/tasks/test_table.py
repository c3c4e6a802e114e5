"""What the settings say of tasks is checked before anything is trained; the shipped groups are right."""

import re
from pathlib import Path

import pytest
import yaml

from ablate.run.evaluate import Evaluate, Task
from ablate.run.parse import from_plain
from ablate.run.settings import SettingsError
from ablate.scores.tasks.table import KINDS, check

CONF = Path(__file__).parents[3] / "conf" / "evaluate"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"kind": "quiz"}, "kind=quiz: must be one of questions, continuation"),
        ({"protocols": ["guess"]}, "protocols=guess: must be one of likelihood, cloze"),
        ({"protocols": []}, "protocols=[]: must be at least one protocol"),
        ({"kind": "last_word", "domains": ["french"]}, "domains=french: must be one of data.domains: general, code"),
        ({"kind": "recall", "domains": ["code"]}, "domains=['code']: must be empty with kind=recall"),
        ({"path": "x.jsonl"}, "path=x.jsonl: must be empty with kind=questions"),
        ({"options": {"kind": ["dates"]}}, "options.kind=['dates']: must be one of kinds, steps"),
        ({"options": {"kinds": ["date"]}}, "options.kinds=date: must be one of arithmetic, division"),
        ({"options": {"steps": 3}}, "options.steps=3: must be"),
        ({"kind": "last_word", "options": {"x": 1}}, "options.x=1: must be left out: the kind has no options"),
        ({"kind": "minimal_pairs", "options": {"rules": ["verbs"]}}, "rules=verbs: must be one of agreement_en"),
        ({"kind": "recall", "options": {"pairs": 3}}, "options.pairs=3: must be greater than or equal to 4"),
        ({"kind": "jsonl", "path": "none.jsonl"}, "path=none.jsonl: must be a file with a JSON object on every line"),
        ({"kind": "lm_eval", "path": "none.yaml"}, "path=none.yaml: must be the YAML file of a task of lm-eval"),
        ({"kind": "lm_eval", "options": {"data": "none"}}, "options.data=none: must be a folder of data, or empty"),
    ],
)
def test_a_mistake_is_one_line(task, said):
    settings = from_plain({"evaluate": {"tasks": {"t": task}}})
    with pytest.raises(SettingsError) as caught:
        check(settings)
    assert str(caught.value).startswith("evaluate.tasks.t.")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_files_and_metrics_cannot_have():
    with pytest.raises(SettingsError, match=r"evaluate.tasks.a:b=questions: must be called by letters"):
        check(from_plain({"evaluate": {"tasks": {"a:b": {}}}}))


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_groups_are_right(path):
    group = yaml.safe_load(path.read_text())
    check(from_plain({"evaluate": group}))
    assert re.match(r"# [A-Z]", path.read_text())
    tasks = Evaluate(**group).tasks
    assert all(isinstance(task, Task) and task.kind in KINDS for task in tasks.values())


@pytest.mark.slow
def test_lm_eval_has_the_tasks_that_groups_name():
    tasks = pytest.importorskip("lm_eval.tasks")
    known = set(tasks.TaskManager().all_tasks)
    for path in CONF.glob("*.yaml"):
        named = {name for name, task in yaml.safe_load(path.read_text())["tasks"].items() if task["kind"] == "lm_eval"}
        assert named <= known, path.name
