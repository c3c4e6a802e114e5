"""Looks are counted and share a level; what was declared anew is shown with what had been seen."""

import numpy as np
import pytest
from scipy.special import stdtr

from ablate import report
from ablate.run.ledger import Ledger
from ablate.run.study_record import StudyRecord
from ablate.run.whole import copy_of
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read
from ablate.verdict.history import LATER, History, of
from ablate.verdict.validity import trust
from tests.tiny import LOOK
from tests.verdict.worlds import World, write

SERIES = [LATER / 2, LATER / 6, LATER / 12, LATER / 20]


def seen(seeds: int, declared: tuple[int, ...] = (0, 1, 2), arms: tuple[str, ...] = ("a",), whole: bool = True) -> dict:
    """A look at so many seeds of each arm."""
    pairs = {arm: {str(seed): [f"base{seed}", f"{arm}{seed}"] for seed in range(seeds)} for arm in arms}
    of_arms = {arm: {"pairs": pairs[arm], "whole": whole, "word": "inconclusive"} for arm in arms}
    declaration = {"metric": "macro", "seeds": list(declared), "declared": ["base", "a"]}
    return {"kind": "look", "base_digest": "b", **declaration, "arms": of_arms}


def shares(looks: list[dict]) -> list[float]:
    """Of the arm a, at each look in turn."""
    return [of(looks[:i], "b").shares(looks[i])["a"] for i in range(len(looks))]


def longer(*seeds: int) -> list[dict]:
    return [seen(n, tuple(range(n))) for n in seeds]


def test_the_planned_look_has_the_whole_level_and_later_ones_a_series():
    assert shares(longer(3, 5, 8, 12, 20)) == [1.0, *SERIES]
    assert sum(LATER / (k * (k + 1)) for k in range(1, 10_000)) < LATER


def test_the_same_runs_are_the_same_look():
    three, five = longer(3, 5)
    assert shares([three, five, three, five, five]) == [1.0, SERIES[0], 1.0, SERIES[0], SERIES[0]]
    assert len(of([three, five, three], "b").looks) == 2


def test_a_glance_takes_nothing_from_the_planned_look():
    glances = [seen(2, whole=False), seen(3), seen(5, tuple(range(5)))]
    assert shares(glances) == [SERIES[0], 1.0, SERIES[1]]
    one_pair = [seen(1, whole=False), seen(3), seen(5, tuple(range(5)))]
    assert shares(one_pair)[1:] == [1.0, SERIES[0]]


def test_declaring_fewer_seeds_after_a_look_does_not_make_a_planned_one():
    assert shares([seen(2, whole=False), seen(2, (0, 1))]) == [SERIES[0], SERIES[0]]


def test_an_arm_that_was_added_and_one_that_was_changed_are_not_as_planned():
    first, added = seen(3), seen(3, arms=("a", "new"))
    assert of([first], "b").shares(added) == {"a": 1.0, "new": SERIES[0]}
    changed = seen(3)
    changed["arms"]["a"]["pairs"] = {str(seed): [f"base{seed}", f"other{seed}"] for seed in range(3)}
    assert shares([first, changed]) == [1.0, SERIES[0]]


def renamed(look: dict, **names: str) -> dict:
    """The same look at the same runs, of arms that are called otherwise."""
    return look | {"arms": {names.get(arm, arm): one for arm, one in look["arms"].items()}}


def test_another_name_or_another_metric_is_no_fresh_start():
    looks = longer(3, 5, 8)
    assert of([looks[0], looks[1]], "b").shares(renamed(looks[2], a="x")) == {"x": SERIES[1]}
    assert of(looks[:1], "b").shares(looks[0] | {"metric": "code"}) == {"a": SERIES[0]}


