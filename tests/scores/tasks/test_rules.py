"""Rules of minimal pairs: forms that are wrong for sure, and what they pass over."""

import pytest

from ablate.scores.tasks.rules import RULES

# Text, and with one thing wrong; None: nothing in it is wrong for sure when changed
CASES = {
    "agreement_en": [
        ("The list is empty, as said.", "The list are empty, as said."),
        ("They have gone home.", "They has gone home."),
        ("These functions were slow.", "These functions was slow."),
        ("If it was so, we would know.", None),  # it were so
        ("The data is here now.", None),
        ("The series are long.", None),
        ("The list of values is long.", None),
        ("The rest is easy.", None),
        ("The number of the lists are given.", None),
        ("Bob and he have left.", None),
        ("The committee was there, and the fish is red.", None),
    ],
    "agreement_it": [
        ("Nasce una bella passione.", "Nasce un bella passione."),
        ("Vide la stazione da lontano.", "Vide il stazione da lontano."),
        ("Era un libro vecchio.", "Era una libro vecchio."),
        ("Egli è partito ieri.", "Egli sono partito ieri."),
        ("Essi sono partiti ieri.", "Essi è partiti ieri."),
        ("Con il dolore nel cuore.", "Con la dolore nel cuore."),
        ("Questa è io non so.", None),
        ("Il peggio è il maggiore danno, il commento.", None),
        ("Era una artista.", None),
        ("Una ginnasta, una entusiasta, un minore, una pilota, un soprano e il minore.", None),
        ("Secondo lui è pronto, e in questo è bravo.", None),  # sono
        ("Nonostante ciò è partito.", None),
        ("Ma per molti sono un problema.", None),  # è
        ("Disse che ciò è vero.", "Disse che ciò sono vero."),
        ("Vide la casa.", None),
    ],
    "word_order_en": [
        ("The end of the road.", "The end the of road."),
        ("It can be done soon.", "It be can done soon."),
        ("Look for the loop.", None),
    ],
    "word_order_it": [("Uscì con la madre.", "Uscì la con madre."), ("Andò a Roma di notte, per una volta.", None)],
    "digits": [
        ("So 12 * 3 = 36.", "So 12 * 3 = 63."),
        ("So 100 + 20 = 120 in all.", "So 100 + 20 = 102 in all."),
        ("So 12 * 3 = 37.", None),  # not true
        ("So 2 + 3 * 4 = 12.", None),  # of a longer one
        ("So 3 * 4 = 12 + 1.", None),
        ("So 2 * 11 = 22.", None),
        ("So 5 * 2 = 10.", None),  # 01
        ("So 3 * 4.5 = 13.5.", None),
    ],
    "brackets": [
        ("x = f(a[1])\n", "x = f(a[1})\n"),
        ("x = f(')')\n", None),
        ("x = f(a,\n      b)\n", None),
        ("let [0, 1) be\n", None),
    ],
}


@pytest.mark.parametrize(("rule", "text", "wrong"), [(rule, *case) for rule in CASES for case in CASES[rule]])
def test_rules(rule, text, wrong):
    made = [text[: c.start] + c.wrong + text[c.start + len(c.right) :] for c in RULES[rule](text)]
    assert all(text[c.start :].startswith(c.right) for c in RULES[rule](text))
    assert (wrong in made) if wrong else made == []


def test_every_rule_has_examples():
    assert CASES.keys() == RULES.keys()
