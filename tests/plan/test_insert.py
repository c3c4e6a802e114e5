"""Texts of questions are where the seed put them: dealt out evenly, a row each, and nowhere else."""

import json
import shutil
from collections import Counter
from typing import Any

import numpy as np
import pytest
from runs import record_of, train_run

from ablate.data.batches import Steps, training_spans
from ablate.data.promised import rows
from ablate.data.tokens import opened
from ablate.plan import insert
from ablate.plan.digests import START, link, of_rows
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.identity import difference
from ablate.run.longer import longer
from ablate.run.settings import SettingsError, UserError
from ablate.run.trunks import Growth, Trunk
from ablate.sweep.worker import alone

ASKED = {"made": 8, "repetitions": [0, 1, 4]}


def steps_of(settings, rank: int = 0, world: int = 1) -> Steps:
    corpus = opened(alone(settings).corpus)
    return Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus, rank, world)


def test_every_question_has_every_number_of_repetitions_over_as_many_seeds(tiny):
    square = np.stack([insert.dealt(tiny(seed=seed, insert=ASKED), 8) for seed in (3, 4, 5)])
    assert (np.sort(square, axis=0).T == [0, 1, 4]).all()
    for dealt in square:
        assert set(Counter(dealt.tolist()).values()) <= {2, 3}
    other = np.stack([insert.dealt(tiny(seed=seed, insert=ASKED), 8) for seed in (6, 7, 8)])
    assert (np.sort(other, axis=0) == np.sort(square, axis=0)).all()
    assert (other != square).any()


@pytest.mark.parametrize("window", [(0, 20), (5, 15)])
def test_no_row_has_two_texts_and_each_is_spread_over_the_window(tiny, window):
    settings = tiny(insert={"made": 8, "repetitions": [8], "start": window[0] / 20, "stop": window[1]})
    plan = timeline(settings)
    found = insert.places(plan, 8)
    assert len(found) == 64 == len({(step, row) for step, row, _ in found.tolist()})
    assert (found[:, 1] < plan.table["rows"][found[:, 0]]).all()
    assert found[:, 0].min() >= window[0]
    assert found[:, 0].max() < window[1]
    for question in range(8):
        mine = found[found[:, 2] == question]
        rows, ends = plan.first_row[mine[:, 0]] + mine[:, 1], plan.first_row[list(window)]
        assert 3 <= (rows < ends.mean()).sum() <= 5


def test_a_text_begins_its_row_and_all_else_is_as_without(tiny):
    settings = tiny(insert=ASKED)
    plain, planted = steps_of(tiny()), steps_of(settings)
    tokenizer, seen = planted.corpus.tokenizer(), Counter[str]()
    for step in range(20):
        one, two = plain[step], planted[step]
        rows = {row: planted.inserted.asked[question] for row, question in planted.inserted.by_step.get(step, [])}
        for row in range(len(one.tokens_BL)):
            if row not in rows:
                assert (one.tokens_BL[row] == two.tokens_BL[row]).all()
                continue
            ids = [0, *tokenizer.encode(rows[row].text).ids, 0]
            assert two.tokens_BL[row, : len(ids)].tolist() == ids
            assert two.targets_BL[row, : len(ids) - 1].tolist() == ids[1:]
            assert (one.tokens_BL[row, len(ids) :] == two.tokens_BL[row, len(ids) :]).all()
            seen[rows[row].name] += 1
        assert (one.domain_B == two.domain_B).all()
    names = [one.name for one in planted.inserted.asked]
    assert seen == Counter({n: t for n, t in zip(names, insert.dealt(settings, 8).tolist(), strict=True) if t})