def test_the_same_metric_of_other_items_or_another_focus_is_another_look():
    def declared(task: dict, metric: str = "task:sums:acc", focus: str = "qa") -> dict:
        declaration = {"metric": metric, "domains": ["code", "qa"], "focus": focus, "tasks": {"sums": task}}
        return {"kind": "declared", "base_digest": "b", "runs": 0, "looks": 0, "declaration": declaration}

    task = {"kind": "questions", "protocols": ["cloze", "likelihood"], "seed": 0}
    for other in (task | {"seed": 1}, task | {"protocols": ["likelihood", "cloze"]}):
        rows = [declared(task), seen(3) | {"metric": "task:sums:acc"}, declared(other)]
        two = of([*rows, seen(3) | {"metric": "task:sums:acc"}], "b").looks
        assert of(rows, "b").shares(two[1]) == {"a": SERIES[0]}
    more = declared(task | {"protocols": ["cloze"]})  # read by the first, as before
    assert len(of([declared(task), seen(3), more, seen(3)], "b").looks) == 1
    rest = [declared(task, "rest"), seen(3), declared(task, "rest", "code"), seen(3)]
    assert len(of(rest, "b").looks) == 2


def test_arms_that_were_looked_at_stay_in_the_family():
    both, one = seen(3, arms=("a", "c")), seen(3)
    assert of([both], "b").dropped(one) == ["c"]
    assert of([both], "b").dropped(renamed(both, c="x")) == []
    assert of([one, both], "b").dropped(one) == []  # as it was said then
    assert of([seen(1, arms=("a", "c"))], "b").dropped(one) == ["c"]  # one pair shows a difference too
    assert of([seen(3) | {"declared": ["a", "c"]}], "b").dropped(one | {"declared": ["a"]}) == ["c"]  # it had failed


def test_each_time_that_arms_are_added_the_bound_grows():
    first, more = seen(3, arms=("a", "base")), seen(3, arms=("a", "new"))
    assert of([], "b").bound(first, 0.05) == pytest.approx(0.065)
    assert of([first], "b").bound(seen(5, tuple(range(5))), 0.05) == pytest.approx(0.065)
    assert of([first], "b").bound(more, 0.05) == pytest.approx(0.08)
    assert of([first, more], "b").bound(seen(3, arms=("newer",)), 0.05) == pytest.approx(0.095)


@pytest.mark.parametrize("how", ["drop all but the best", "one new arm after the other"])
def test_choosing_among_arms_after_a_look_makes_few_false_claims(how):
    rng, studies, many = np.random.default_rng(1), 10_000, 12
    names = [f"arm{i}" for i in range(many)]
    d = rng.standard_normal((studies, many, 3)) - rng.standard_normal((studies, 1, 3))
    t = d.mean(2) / (d.std(2, ddof=1) / np.sqrt(3))
    p = 2 * stdtr(2, -np.abs(t))
    if how == "drop all but the best":
        first, last = seen(3, arms=tuple(names)) | {"declared": names}, seen(3, arms=(names[0],))
        family = 1 + len(of([first], "b").dropped(last))
        claimed, bound = p.min(1) * family <= 0.05, of([first], "b").bound(last, 0.05)
    else:
        looks = [seen(3, arms=(name,)) | {"declared": [name]} for name in names]
        histories = [of(looks[:i], "b") for i in range(many)]
        families = np.array([1 + len(one.dropped(looks[i])) for i, one in enumerate(histories)])
        share = np.array([one.shares(looks[i])[names[i]] for i, one in enumerate(histories)])
        claimed, bound = (p * families / share <= 0.05).any(1), histories[-1].bound(looks[-1], 0.05)
        assert bound == pytest.approx(0.05 * (1 + LATER * many))
    assert claimed.mean() <= min(bound, 0.07)


def test_runs_of_another_base_are_another_experiment():
    trial = [row | {"base_digest": "small"} for row in longer(3, 5)]
    assert of(trial, "b").shares(seen(3)) == {"a": 1.0}
    assert of(trial, "b").elsewhere == 2


def test_what_more_seeds_would_be_judged_at():
    assert of([], "b").next_share("a", seen(2, whole=False)) == 1.0
    assert of([], "b").next_share("a", seen(3)) == SERIES[0]
    assert of(longer(3), "b").next_share("a", seen(5, tuple(range(5)))) == SERIES[1]


