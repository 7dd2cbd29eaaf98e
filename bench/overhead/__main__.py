"""Runs the comparison with a bare servicer."""

from .overhead import main

raise SystemExit(main())
