"""Values are found however they are written, wherever a text is cut, and ordinary text stays as it is."""

from __future__ import annotations

import base64
import html
import json
import random
import shlex
import string
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.base.ordinary import pieces, warning
from corral.base.redactor import Redactor

TOKEN = "ghp_9xQ2vLk7RzT4mWb8NcYd3HfJ6sPaEg1U5iOo"
ODD = "p@ss w0rd'&\"é\\n/+?$x!"
SHORT = "hunter2!"
KEY = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "\n".join(textwrap.wrap(base64.b64encode(bytes(range(7, 130))).decode(), 64))
    + "\n-----END PRIVATE KEY-----"
)
VALUES = {"TOKEN": TOKEN, "ODD": ODD, "SHORT": SHORT}
AROUND = [("", ""), ("a", "b"), ("TOKEN=", "\n"), ("== ", " =="), ("ab ", "xyz")]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def urlsafe(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def hexed(text: str) -> str:
    return text.encode().hex()


def wrapped(width: int, encode: Callable[[str], str], end: str = "\n") -> Callable[[str], str]:
    return lambda text: end.join(textwrap.wrap(encode("x" * 31 + text), width))


def folded(width: int, end: str = "\n") -> Callable[[str], str]:
    return lambda text: end.join(text[at : at + width] for at in range(0, len(text), width))


def every(lead: str, code: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{lead}{byte:{code}}" for byte in text.encode())


#: Each way to write a value; base64 also hides what stands before it, so these are tried at each alignment.
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": b64,
    "base64 after one byte": lambda text: b64("x" + text),
    "base64 after two bytes": lambda text: b64("xy" + text),
    "base64 between others": lambda text: b64("x" + text + "yz"),
    "base64 without padding": lambda text: b64(text).rstrip("="),
    "base64 for URLs": urlsafe,
    "base64 for URLs after two bytes": lambda text: urlsafe("xy" + text),
    "base64 in a URL": lambda text: quote(b64(text), ""),
    "wrapped base64": wrapped(76, b64),
    "narrow base64": wrapped(24, b64),
    "indented base64": wrapped(40, b64, "\n      "),
    "base64 with DOS lines": wrapped(64, b64, "\r\n"),
    "base64 with numbered lines": wrapped(60, b64, "\n    12→"),
    "base64 of lines in JSON": lambda text: json.dumps(wrapped(64, b64)(text)),
    "hex": hexed,
    "upper hex": lambda text: hexed(text).upper(),
    "wrapped hex": wrapped(60, hexed),
    "hex in groups": lambda text: " ".join(textwrap.wrap(hexed(text), 4)),
    "hex with colons": lambda text: ":".join(textwrap.wrap(hexed(text), 2)),
    "hex of a C array": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "URL": lambda text: quote(text, ""),
    "URL path": quote,
    "URL in lower case": lambda text: "".join(
        one if one.isascii() and one.isalnum() else "".join(f"%{byte:02x}" for byte in one.encode()) for one in text
    ),
    "form": quote_plus,
    "percents": every("%", "02X"),
    "JSON": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "ASCII JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "JSON in a URL": lambda text: quote(json.dumps({"a": text})),
    "JSON in HTML": lambda text: json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003c"),
    "URL in a URL": lambda text: quote(quote(text, ""), ""),
    "form in a form": lambda text: quote_plus(quote_plus(text)),
    "HTML": html.escape,
    "Python": ascii,
    "JSON in a shell in JSON": lambda text: json.dumps(f"echo {shlex.quote(json.dumps(text))}"),
    "quotes in quotes": lambda text: shlex.quote(shlex.quote(text)),
    "folded": folded(24),
    "folded and indented": folded(30, "\r\n      "),
    "folded in JSON": lambda text: json.dumps(folded(40)(text)),
    "hex of a C array over lines": lambda text: ",\n  ".join(
        textwrap.wrap(", ".join(f"0x{byte:02x}" for byte in text.encode()), 70)
    ).replace(",,", ","),
    "code points": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "single quotes": shlex.quote,
    "other single quotes": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "double quotes": lambda text: '"' + "".join("\\" + one if one in '"\\$`!' else one for one in text) + '"',
    "backslashes": lambda text: "".join(
        one if not one.isascii() or one.isalnum() or one in "@%_+=:,./-" else "\\" + one for one in text
    ),
    "hex escapes": every("\\x", "02x"),
    "octal escapes": every("\\", "03o"),
}


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(VALUES)


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_however_it_is_written_and_wherever_the_text_is_cut(
    redactor: Redactor, way: str, name: str
) -> None:
    for before, after in AROUND:
        for indent in range(9):  # wherever it stands among the words that are looked up
            text = f"{'.' * indent}{before}{WRITTEN[way](VALUES[name])}{after}"
            masked = redactor.text(text)
            assert f"[redacted:{name}]" in masked, text
            assert json.loads(redactor.json(json.dumps({"a": [text]}).encode())) == {"a": [masked]}
            assert redactor.raw(text.encode()).decode() == masked
        for cut in range(len(text) + 1):
            stream = redactor.stream()
            assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush() == masked
        stream = redactor.stream()
        assert "".join(map(stream.feed, text)) + stream.flush() == masked


@settings(max_examples=100)
@given(data=st.data())
def test_any_value_in_any_text_is_found_in_any_pieces(data: st.DataObject) -> None:
    letters = string.ascii_letters + string.digits + "-_+/.=:@ \"'\\\n\té€😀%&"
    value = data.draw(st.text(letters, min_size=8, max_size=90).filter(lambda text: bool(pieces(text))), "value")
    value = pieces(value)[0]
    way = data.draw(st.sampled_from(sorted(WRITTEN)), "way")
    noise = st.text(letters + value, max_size=40)
    text = data.draw(noise) + WRITTEN[way](value) + data.draw(noise)
    redactor = Redactor({"A": value})
    masked = redactor.text(text)
    if way != "code points" or max(map(ord, value)) < 1 << 16:
        assert "[redacted:A]" in masked
    assert value not in masked
    encoded = text.encode()
    stream, given_out, at = redactor.byte_stream(), b"", 0
    while at < len(encoded):
        size = data.draw(st.integers(1, 40))
        given_out += stream.feed(encoded[at : at + size])
        at += size
    assert (given_out + stream.flush()).decode() == masked
    assert json.loads(redactor.json(json.dumps(text, ensure_ascii=False).encode())) == masked


@settings(max_examples=100)
@given(st.binary(max_size=300), st.integers(1, 20))
def test_bytes_of_any_kind_without_a_value_come_out_as_they_went_in(data: bytes, size: int) -> None:
    redactor = Redactor({"TOKEN": TOKEN})
    stream = redactor.byte_stream()
    pieces = [stream.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert b"".join([*pieces, stream.flush()]) == data == redactor.raw(data)


def test_a_stream_holds_back_only_what_may_become_a_value(redactor: Redactor) -> None:
    stream = redactor.stream()
    assert stream.feed("All is well, says x") == "All is well, says x"
    assert stream.feed("; ghp_9xQ2") == "; "
    assert stream.feed("?") == "ghp_9xQ2?"
    assert stream.feed(TOKEN[:-1]) == ""
    assert stream.feed(TOKEN[-1] + ".") == "[redacted:TOKEN]."
    assert stream.feed("the g") == "the "
    assert stream.flush() == "g"


def test_what_is_cut_off_in_the_middle_of_a_value_is_masked_if_a_half_is_there(redactor: Redactor) -> None:
    stream = redactor.stream()
    assert stream.feed(f"it is {TOKEN[:-3]}") + stream.flush() == "it is [redacted:TOKEN]"
    assert stream.feed("it is ghp_9xQ") + stream.flush() == "it is ghp_9xQ"


@pytest.mark.parametrize("cut", range(0, 64, 7))
def test_a_value_of_several_lines_is_found_as_a_whole_and_by_its_lines(cut: int) -> None:
    redactor = Redactor({"KEY": KEY})
    head, first, second, third, foot = KEY.split("\n")
    assert redactor.text(f"cat:\n{KEY}\n") == "cat:\n[redacted:KEY]\n"
    assert redactor.text(f"env: {json.dumps(KEY)}") == 'env: "[redacted:KEY]"'
    numbered = "\n".join(f"{at:6}\t{line}" for at, line in enumerate(KEY.split("\n"), 1))
    assert redactor.text(numbered) == "     1\t[redacted:KEY]"
    without_head = numbered.partition("\n")[2]
    assert redactor.text(without_head).count("[redacted:KEY]") == 3
    assert foot in redactor.text(without_head)
    assert redactor.text(textwrap.indent(KEY, "> ")) == "> [redacted:KEY]"
    assert redactor.text(head) == head
    for line in (first, second, third):
        text = f"a {line} b"
        stream = redactor.stream()
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush() == "a [redacted:KEY] b"


@pytest.mark.parametrize("length", [24, 48, 90])
def test_a_half_of_24_characters_at_the_end_of_a_text_is_found_there_as_well(length: int) -> None:
    letters = string.ascii_letters + string.digits + string.punctuation + "é "
    for seed in range(20):
        value = "".join(random.Random(seed).choices(letters, k=length - 2)).join("<>")
        redactor = Redactor({"A": value})
        cut = f"it is {value[: max(24, (length + 1) // 2)]}"
        assert redactor.text(cut) == "it is [redacted:A]"
        assert json.loads(redactor.json(json.dumps([cut]).encode())) == ["it is [redacted:A]"]


def test_of_a_value_that_is_json_each_text_of_length_is_found_on_its_own() -> None:
    account = {"type": "service_account", "private_key": f"{KEY}\n", "ids": [{"id": 7, "secret": TOKEN}]}
    for indent in (None, 2):
        redactor = Redactor({"ACCOUNT": json.dumps(account, indent=indent)})
        assert redactor.text(json.dumps(account, indent=indent)) == "[redacted:ACCOUNT]"
        assert redactor.text(f"curl -u {TOKEN}") == "curl -u [redacted:ACCOUNT]"
        assert redactor.text(f"{KEY}\n") == "[redacted:ACCOUNT]\n"
        assert redactor.text('  "type": "service_account",') == '  "type": "service_account",'


def test_values_that_overlap_or_hold_each_other_leave_nothing() -> None:
    redactor = Redactor({"INNER": "inner-value-1", "OUTER": "x:inner-value-1:y", "NEXT": "value-1:y:more"})
    assert redactor.text("x:inner-value-1:y") == "[redacted:OUTER]"
    assert redactor.text("inner-value-1") == "[redacted:INNER]"
    assert redactor.text("x:inner-value-1:y:more!") == "[redacted:OUTER][redacted:NEXT]!"


def test_json_keeps_its_shape_and_masks_keys_and_numbers() -> None:
    redactor = Redactor({"PIN": "48151623", "K": TOKEN})
    data = {"a": 48151623, TOKEN: [True, None, 1.5, {"b": "n48151623"}]}
    assert json.loads(redactor.json(json.dumps(data).encode())) == {
        "a": "[redacted:PIN]",
        "[redacted:K]": [True, None, 1.5, {"b": "n[redacted:PIN]"}],
    }


@pytest.mark.parametrize(
    "value",
    [
        "", "short", "1234567", "production", "us-east-1", "127.0.0.1", "--------", "00000000", "2026-01-31",
        "claude-sonnet-4-6", "openai/gpt-5.5", "question", "  1234567  ", "a\nb\nc",
    ],
)  # fmt: skip
def test_short_and_ordinary_values_are_not_masked_and_who_stores_one_is_told(value: str) -> None:
    told = warning(value)
    assert told
    assert "not masked" in told
    text = f"We deploy {value} now."
    assert Redactor({"A": value}).text(text) == text


@pytest.mark.parametrize("value", [TOKEN, ODD, SHORT, KEY, "production-2", "  12345678  "])
def test_of_what_is_masked_there_is_nothing_to_tell(value: str) -> None:
    assert warning(value) is None


def test_what_is_known_to_be_no_secret_is_not_masked() -> None:
    assert Redactor({"ROOT": "/home/me/project"}, known={"/home/me/project"}).is_empty


def test_ordinary_text_is_not_touched() -> None:
    redactor = Redactor({**VALUES, "KEY": KEY})
    text = " ".join(WRITTEN) + string.printable * 20
    assert redactor.text(text) == text
    payload = json.dumps({"text": text, "n": [1.50, 10**30, None]}).encode()
    assert redactor.json(payload) is payload


def test_what_merely_looks_like_a_value_comes_back_as_it_came() -> None:
    redactor = Redactor({"A": "pass!wordQWE123rty!and more"})
    payload = b'{ "a": "wordQWE123rty", "b": 1.50 }'
    assert redactor._sieve.may_hold(payload)
    assert redactor.json(payload) is payload


def test_a_value_of_64_kib_is_found(redactor: Redactor) -> None:
    value = base64.b64encode(random.Random(1).randbytes(47 * 1024)).decode()
    assert Redactor({"BIG": value}).text(f"<{value}>") == "<[redacted:BIG]>"
    lines = "\n".join(textwrap.wrap(value, 64))
    redactor = Redactor({"LINES": lines})
    assert redactor.text(f"<{lines}>") == "<[redacted:LINES]>"
    assert redactor.text("\n".join(lines.splitlines()[500:520])) == "\n".join(["[redacted:LINES]"] * 20)
