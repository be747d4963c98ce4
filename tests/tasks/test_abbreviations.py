import logging
import subprocess
import sys
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.tasks.abbreviations import find_abbreviations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Renal cell carcinoma (RCC) is rare.", {"RCC": "Renal cell carcinoma"}),
        ("We saw non-small cell lung cancer (NSCLC).", {"NSCLC": "non-small cell lung cancer"}),
        ("Ataxia-telangiectasia (A-T) was found.", {"A-T": "Ataxia-telangiectasia"}),
        ("Acetylcholine receptors (AChR) were blocked.", {"AChR": "Acetylcholine receptors"}),
        ("Given 5-fluorouracil (5-FU) daily.", {"5-FU": "5-fluorouracil"}),
        (  # a plural of three s, of which the words begin with two
            "Selective serotonin reuptake inhibitors (SSRIs) were given.",
            {"SSRIs": "Selective serotonin reuptake inhibitors"},
        ),
        (
            "Acute kidney injury (AKI) and chronic heart failure (CHF).",
            {"AKI": "Acute kidney injury", "CHF": "chronic heart failure"},
        ),
        ("It was severe (n = 12) and old (p < 0.01).", {}),
        ("Twelve patients (all women) had gout.", {}),
        ("No brackets, no RCC.", {}),
        ("", {}),
    ],
)
def test_definitions_are_found(text: str, expected: dict[str, str]) -> None:
    assert find_abbreviations(text) == expected


def test_the_first_definition_counts() -> None:
    text = "Multiple sclerosis (MS) is old. Mitral stenosis (MS) is older."
    assert find_abbreviations(text) == {"MS": "Multiple sclerosis"}


def test_unmatched_and_empty_brackets_do_not_hide_definitions() -> None:
    text = "We asked: 1) who had gout () and 2) who had renal cell carcinoma (RCC). It was :( sad."
    assert find_abbreviations(text) == {"RCC": "renal cell carcinoma"}


def test_a_long_text_is_read_to_its_end() -> None:
    text = "Nothing to report here. " * 2000 + "Renal cell carcinoma (RCC) came last."
    assert find_abbreviations(text) == {"RCC": "Renal cell carcinoma"}


pieces = st.sampled_from(
    ["(", ")", " (", "[", ";", ":", '"', "“", " ", "\n", "-", "A", "b", "İ", "ß", "7", "😀", "renal"]
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(pieces, max_size=80).map("".join)))
def test_any_text_gives_forms_that_occur_in_it(text: str) -> None:
    for short, long in find_abbreviations(text).items():
        assert type(short) is str
        assert type(long) is str
        assert short in text
        assert long in text


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    find_abbreviations("Renal cell carcinoma (RCC), (XY) and (QQ).")
    assert caplog.records == []


def test_the_root_logger_is_left_alone() -> None:
    """The library calls logging.basicConfig when it is imported."""
    program = (
        "import logging; from e2emern.tasks.abbreviations import find_abbreviations;"
        "print(find_abbreviations('Renal cell carcinoma (RCC)'), logging.root.handlers, logging.root.level)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "{'RCC': 'Renal cell carcinoma'} [] 30\n"
    assert done.stderr == ""


@pytest.mark.parametrize("unit", ["(AB) ", "(Ab) (Ac) ", "( (Ab) ) ", "(A; ", "(Ab: c) ", "((Ab)", "a (Ab) - "])
def test_the_time_is_not_quadratic_in_the_text(unit: str) -> None:
    """Cause: hundreds of candidates in a line each searched all words before them: 18 kB took 20 s."""
    begin = "a " + "x " * 1000

    def calls(size: int) -> int:
        text, count = begin + (unit * size)[:size], 0

        def profile(frame: FrameType, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            find_abbreviations(text)
        finally:
            sys.setprofile(None)
        return count

    find_abbreviations("warm up (WU)")
    one, two = calls(9_000), calls(18_000)
    assert two < 2.5 * one + 10_000
    assert two < 100 * 20_000
