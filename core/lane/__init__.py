"""The native lane; see README.md.  The compiled part is `nextbest.core.lane_native`."""
