"""Runs the micro benchmark."""

from .run import main

raise SystemExit(main())