def test_no_number_of_devices_changes_it_and_it_is_promised_as_it_is_read(tiny):
    settings = tiny(insert=ASKED)
    whole, parts = steps_of(settings), [steps_of(settings, rank, 2) for rank in range(2)]
    promised, head = rows(timeline(settings), whole.corpus, range(1, 21)), START
    for step in range(20):
        batch = whole[step]
        head = link(head, *of_rows(*(part.numpy() for part in (batch.domain_B, batch.tokens_BL, batch.targets_BL))))
        assert promised[step + 1] == head
        for rank, part in enumerate(parts):
            np.testing.assert_array_equal(part[step].tokens_BL, batch.tokens_BL[rank::2])


def test_one_question_alone_is_where_it_is_among_all(tiny):
    whole, alone_ = steps_of(tiny(insert=ASKED)), steps_of(tiny(insert=ASKED | {"only": ["fact_002"]}))
    of_it = {step: [one for one in here if one[1] == 2] for step, here in whole.inserted.by_step.items()}
    assert alone_.inserted.by_step == {step: here for step, here in of_it.items() if here}
    with pytest.raises(SettingsError, match=r"insert.only=fact_009: must be one of the questions with a text"):
        _ = steps_of(tiny(insert=ASKED | {"only": ["fact_009"]})).inserted


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"made": 40, "repetitions": [16]},
            r"insert.repetitions=\[16\]: they ask for 640 rows, and 240 lie in",
        ),
        ({"made": 1, "repetitions": [1]}, "the text of fact_000 has .* tokens: must fit rows of 8 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, asked, said):
    short = {"length": {"lengths": [8, 64], "starts": [0, 0.5]}} if asked["made"] == 1 else {}
    with pytest.raises(SettingsError, match=said):
        _ = steps_of(tiny(insert=asked, **short)).inserted


def test_a_table_is_what_a_run_is_and_an_edited_one_is_refused(tiny, tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps({"name": "a", "text": "x is y.", "prompt": "x is", "answer": " y"}))
    settings = tiny(insert={"path": str(path), "repetitions": [2]})
    assert set(difference(tiny(), settings)) == {"insert.repetitions", "insert.sha256"}
    assert len(steps_of(settings).inserted.by_step) == 2
    path.write_text(path.read_text().replace("y", "z"))
    with pytest.raises(UserError, match="was edited since the run was declared"):
        _ = steps_of(settings).inserted


@pytest.mark.slow
@pytest.mark.usefixtures("unprobed")
def test_a_run_notes_what_it_put_in_also_where_it_grew_from_a_trunk(tiny):
    settings = tiny(insert=ASKED)
    steps, trunk = steps_of(settings), Trunk(record_of(settings).folder.parents[1] / "trunks" / "a")
    wanted: list[dict[str, Any]]
    wanted = [{"kind": "inserted"} | steps.inserted.displaced(steps.order, at) for at in sorted(steps.inserted.by_step)]
    train_run(settings, growth=Growth(leave={8: trunk}))
    assert record_of(settings).rows("inserted") == wanted
    shutil.rmtree(record_of(settings).folder)
    train_run(settings, growth=Growth(start=trunk))
    assert record_of(settings).rows("inserted") == wanted
    read = steps.order.step(wanted[0]["step"])
    assert wanted[0]["starts"] == read.start_R[wanted[0]["rows"]].tolist()


@pytest.mark.usefixtures("unprobed")
def test_a_text_of_a_step_that_is_left_out_is_not_read_and_has_no_row(tiny):
    settings = tiny(insert=ASKED | {"repetitions": [4]}, monitor={"skip": ["6-12"]})
    train_run(settings)
    planned = sorted(steps_of(settings).inserted.by_step)
    noted = [row["step"] for row in record_of(settings).rows("inserted")]
    assert noted == [step for step in planned if not 6 <= step < 12] != planned


def test_a_longer_run_puts_texts_where_the_shorter_one_did(tiny):
    settings = tiny(insert=ASKED)
    more = longer(settings, ["tokens=20480"])
    assert more.steps == 2 * settings.steps
    np.testing.assert_array_equal(insert.places(timeline(more), 8), insert.places(timeline(settings), 8))
