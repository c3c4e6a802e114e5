"""Before the first run: arms are scored on one text, and each takes other steps than the base."""

from typing import Any

import pytest
from corpus.steps import Short, Upper
from data.small import write_jsonl
from tiny import merged

from ablate.corpus import levels
from ablate.data.questions import question
from ablate.run.settings import SettingsError
from ablate.run.study import Study
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan

WORDS: dict[str, Any] = {"source": "folder", "domains": ["sums", "dates"], "focus": "sums"}
LATE = 7  # of the files of a domain: one that is not held out
SHORT: dict[str, Any] = {"length": {"lengths": [64], "starts": [0]}}


@pytest.fixture
def studied(tiny):
    """studied({"optimizer": {"lr": 1}}): a study of the base and an arm that changes this, prepared."""

    def make(change: dict[str, Any], seeds: tuple[int, ...] = (0, 1, 2), **both: Any) -> Plan:
        study = Study(name="s", factor=list(change), seeds=list(seeds))
        arm = {key: both.get(key, {}) | value if isinstance(value, dict) else value for key, value in change.items()}
        return prepared(plan(study, tiny(**SHORT | both), {"arm": tiny(**SHORT | both | arm)}))

    return make


@pytest.mark.parametrize(
    "change",
    [
        {"evaluation": {"spans": 2}},
        {"evaluation": {"part": 1}},
        {"data": {"vocabulary": 400}},
        {"data": {"validation": 0.2}},
    ],
)
def test_an_arm_that_is_scored_on_other_text_is_refused(studied, change):
    with pytest.raises(SettingsError, match=r"study.arms.arm: is scored on other held-out text of domain general than"):
        studied(change)


def test_an_arm_that_is_scored_on_other_domains_is_refused(studied):
    with pytest.raises(SettingsError, match=r"arm: is scored on general, code, the base on general, code, qa"):
        studied({"data": {"domains": ["general", "code"]}, "mixture": {}})
    with pytest.raises(
        SettingsError, match=r"arm: is scored on code, qa, the base on general, code; it differs in data"
    ):
        studied({"data": {"domains": ["code", "qa"]}, "mixture": {}}, data={"domains": ["general", "code"]})


def test_domains_in_another_order_are_the_same_text(studied):
    assert studied({"data": {"domains": ["qa", "code", "general"]}}).arms[1].difference


@pytest.mark.parametrize(
    ("change", "both", "seeds"),
    [
        ({"mixture": {"share": 0.002}}, {"mixture": {"share": 0.0}}, "seeds 1, 2"),  # a third of a row of 160
        ({"schedule": {"warmup": 0.05}}, {"schedule": {"warmup": 0.0}, "tokens": 19 * 512}, "seeds 0, 1, 2"),
        ({"evaluation": {"times": 2}}, {}, "seeds 0, 1, 2"),
    ],
)
def test_an_arm_that_takes_the_steps_of_the_base_is_refused(studied, change, both, seeds):
    with pytest.raises(SettingsError, match=f"study.arms.arm: is the base itself in {seeds}: .*; it differs in "):
        studied(change, **both)


@pytest.mark.parametrize(
    ("change", "both"),
    [
        ({"mixture": {"share": 0.1}}, {"mixture": {"share": 0.0}}),
        ({"schedule": {"warmup": 0.2}}, {"schedule": {"warmup": 0.0}, "tokens": 19 * 512}),
        ({"tokens": 9 * 1024}, {}),
        ({"averaging": {"kind": "ema"}}, {}),
        ({"optimizer": {"eps": 1e-6}}, {}),
        ({"optimizer": {"lerac": {"lowest": 0.5}}}, {}),
    ],
)
def test_an_arm_that_takes_other_steps_is_not(studied, change, both):
    assert len(studied(change, **both).runs) == 6


@pytest.fixture
def written(tmp_path):
    """written("a", {"sums": "more"}): a folder of text, and in the domains named a few words more in a document to
    train on; all are cut by one tokenizer."""

    def make(name: str, more: dict[str, str]) -> dict[str, Any]:
        for domain, begin in (("sums", 0), ("dates", 4)):
            for file in range(30):
                texts = [question(begin + 10 * (20 * file + n)).text for n in range(20)]
                path = tmp_path / name / domain / f"{file}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("\n".join(texts) + (more.get(domain, "") if file == LATE else ""))
        given = {"tokenizer": str(tokenizer)} if (tokenizer := tmp_path / "tokenizer.json").exists() else {}
        return {"data": WORDS | given | {"root": str(tmp_path / name), "domain_bytes": 0}}

    return make


