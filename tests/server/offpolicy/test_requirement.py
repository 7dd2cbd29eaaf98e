"""Requirements: what holds, and what is refused with the nearest name."""

from __future__ import annotations

import pytest

from nextbest.server.offpolicy import RequirementError, doubt, judge, parse

VALUES = {"dr.lower": 0.2, "logged.mean": 0.1, "dm.clipped": None, "support.missing": 0.0}

HOLDS = {
    "dr.lower > logged.mean": True,
    "dr.lower>=0.2": True,
    "dr.lower > 2e-1": False,
    "  support.missing <= 0 ": True,
    "logged.mean < dr.lower": True,
    "0.3 < dr.lower": False,
    "dr.lower > -1": True,
}

REFUSED = {
    "d.lower > 0": "did you mean",
    "dr.low > 0": r"did you mean lower\?",
    "lgged.mean > 0": r"did you mean logged\?",
    "support.mean > 0": "missing",
    "dr > 0": "mean, standard_error, lower",
    "dr.lower": "one comparison",
    "dr.lower == 1": "one comparison",
    "dr.lower > 0 > 1": "one comparison",
    "__import__('os') > 0": "allowed: logged, on_policy",
    "dr.lower > nan": "a finite number",
    "dr.lower > inf": "a finite number",
    "dr.lower > " + "1" * 300: "characters",
    "": "one comparison",
}


@pytest.mark.parametrize("text", HOLDS)
def test_requirements_compare_figures(text: str) -> None:
    assert judge(parse(text), VALUES).holds is HOLDS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_compared_is_refused(text: str) -> None:
    with pytest.raises(RequirementError, match=REFUSED[text]):
        parse(text)


def test_a_figure_that_the_analysis_lacks_is_named() -> None:
    for text in ("dm.clipped < 1", "on_policy.mean > 0"):
        with pytest.raises(RequirementError, match="no such figure"):
            judge(parse(text), VALUES)


def test_a_verdict_is_a_sentence() -> None:
    verdict = judge(parse("logged.mean > dr.lower"), VALUES)
    assert str(verdict) == "logged.mean > dr.lower: does not hold, 0.1 against 0.2"


def test_the_direct_methods_interval_is_doubted() -> None:
    assert "dm.lower" in doubt(parse("dm.lower > logged.mean"))
    assert "dm.upper" in doubt(parse("0 < dm.upper"))
    assert doubt(parse("dm.mean > logged.mean")) == ""
    assert doubt(parse("dr.lower > dm.mean")) == ""