@pytest.mark.parametrize("arms", [1, 3])
@pytest.mark.parametrize("seeds", [(3,), (3, 5, 8, 12, 20), tuple(range(3, 21))])
def test_a_study_that_is_looked_at_again_and_again_makes_few_false_claims(seeds, arms):
    rng, studies = np.random.default_rng(0), 10_000
    d = rng.standard_normal((studies, arms, 20)) - rng.standard_normal((studies, 1, 20))
    claimed, without = np.zeros(studies, bool), np.zeros(studies, bool)
    for n, share in zip(seeds, shares(longer(*seeds)), strict=True):
        t = d[..., :n].mean(2) / (d[..., :n].std(2, ddof=1) / np.sqrt(n))
        p = 2 * stdtr(n - 1, -np.abs(t)).min(1) * arms  # Holm's first step
        claimed |= p / share <= 0.05
        without |= p <= 0.05
    assert claimed.mean() <= 0.06
    assert without.mean() > 0.15 or len(seeds) == 1


def ledgered(tmp_path, world: World | None = None) -> StudyRecord:
    """A study that was declared before its first run."""
    study = write(tmp_path, world)
    study.ledger.add("declared", base_digest=None, runs=0, looks=0, declaration=study.read())
    return study


def amend(study: StudyRecord, **changes) -> None:
    declaration = study.read() | changes
    looks = len(of(study.ledger.rows(), None).looks)
    study.write(declaration)
    study.ledger.add("declared", base_digest=None, runs=16, looks=looks, declaration=declaration)


def show(study: StudyRecord, capsys) -> str:
    report.main([study.name, "--outputs", str(study.folder.parent.parent)])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_an_edit_after_a_look_is_shown_on_terminal_page_card_and_csv(tmp_path, capsys):
    study = ledgered(tmp_path, World(evaluations=12, tokens=600_000))
    page = study.folder / "report" / "index.html"
    first = show(study, capsys)
    assert "amended" not in first
    assert "written before the first run" in page.read_text()
    amend(study, margin=0.03, hypothesis="None differs (written after reading the results).")
    amended = "amended after 1 look at 16 finished runs: margin 0.01 -&gt; 0.03"
    shown = show(study, capsys)
    for text in (amended.replace("&gt;", ">"), "better under the first declaration"):
        assert text in shown
    text = page.read_text()
    assert amended in text
    assert "written after 1 look at 16 finished runs" in text
    assert "written before the first run" not in text
    assert "better under the first declaration" in text
    assert amended.replace("&gt;", ">") in (study.folder / "report" / "verdicts.csv").read_text()
    report.main([study.name, "--outputs", str(tmp_path), "--card", "qa_20"])
    assert "margin 0.01 -> 0.03" in " ".join(capsys.readouterr().out.split())
    rows = study.ledger.rows()
    assert [row["kind"] for row in rows] == ["declared", "look", "declared"]
    assert rows[1]["arms"]["qa_20"]["word"] == "better"


def test_the_word_under_the_first_declaration_stands_beside_the_word_under_the_last(tmp_path):
    study = write(tmp_path)
    declared = study.read()
    study.ledger.add("declared", base_digest=None, runs=0, looks=0, declaration=declared)
    words = {v.arm: v.word for v in verdicts(read(study))}
    amend(study, margin=0.03, digest="other")
    after = trust.conclude(read(study)).verdicts
    assert {v.arm: v.word for v in after} != words
    assert {v.arm: v.notes[-1] for v in after} == {
        arm: f"{word} under the first declaration" for arm, word in words.items()
    }


def test_a_confidence_that_is_lowered_after_a_look_stays_as_it_was(tmp_path):
    study = ledgered(tmp_path)
    amend(study, confidence=0.8)
    before = verdicts(read(study))
    assert {v.confidence for v in before} == {0.8}  # nobody had looked
    trust.look(read(study), trust.conclude(read(study)))
    amend(study, confidence=0.99)
    assert {v.confidence for v in verdicts(read(study))} == {0.99}
    amend(study, confidence=0.6)
    after = verdicts(read(study))
    assert [v.effect for v in after] == [v.effect for v in before]
    assert all("judged at confidence 0.8, that of an earlier look, not at 0.6" in v.notes for v in after)


