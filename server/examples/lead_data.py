"""The public lead data set as the `leads` playbook sees it: its columns and its split.

Columns that were filled in after the sales team's contact (Tags, Lead Quality, Lead Profile,
Last Activity, Last Notable Activity) and another tool's scores (Asymmetrique) are never read.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = frozenset({"", "Select"})
TRAIN_PERCENT = 70
DEFAULT_FILE = Path("../shared/data/leads_xeducation/Leads_clean.csv.gz")

# Attribute of the playbook -> column of the file.
TEXTS = {
    "origin": "Lead Origin",
    "source": "Lead Source",
    "occupation": "What is your current occupation",
    "specialization": "Specialization",
    "country": "Country",
    "city": "City",
    "heard_from": "How did you hear about X Education",
    "motive": "What matters most to you in choosing a course",
}
FLAGS = {"do_not_email": "Do Not Email", "interview_copy": "A free copy of Mastering The Interview"}
NUMBERS = {
    "visits": "TotalVisits",
    "time_on_site": "Total Time Spent on Website",
    "pages_per_visit": "Page Views Per Visit",
}


@dataclass(frozen=True, slots=True)
class Lead:
    """One row: its id, whether it converted, and its attributes; None is unknown."""

    id: str
    converted: bool
    attributes: dict[str, str | float | bool | None]

    @property
    def train(self) -> bool:
        """True for the 70% that points may be derived from."""
        return in_training(self.id)


def in_training(prospect_id: str) -> bool:
    """Split by the id alone, so that a lead is on the same side in every run and every tool."""
    digest = hashlib.blake2b(prospect_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 100 < TRAIN_PERCENT


def read_leads(path: Path = DEFAULT_FILE) -> list[Lead]:
    """Read the file, gzipped or not; FileNotFoundError when it is absent."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return [_lead(row) for row in csv.DictReader(file)]


def _lead(row: dict[str, str]) -> Lead:
    attributes: dict[str, str | float | bool | None] = {}
    for name, column in TEXTS.items():
        attributes[name] = None if row[column] in UNKNOWN else row[column]
    for name, column in FLAGS.items():
        attributes[name] = row[column] == "Yes"
    for name, column in NUMBERS.items():
        attributes[name] = None if row[column] in UNKNOWN else float(row[column])
    return Lead(row["Prospect ID"], row["Converted"] == "1", attributes)


def auc(converted: list[bool], points: list[float]) -> float:
    """The chance that a converted lead has more points than another; ties count half."""
    order = sorted(range(len(points)), key=points.__getitem__)
    positives = sum(converted)
    rank_sum, start = 0.0, 0
    while start < len(order):
        end = start
        while end < len(order) and points[order[end]] == points[order[start]]:
            end += 1
        rank = (start + end + 1) / 2
        rank_sum += rank * sum(converted[index] for index in order[start:end])
        start = end
    negatives = len(points) - positives
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
