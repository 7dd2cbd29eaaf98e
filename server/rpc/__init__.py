"""The RPC edge: bytes in, one engine call, bytes out; errors become statuses in one place."""