def of_folders(tiny, factor: list[str], base: dict[str, Any], arm: dict[str, Any]) -> Plan:
    study = Study(name="s", factor=factor, metric="macro")
    return prepared(plan(study, tiny(**SHORT | base), {"arm": tiny(**SHORT | arm)}))


@pytest.fixture
def folders(written, tiny, tmp_path):
    """A study of an arm that reads another folder, of which one domain may have more text."""
    first = written("base", {})
    [corpus] = {arm.corpus.folder for arm in of_folders(tiny, [], first, first).arms}
    (tmp_path / "tokenizer.json").write_bytes((corpus / "tokenizer.json").read_bytes())

    def make(factor: list[str], more: dict[str, str]) -> Plan:
        return of_folders(tiny, factor, written("base", {}), written("other", more))

    return make


@pytest.fixture
def small_steps(monkeypatch):
    """Level 1 raises letters, level 2 removes short texts."""
    monkeypatch.setattr(levels, "STEPS", {1: lambda _: [Upper()], 2: lambda _: [Short(least=425)]})


@pytest.mark.parametrize("factor", [[], ["mixture"], ["data.vocabulary"]])
def test_an_arm_that_is_trained_on_other_text_is_refused(folders, factor):
    with pytest.raises(SettingsError, match=r"study.arms.arm: differs outside the factor .*: data.text: sums \w{8} → "):
        folders(factor, {"sums": "!"})


@pytest.mark.parametrize("factor", ["data", "data.root"])
def test_unless_the_factor_is_the_text(folders, factor):
    found = folders([factor], {"dates": " And then there were none."})
    assert list(found.arms[1].difference) == ["data.text.dates"]
    assert len({run.id for run in found.runs}) == 6


def test_equal_text_at_another_place_is_the_same_run(folders):
    found = folders(["mixture"], {})
    assert found.arms[1].difference == {}
    assert len({run.id for run in found.runs}) == 3


def test_an_arm_of_other_text_is_cut_by_the_tokenizer_of_the_base_and_scored_on_its_held_out_text(written, tiny):
    base, arm = written("base", {}), written("other", {"sums": " zyzzyva" * 400})
    ours, theirs = (one.corpus for one in of_folders(tiny, ["data.root"], base, arm).arms)
    assert ours.of_tokenizer == theirs.of_tokenizer
    assert all((ours.tokens(d, "validation") == theirs.tokens(d, "validation")).all() for d in ours.domains)
    assert ours.of_text("sums") != theirs.of_text("sums")
    with pytest.raises(SettingsError, match=r"arm: differs outside the factor .*: data.text: sums \w{8} → \w{8}"):
        of_folders(tiny, ["mixture"], base, arm)


def test_an_arm_with_a_tokenizer_of_its_own_is_refused(written, tiny, tmp_path):
    base, arm = written("base", {}), written("other", {"sums": " zyzzyva" * 400})
    [corpus] = {one.corpus.folder for one in of_folders(tiny, [], arm, arm).arms}
    arm["data"]["tokenizer"] = str(corpus / "tokenizer.json")
    with pytest.raises(SettingsError, match=r"arm: differs outside the factor .*: data: tokens \w{8} → \w{8}"):
        of_folders(tiny, ["mixture"], base, arm)


@pytest.mark.parametrize(
    ("factor", "change", "said"),
    [
        ([], {"data": {"level": {"sums": 1}}}, r"data.text: sums \w{8} → \w{8}; data.level: sums 0 → 1"),
        (["data.level.dates"], {"data": {"level": {"all": 1}}}, r"data.text: .*; data.level: sums 0 → 1$"),
        (["data.level"], {"data": {"level": {"sums": 2}}, "corpus": {"random": True}}, "corpus: random False → True"),
    ],
)
def test_an_undeclared_level_is_refused_naming_the_domain(written, tiny, small_steps, factor, change, said):
    base = merged(written("base", {}), {"data": {"level": {"all": 0}}})
    with pytest.raises(SettingsError, match=f"study.arms.arm: differs outside the factor .*{said}"):
        of_folders(tiny, factor, base, merged(base, change))


