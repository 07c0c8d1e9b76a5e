import json

import pytest

from studio.data.checks.personal_data import PersonalData
from studio.data.personal import find, mask
from studio.data.templates import Mapping


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail bob.smith+x@mail.example.co.uk.", "mail [EMAIL]."),
        ("+49 30 1234567, (555) 123-4567 or 555-123-4567", "[PHONE], [PHONE] or [PHONE]"),
        ("030 1234567 / 0049 30 123456", "[PHONE] / [PHONE]"),
        ("4111 1111 1111 1111 and 378282246310005", "[CARD] and [CARD]"),
        ("DE89 3704 0044 0532 0130 00 BITTE", "[IBAN] BITTE"),
        ("GB82WEST12345698765432.", "[IBAN]."),
        ("sk-proj-abc123def456ghi789jkl012", "[TOKEN]"),
        ("ghp_" + "a1B2" * 9, "[TOKEN]"),
        ("token=hf_" + "aB3" * 12, "token=[TOKEN]"),
        ("AKIAIOSFODNN7EXAMPLE", "[TOKEN]"),
        ("Bearer eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2", "Bearer [TOKEN]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nEnd", "[KEY]\nEnd"),
    ],
)
def test_what_is_found(text, masked):
    assert mask(text) == masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112",  # a card but for its check digit
        "DE88 3704 0044 0532 0130 00",  # an account but for its check digits
        "2024-01-02 03:04:05, 01.02.2024, 01/02/2024 12:30, 10-12-2024, 08:30-17:45",
        "ISBN 978-3-16-148410-0, 0-306-40615-2",
        "version 1.2.3.4 at 192.168.100.200, 2001:0db8:85a3",
        "1700000000000 ms, 12.345.678,90 or 100 200 3000, 3.14159265358979, +1.23456789",
        "pages 0123-0145, 2 +12345678 = 12345680",
        "472547338\n+960397912423686\n= 4212883012996",
        "sk-learn-is-a-very-long-hyphenated-word",
        "@user, foo@bar and a @ b.c",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_only_looks_like_it(text):
    assert find(text) == []


def test_turns_written_as_json_stay_json():
    turns = [{"role": "user", "content": 'My "mail" is a@example.org'}, {"role": "assistant", "content": "Fine."}]
    row = {"messages": json.dumps(turns), "other": "b@example.org"}
    mapping = Mapping("messages", {"messages": "messages"})
    assert PersonalData().why(row, mapping) == "e-mail address in turn 1 of 'messages'"
    fixed = PersonalData().fix(row, mapping, 0)
    assert json.loads(fixed["messages"])[0] == {"role": "user", "content": 'My "mail" is [EMAIL]'}
    assert fixed["other"] == "b@example.org"  # plays no part
    assert "a@example.org" in row["messages"]
