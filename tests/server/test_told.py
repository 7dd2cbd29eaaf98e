"""Lines that commands print: a count's grammar, and what a figure is of."""

from __future__ import annotations

from typing import cast

import pytest
import typer

from nextbest.server.command import shadow
from nextbest.server.command.console import counted, values
from nextbest.server.command.policy import Judged
from nextbest.server.offpolicy import Analysis
from nextbest.server.offpolicy.recorded import LeftOut
from nextbest.v1 import playbook_pb2


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 outcomes of no placement are counted for each"),
        (1, "1 outcome of no placement is counted for each"),
        (2_000, "2,000 outcomes of no placement are counted for each"),
    ],
)
def test_one_is_told_in_the_singular(count: int, told: str) -> None:
    assert counted(count, "outcome|outcomes of no placement is|are counted for each") == told


@pytest.mark.parametrize("count", [1, 2])
def test_what_stands_in_no_row_is_told_in_number(count: int) -> None:
    """Each as a sentence whose words go with its count."""
    left_out = LeftOut(*([count] * 14))
    left_out.refused["why"] = count
    judged = Judged(cast(Analysis, None), left_out, count)
    for note in judged.notes():
        number, noun, *rest = note.partition(":")[0].replace(",", "").split()
        assert (number, noun.endswith("s")) == (str(count), count > 1), note
        assert not {"is" if count > 1 else "are", "them"} & set(rest), note


def test_a_pair_without_a_value_is_told_by_its_number_alone() -> None:
    """It may be a person's."""
    with pytest.raises(typer.BadParameter, match=r"^number 2 has no =, allowed: NAME=VALUE$"):
        values(["order=1", "amount"], "NAME=VALUE")


def test_a_shadows_cost_is_told_with_its_start(capsys: pytest.CaptureFixture[str]) -> None:
    """In the first minute most of it is the start, for which the limit does not stand."""
    answer = playbook_pb2.GetShadowResponse(playbook_hash="ab", core_share=0.0573, skipped=7)
    shadow._show(answer)
    said = " ".join(capsys.readouterr().out.split())
    assert "5.73% of a core with its start; 7 skipped" in said
    assert "shadow.core_percent_max" in said
