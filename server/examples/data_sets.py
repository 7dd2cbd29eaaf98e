"""Public data sets that examples and benchmarks read: how to give one, and where it can be had.

None is part of the project; README.md has the table of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataSet:
    """A public data set, in one file.

    option: what names another file on the command line.  source: where it is published.
    """

    title: str
    option: str
    source: str

    def require(self, file: Path) -> Path:
        """The file; raises FileNotFoundError that says how to come by it."""
        if file.is_file():
            return file
        raise FileNotFoundError(
            f"{file}: not there; {self.option} names the file of {self.title}, published at "
            f"{self.source}"
        )


LEADS = DataSet(
    "X Education's leads",
    "`make leads LEADS=FILE`",
    'https://github.com/ttng51/LeadScore ("Lead Scoring.csv"; on Kaggle: "Leads Dataset")',
)
RETAIL = DataSet(
    "UCI Online Retail, as comma-separated values",
    "`make retail RETAIL=FILE`",
    "https://archive.ics.uci.edu/dataset/352/online+retail, and by day at "
    "https://github.com/databricks/Spark-The-Definitive-Guide (data/retail-data/by-day)",
)
