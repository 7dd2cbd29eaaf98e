"""The example playbooks and what belongs to them: how their points were derived, how they score."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LEADS = FOLDER / "leads"
FIRST = FOLDER / "first"
SHOP = FOLDER / "shop"
TESTED = FOLDER / "tested"
POLITE = FOLDER / "polite"
CONSENT = FOLDER / "consent"
CROSSED = FOLDER / "crossed"
THRIFTY = FOLDER / "thrifty"
MAPPINGS = FOLDER / "mappings"
