"""Runs the comparison of the log's backends with bare SQLite and bare Redis."""

from .log import main

raise SystemExit(main())
