"""The public lead data set, loaded and scored over gRPC."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nextbest.server.examples import LEADS, MAPPINGS, derive_leads, lead_data
from nextbest.server.examples.score_leads import score_leads

FILE = "leads_xeducation/Leads_clean.csv.gz"
LEAKS = ("Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable", "Asymmetrique")


def test_every_lead_is_loaded_and_the_unseen_ones_are_ranked_well(
    data_file: Callable[[str], Path],
) -> None:
    figures = score_leads(data_file(FILE))
    assert figures["rows"] == figures["accepted"] == figures["scored"] == 9_240
    assert figures["refused"] == 0
    assert figures["unseen_leads"] == 2_735
    assert figures["unseen_auc"] >= 0.85


@pytest.fixture(scope="module")
def derived(
    data_file: Callable[[str], Path],
) -> tuple[list[lead_data.Lead], list[derive_leads.Level], list[int]]:
    leads = lead_data.read_leads(data_file(FILE))
    levels = derive_leads.levels(leads)
    return leads, levels, derive_leads.points(levels, leads)


def test_the_points_are_those_that_the_script_derives(derived: Any) -> None:
    leads, levels, points = derived
    text = derive_leads.document(levels, points, leads)
    assert text == (LEADS / "scores.yaml").read_text(encoding="utf-8")


def test_unseen_leads_do_not_change_a_point(derived: Any) -> None:
    leads, levels, points = derived
    other = [
        lead if lead.train else lead_data.Lead(lead.id, not lead.converted, lead.attributes)
        for lead in leads
    ]
    assert derive_leads.points(levels, other) == points


def test_no_column_filled_in_after_contact_is_read() -> None:
    mapping = (MAPPINGS / "leads.yaml").read_text(encoding="utf-8")
    columns = [*lead_data.TEXTS.values(), *lead_data.FLAGS.values(), *lead_data.NUMBERS.values()]
    assert not [leak for leak in LEAKS if leak in mapping or leak in " ".join(columns)]