def test_arms_of_levels_are_scored_on_one_text_and_say_their_level(written, tiny, small_steps):
    base = merged(written("base", {}), {"data": {"level": {"all": 0}}})
    found = of_folders(tiny, ["data.level"], base, merged(base, {"data": {"level": {"sums": 2}}}))
    assert list(found.arms[1].difference) == ["data.text.sums", "data.level.sums"]
    assert found.arms[1].difference["data.level.sums"] == (0, 2)
    assert found.arms[1].corpus.num_tokens("sums", "train") < found.arms[0].corpus.num_tokens("sums", "train")


def test_one_changed_byte_between_two_preparations_is_seen(written, tiny, small_steps):
    base = merged(written("base", {}), {"data": {"level": {"all": 0}}})
    arm = merged(written("other", {"dates": "x"}), {"data": {"level": {"all": 0}}})
    found = of_folders(tiny, ["data.root"], base, arm)
    assert list(found.arms[1].difference) == ["data.text.dates"]


@pytest.mark.parametrize(
    ("volume", "same"), [("tokens", set()), ("unique", {"tokens"}), ("documents", {"documents", "bytes"})]
)
def test_the_volume_that_arms_have_in_common(written, tiny, small_steps, volume, same):
    base = merged(written("base", {}), {"data": {"level": {"all": 0}}, "corpus": {"volume": volume}})
    found = of_folders(tiny, ["data.level"], base, merged(base, {"data": {"level": {"sums": 2}}}))
    whole, less = (arm.corpus.manifest["domains"]["sums"]["train"] for arm in found.arms)
    assert {key for key in ("documents", "bytes", "tokens") if abs(less[key] / whole[key] - 1) < 0.04} - same <= {
        "tokens"
    }
    assert all(abs(less[key] / whole[key] - 1) < 0.04 for key in same)
    assert list(found.arms[1].difference) == ["data.text.sums", "data.level.sums"]


@pytest.fixture
def asked(tmp_path, tiny):
    """asked({"tokens"}): a study of answers alone and of all that is asked too, which counts three times as much."""
    rows = [
        {"prompt": "What is asked is long: " + question(i).asked, "response": question(i).answer} for i in range(400)
    ]
    write_jsonl(tmp_path / "corpora" / "sums" / "rows.jsonl", rows)
    data = {"source": "folder", "root": str(tmp_path / "corpora"), "domains": ["sums"], "focus": "sums"}
    base = {"data": data, "corpus": {"volume": "counted"}, **SHORT}

    def make(factor: list[str], change: dict[str, Any], objective: str = "answers") -> Plan:
        ours = base | {"objective": objective}
        return of_folders(tiny, factor, ours, merged(ours, change))

    return make


def test_arms_that_count_other_tokens_train_on_as_many_that_count(asked):
    found = asked(["data.counts", "tokens"], {"data": {"counts": {"sums": "all"}}})
    base, arm = found.arms
    counted = [
        one.settings.tokens * one.corpus.counted("sums", "train") / one.corpus.num_tokens("sums", "train")
        for one in found.arms
    ]
    assert counted[1] == pytest.approx(counted[0], rel=0.02)
    assert arm.settings.tokens < base.settings.tokens / 2
    assert arm.difference["tokens"] == (base.settings.tokens, arm.settings.tokens)
    with pytest.raises(SettingsError, match=r"^corpus\.volume=counted: needs tokens in study\.factor"):
        asked(["data.counts"], {"data": {"counts": {"sums": "all"}}})
    with pytest.raises(SettingsError, match=r"^corpus\.volume=counted: does nothing: all tokens count in every arm"):
        asked(["data.counts", "tokens"], {"data": {"counts": {"sums": "all"}}}, objective="next_token")


def test_held_out_answers_count_alike_whatever_counts_in_training(asked):
    base, arm = asked(["data.counts", "tokens"], {"data": {"counts": {"sums": "all"}}}).arms
    assert (base.corpus.marks("sums", "validation") == arm.corpus.marks("sums", "validation")).all()
    assert arm.corpus.marks("sums", "train") is None
