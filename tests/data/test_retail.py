"""Half a year of invoice lines: every customer's counters equal a reference in SQL."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from nextbest.client import Client
from nextbest.server.command.child import Child
from nextbest.v1 import common_pb2, profile_pb2

FILE = "online_retail/online_retail_share_2010-12_to_2011-05.csv.gz"
LINES = 209_029
# Not on any edge of a bucket, so that the windows' edges count; the last is after all lines.
AS_OF = (
    datetime(2011, 1, 14, 13, 37, tzinfo=UTC),
    datetime(2011, 3, 21, 9, 41, tzinfo=UTC),
    datetime(2011, 5, 31, 19, 13, tzinfo=UTC),
)
DAY_S, QUARTER_S = 86_400, 21_600

LINES_SQL = """
create table lines as
select row_number() over () as row, InvoiceNo as invoice, StockCode as product,
    strptime(InvoiceDate, '%Y-%m-%d %H:%M:%S') as at,
    cast(Quantity as bigint) as quantity,
    cast(Quantity as decimal(18, 0)) * cast(UnitPrice as decimal(18, 3)) as amount,
    cast(cast(CustomerID as double) as bigint)::varchar as customer
from read_csv(?, header = true, all_varchar = true)
"""
CUSTOMERS_SQL = """
select customer,
    sum(amount), coalesce(sum(amount) filter (at >= $d30), 0),
    coalesce(sum(amount) filter (at >= $d7), 0),
    count(distinct invoice), count(distinct invoice) filter (at >= $d30),
    count(distinct product), count(*), count(*) filter (at >= $d30), sum(quantity), max(at),
    (list(product order by at desc, row desc))[1:5]
from lines where at <= $now and customer is not null group by customer
"""


def floor(moment: datetime, resolution_s: int) -> datetime:
    """The start of a window's first bucket, as the README states it."""
    seconds = int(moment.timestamp()) // resolution_s * resolution_s
    return datetime.fromtimestamp(seconds, UTC)


@pytest.fixture(scope="module")
def lines(data_file: Callable[[str], Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(LINES_SQL, [str(data_file(FILE))])
        yield connection


def reference(lines: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, tuple[Any, ...]]:
    given = {
        "now": now.replace(tzinfo=None),
        "d30": floor(now - timedelta(days=30), DAY_S).replace(tzinfo=None),
        "d7": floor(now - timedelta(days=7), QUARTER_S).replace(tzinfo=None),
    }
    rows = lines.execute(CUSTOMERS_SQL, given).fetchall()
    return {row[0]: (*map(micro, row[1:4]), *row[4:10], row[10], tuple(row[11])) for row in rows}


def micro(amount: Any) -> int:
    return round(amount * 1_000_000)


def served(client: Client, now: datetime) -> dict[str, tuple[Any, ...]]:
    found = {}
    for part in client.query_profiles("true", limit=1_000_000, now=now, profiles=True):
        for profile in part.profiles:
            identity = profile.identities[0]
            if identity.kind == common_pb2.IDENTITY_KIND_KNOWN:
                found[identity.id] = counters(profile)
    return found


def counters(profile: profile_pb2.Profile) -> tuple[Any, ...]:
    one = profile.counters
    assert not any(counter.approximate for counter in one.values())
    spends = [micro(one[name].value.double_value) for name in ("spend", "spend_30d", "spend_7d")]
    names = ("orders", "orders_30d", "products", "lines", "lines_30d", "items")
    last = one["last_purchase"].value.timestamp_value.ToDatetime()
    products = tuple(value.string_value for value in one["last_products"].values)
    # The microseconds keep the order of lines of one minute; the file has none.
    whole = last.replace(microsecond=0)
    return *spends, *(one[name].value.int_value for name in names), whole, products


def test_every_customer_equals_the_reference_at_three_dates(
    lines: duckdb.DuckDBPyConnection,
    data_file: Callable[[str], Path],
    load_file: Callable[..., Any],
    here: Path,
    tmp_path: Path,
) -> None:
    folder = here / "online_retail"
    accepted, first = 0, 1
    # Orders of 2010 by people without an account would be forgotten after 30 days.
    settings = {"RETENTION_ANONYMOUS_DAYS": "0"}
    with Child(folder / "playbook", settings) as child, Client(child.address) as client:
        for now in AS_OF:
            (last,) = lines.execute(
                "select max(row) from lines where at <= ?", [now.replace(tzinfo=None)]
            ).fetchone() or (0,)
            summary = load_file(
                data_file(FILE),
                folder / "mapping.yaml",
                child.address,
                tmp_path / "rejects",
                first_row=first,
                last_row=last,
            )
            accepted, first = accepted + summary.accepted, last + 1
            assert (summary.refused, summary.repeated) == (0, 0)
            wanted = reference(lines, now)
            got = served(client, now)
            assert len(got) == len(wanted)
            assert not [one for one in wanted if got[one] != wanted[one]]
        again = load_file(
            data_file(FILE), folder / "mapping.yaml", child.address, tmp_path / "again",
            first_row=LINES - 3_000, last_row=0,
        )  # fmt: skip
        assert again.repeated == again.accepted == again.rows == 3_001
        assert served(client, AS_OF[-1]) == got
    assert accepted == LINES
