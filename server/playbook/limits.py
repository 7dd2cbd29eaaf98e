"""Every bound of a playbook, in one place."""

import re
from typing import Final

FILES_MAX: Final = 1_024
BYTES_MAX: Final = 16 * 1024 * 1024
PATH_MAX: Final = 256
NODES_MAX: Final = 1_000_000  # YAML nodes of all files, an alias counted as what it stands for
DEPTH_MAX: Final = 16
FAULTS_MAX: Final = 1_000

ATTRIBUTES_MAX: Final = 1_024
EVENTS_MAX: Final = 1_024
PROPERTIES_MAX: Final = 256  # of one event
COUNTERS_MAX: Final = 512  # with those the compiler makes for score rules
CONTEXT_MAX: Final = 256
SEGMENTS_MAX: Final = 4_096
SCORECARDS_MAX: Final = 64
RULES_MAX: Final = 1_024  # of one scorecard
GRADES_MAX: Final = 64
BANDS_MAX: Final = 26  # of one side of a grade's matrix
STAGES_MAX: Final = 64
TRANSITIONS_MAX: Final = 1_024
ACTIONS_MAX: Final = 16_384
ACTION_ATTRIBUTES_MAX: Final = 64
CONDITIONS_MAX: Final = 64  # of one rule, gate or segment
DISTINCT_CONDITIONS_MAX: Final = 65_536
TREATMENTS_MAX: Final = 64  # of one action
CHANNELS_MAX: Final = 16  # of one treatment
CONTENT_MAX: Final = 64  # entries of one treatment
PLACEMENTS_MAX: Final = 1_024
SLOTS_MAX: Final = 64
SELECTION_MAX: Final = 16_384  # groups or actions that a placement names
EXPERIMENTS_MAX: Final = 256
VARIANTS_MAX: Final = 64  # of one experiment, those that factors make included
FACTORS_MAX: Final = 6  # of one experiment
LAYERS_MAX: Final = 256
HOLDOUTS_MAX: Final = 16
KEYS_MAX: Final = 4  # that stand in for one another as bucketing keys
PHASES_MAX: Final = 64  # earlier weights of one experiment
RANGES_MAX: Final = 256  # of one experiment
PURPOSES_MAX: Final = 64
DECLARED_CHANNELS_MAX: Final = 32
REASONS_MAX: Final = 8  # of one channel
BUCKETS: Final = 100_000  # shares and weights are whole hundred-thousandths
VERSION_MAX: Final = 1_000_000
CONTACT_RULES_MAX: Final = 256  # caps, or suppressions, or quiet hours
TRIGGER_CONDITIONS_MAX: Final = 1_024  # of triggers, that have no boundary
ZONE_KEYS_MAX: Final = 4  # that stand in for one another as a person's time zone
AHEAD_S: Final = 300  # how far ahead of the clock events may be, as the core has it
BUDGETS_MAX: Final = 64  # each one of a budget `of: action` and the like included
BUDGET_MAX: Final = 1_000_000_000_000  # impressions
SPEND_MAX: Final = 1_000_000_000_000  # in its unit; held in millionths
SHARES_MAX: Final = 4_096
HOLD_S_MAX: Final = 86_400
RESERVE_S_MAX: Final = 3_600
CAP_MAX: Final = 1_024  # events of a cap, as many as a counter keeps the moments of

CASES_MAX: Final = 10_000
CASE_ID_BYTES_MAX: Final = 128
CASE_EVENTS_MAX: Final = 10_000

STRING_BYTES_MAX: Final = 1_024  # an attribute's default, an action's attribute
CONTENT_BYTES_MAX: Final = 16_384
TITLE_BYTES_MAX: Final = 256
EXPRESSION_BYTES_MAX: Final = 16_384
LIST_MAX: Final = 1_024  # strings of a default, values of a last_n
VECTOR_MAX: Final = 4_096
DISTINCT_MAX: Final = 65_536  # the exact bound of a distinct counter
DISTINCT_DEFAULT: Final = 1_000

POINTS_MAX: Final = 1_000_000
SCORE_MAX: Final = 2**31 - 1
INT_MAX: Final = 2**63 - 1
WINDOW_S_MAX: Final = 3_650 * 86_400
BUCKETS_MAX: Final = 1_023  # of one counter, as the store has it
RULE_WINDOW_S_MAX: Final = BUCKETS_MAX * 86_400  # a rule on events has buckets of a day
HALF_LIVES: Final = 10  # the default window of a decaying rule, in half-lives
DAY_S: Final = 86_400
TEMPERATURE_MAX: Final = 1_000_000  # in units of a priority

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
NAME_TEXT: Final = "a name: a lower-case letter, then at most 63 of a-z, 0-9 and _"

# Words that CEL keeps for itself; a field of that name could not be read.
RESERVED: Final = frozenset(
    (
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if"),
        *("import", "in", "let", "loop", "namespace", "null", "package", "return", "true"),
        *("var", "void", "while"),
    )
)
