"""What reaches a person is masked; what only looks like it is not."""

import pytest
from level2 import results

from ablate.corpus.document import Document
from ablate.corpus.masks import MASKS, Masks


def masked(text: str, kind: str = "prose") -> str:
    [result] = results(Masks(kind), [Document(text, "x")])
    [document] = result.documents
    assert bool(result.noted) == (document.text != text)
    return document.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to ann.lee+news@mail.acme.org.", "Write to <EMAIL>."),
        ("two: a@b.com, c.d@e.co.uk", "two: <EMAIL>, <EMAIL>"),
        ("Call +39 06 1234 5678 or (212) 555-0187.", "Call <PHONE> or <PHONE>."),
        ("paid by 4111 1111 1111 1111 today", "paid by <CARD> today"),
        ("IBAN DE89 3704 0044 0532 0130 00, please", "IBAN <IBAN>, please"),
        ("from 93.184.216.34 at noon", "from <IP> at noon"),
        ("from 2606:2800:220:1:248:1893:25c8:1946 at noon", "from <IP> at noon"),
    ],
)
def test_what_reaches_a_person_is_masked(text, expected):
    assert masked(text) == expected
    assert masked(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:a/b.git, ssh-ed25519@openssh.com, curve25519-sha256@libssh.org, user@UID.service",
        "profits of +1 250 000 000 and +12.500.000.000",
        "see user@example.com and @ann, 5 @ 3 euros, a@b",
        "version 93.184.216.34 and 1.4.2.10, section 2.1.3.4",
        "127.0.0.1 and 192.168.200.14 and 999.1.1.1 and 1.2.3.4.5",
        "4111 1111 1111 1112 and 1234 5678 9012 3456",  # wrong check digit; no card begins so
        "DE89 3704 0044 0532 0130 01",
        "at 12:30:45, std::vector::iterator, 2001:12",
        "12 + 34 567 890 123 = 34 567 890 135; ISBN 978-3-16-148410-0; 1939-1945",
        "3.14159265358979 and 1000000000000000",
        "Last confirmed on 2.6.38.6; XFree86 4.3.99.16; update V8 to 9.6.180.14",
        "precedence 2002::/16 30, 2.2.6: Oct 25 2000::\n, a package 1:10~+20191229111838+6991",
        "barcode 4006381333931, telephone 356938035643809",  # both pass the check of cards
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert masked(text) == text


def test_code_and_mathematics_keep_what_may_be_meant():
    code = 'y = x@layer.weight + h@w.T  # by ann@acme.org\nHOST = "93.184.216.34"\nassert luhn("4111111111111111")'
    assert masked(code, "code") == code.replace("ann@acme.org", "<EMAIL>")
    assert masked("4111111111111111 + 1 is how many?", "math") == "4111111111111111 + 1 is how many?"
    assert set(MASKS) == {"prose", "code", "math", "qa"}


def test_masks_are_counted():
    [result] = results(Masks("prose"), [Document("a@b.com c@d.com +39 06 1234 5678", "x")])
    assert result.noted == {"masked.email": 2, "masked.phone": 1}
