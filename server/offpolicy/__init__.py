"""Off-policy evaluation: what another policy would have earned, from the log of this one.

Owns the estimators and how logs become their input; it asks no server and decides nothing.
"""

from nextbest.server.offpolicy.analysis import Analysis, Outcomes, Settings, analyse
from nextbest.server.offpolicy.errors import (
    FeedbackError,
    LogFileError,
    MissingLibraryError,
    NoOverlapError,
    OffPolicyError,
    RequirementError,
)
from nextbest.server.offpolicy.estimate import Estimate, Trust
from nextbest.server.offpolicy.feedback import Feedback
from nextbest.server.offpolicy.log_file import Columns, read_choices, read_log
from nextbest.server.offpolicy.observed import Observed, observe
from nextbest.server.offpolicy.requirement import Requirement, Verdict, doubt, judge, parse

__all__ = [
    "Analysis",
    "Columns",
    "Estimate",
    "Feedback",
    "FeedbackError",
    "LogFileError",
    "MissingLibraryError",
    "NoOverlapError",
    "Observed",
    "OffPolicyError",
    "Outcomes",
    "Requirement",
    "RequirementError",
    "Settings",
    "Trust",
    "Verdict",
    "analyse",
    "doubt",
    "judge",
    "observe",
    "parse",
    "read_choices",
    "read_log",
]
