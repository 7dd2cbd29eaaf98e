"""Top: what nodes do between two looks at their metrics, for `nextbest top`."""
