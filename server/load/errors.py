"""What stops a load, and what refuses one row of it."""


class LoadError(Exception):
    """The load cannot go on: the file cannot be read, or the server cannot be reached."""


class NoServerError(LoadError):
    """The server does not answer."""


class MappingError(LoadError):
    """The mapping file is wrong; `faults` has every fault as `file:line:column: what`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RefusedError(Exception):
    """One row cannot be turned into a request; the text is `column: what, allowed`.

    It does not quote what the row holds: reasons are printed and counted, and the row itself is in
    the rejects file.
    """

    def __init__(self, column: str, seen: object, allowed: str) -> None:
        what = f"{len(seen)} characters" if isinstance(seen, str) else type(seen).__name__
        super().__init__(f"{column}: {what}, allowed: {allowed}")
