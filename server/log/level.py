"""Levels: when a write is answered, as of the contract's AckLevel."""

from __future__ import annotations

APPLIED, LOGGED, REPLICATED = 1, 2, 3
# By the words of settings.
LEVELS = {"applied": APPLIED, "logged": LOGGED, "replicated": REPLICATED}