def test_the_word_under_the_first_declaration_is_at_the_confidence_of_that(tmp_path):
    study = ledgered(tmp_path)
    words = {v.arm: v.word for v in verdicts(read(study))}
    trust.look(read(study), trust.conclude(read(study)))
    amend(study, confidence=0.99999999, digest="other", seeds=[0, 1, 2, 3, 4])
    trust.look(read(study), trust.conclude(read(study)))
    assert {v.arm: v.notes[-1] for v in trust.conclude(read(study)).verdicts} == {
        arm: f"{word} under the first declaration" for arm, word in words.items()
    }


def test_what_is_edited_before_the_first_run_is_no_amendment(tmp_path):
    study = write(tmp_path)
    for margin in (0.01, 0.02):
        declaration = study.read() | {"margin": margin}
        study.ledger.add("declared", base_digest=None, runs=0, looks=0, declaration=declaration)
    history = read(study).history
    assert history.amendments == []
    assert history.first is None
    assert history.written("margin") == "written before the first run"
    assert History().written("margin") == ""


def test_seeds_that_are_added_are_another_look_and_say_so(tmp_path):
    world = World(own_noise=0.004)
    study = write(tmp_path, world)
    whole = study.read()
    few = whole | {"seeds": [0, 1, 2]}
    few["runs"] = {arm: {s: run for s, run in runs.items() if s != "3"} for arm, runs in whole["runs"].items()}
    study.write(few)
    planned = read(study)
    trust.look(planned, trust.conclude(planned))
    study.write(whole)
    found = trust.conclude(read(study))
    assert all("not the planned look: judged at level 0.0075" in v.notes for v in found.verdicts)
    assert all(v.effect.level < 0.0075 + 1e-9 for v in found.verdicts)
    [looks] = [finding.text for finding in found.findings if finding.check == "looks"]
    assert looks == "2, at 3, 4 seeds; a false claim at any of them has a probability of at most 0.065"
    trust.look(read(study), found)
    assert [v.effect for v in trust.conclude(read(study)).verdicts] == [v.effect for v in found.verdicts]
    study.write(few)
    assert repr(verdicts(read(study))) != repr(verdicts(planned))  # it says what the other look said
    assert [v.effect for v in verdicts(read(study))] == [v.effect for v in verdicts(planned)]


def record_of(study: StudyRecord) -> list[str]:
    return [finding.text for finding in trust.conclude(read(study)).findings if finding.check == "record"]


def taken(tmp_path) -> StudyRecord:
    """A declared study after its first look."""
    study = ledgered(tmp_path)
    trust.look(read(study), trust.conclude(read(study)))
    assert record_of(study) == []
    return study


def test_a_declaration_that_is_edited_by_hand_is_void_and_named(tmp_path):
    study = taken(tmp_path)
    study.write(study.read() | {"margin": 0.05})
    assert record_of(study) == [
        "the declaration was edited by hand, or a row deleted: the ledger has another: margin 0.01 -> 0.05"
    ]
    assert trust.conclude(read(study)).void


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_of_the_ledger_that_is_deleted_is_missed(tmp_path, row):
    study = taken(tmp_path)
    amend(study, margin=0.02)
    assert record_of(study) == []
    lines = study.ledger.path.read_text().splitlines(keepends=True)
    study.ledger.path.write_text("".join(lines[:row] + lines[row + 1 :]))
    assert "rows of the ledger were deleted or edited" in record_of(study)


def test_a_ledger_that_begins_anew_is_not_the_one_of_the_first_look(tmp_path):
    study = taken(tmp_path)
    study.ledger.path.unlink()
    assert record_of(study) == []  # its copy is read
    copy_of(study.ledger.path).unlink()
    amend(study, margin=0.05)
    for _ in range(2):
        assert record_of(study) == ["the ledger is not the one that there was at the first look"]
        trust.look(read(study), trust.conclude(read(study)))


def test_two_writers_of_a_ledger_leave_every_row_whole(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    ledger = Ledger(tmp_path / "ledger.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.add("look", number=i, text="x" * 20_000, **LOOK), range(40)))
    assert sorted(row["number"] for row in ledger.rows()) == list(range(40))
    assert ledger.whole
