"""Runs the benchmark of the log."""

from .run import main

raise SystemExit(main())
