"""A quarter of a real shop as live traffic: caps, quiet hours, budgets, an experiment, recorded.

    python -m bench.retail [--file CSV] [--first DAY] [--last DAY] [--json]

Reads the invoices of Online Retail (UCI; ../shared/data/online_retail), and asks a server for each
of them, in their order and at their moment: what to show at the checkout, and what to write in the
mail that confirms the order.  What is shown is tracked as an impression, what is bought as an
outcome.  Then every record is decided again and compared, and the caps, quiet hours and budgets are
checked against what was shown, by a count of its own.  Ends with 1 where anything differs or a
limit was passed.

Not shown: concurrency, since invoices come one after another; and calendar budgets, since those go
by the server's own clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import gzip
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import track as progress

from bench.log.serving import serving
from nextbest.client import AsyncClient
from nextbest.core.errors import NextbestError
from nextbest.server.command.console import table
from nextbest.server.examples.data_sets import RETAIL
from nextbest.server.record.files import Files
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.v1 import common_pb2, decision_pb2

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT.parent / "shared/data/online_retail/online_retail_share_2010-12_to_2011-05.csv.gz"
ZONE = ZoneInfo("Europe/London")
MAILS_MAX, MAILS_WITHIN = 2, timedelta(days=7)
EACH_MAX, EACH_WITHIN = 3, timedelta(days=30)
QUIET_FROM, QUIET_TO = 18, 9  # hours of the shop's own clock
REBATES_MAX = 200  # over all customers
POSTAGE_MAX, POSTAGE = 40.0, 0.05  # pounds for all mails, and for one
LINES_MAX = 200  # of one invoice that are tracked
PLACEMENTS = {"checkout": "web", "confirmation": "email"}

PLAYBOOK = {
    "schema.yaml": """
attributes: {country: string}
events:
  purchase: {product: string, quantity: int, amount: double}
  impression: {action: string, group: string, channel: string}
counters:
  spend_30d: {sum: purchase.amount, window: 30d}
  lines_90d: {count: purchase, window: 90d}
  products: {distinct: purchase.product, window: all, limit: 200}
""",
    "segments.yaml": """
segments:
  new: profile.lines_90d == 0
  loyal: profile.spend_30d > 500
""",
    "experiments.yaml": """
holdouts: {control_group: {share: 5%, of: actions}}
experiments:
  rebate: {variants: {none: 0.5, five: 0.5}, audience: segment.loyal}
""",
    "actions.yaml": """
actions:
  welcome: {group: service, eligibility: segment.new, value: 4}
  rebate: {group: discount, eligibility: experiment.rebate == "five", value: 6}
  club: {group: club, suitability: segment.loyal, value: 5}
  gift_wrap: {group: service, value: 2}
  catalogue: {group: content, value: 1.5}
  thanks: {group: content, value: 0.1}
""",
    "placements.yaml": """
placements:
  checkout: {slots: 1, channel: web, exploration: {epsilon_greedy: 0.1}, fallback: thanks}
  confirmation: {slots: 1, channel: email, exploration: {softmax: {temperature: 2.0}}}
""",
    "contact.yaml": f"""
channels: [web, email]
time_zone: {{default: Europe/London}}
caps:
  mails: {{count: impression, of: {{channel: email}}, max: {MAILS_MAX}, window: 7d}}
  each: {{count: impression, of: action, max: {EACH_MAX}, window: 30d}}
budgets:
  rebates: {{of: {{group: discount}}, max: {REBATES_MAX}, per: all}}
  postage: {{of: {{channel: email}}, spend: {{max: {POSTAGE_MAX}, cost: {POSTAGE}}}, per: all}}
quiet_hours:
  evenings: {{channels: [email], from: "{QUIET_FROM}:00", to: "0{QUIET_TO}:00"}}
""",
}


@dataclass(slots=True)
class Invoice:
    """What one customer bought at a moment; cancellations are none."""

    number: str
    customer: str  # empty: bought without an account
    at: datetime
    lines: list[tuple[str, int, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shown:
    """One impression."""

    customer: str
    at: datetime
    action: str
    channel: str


def invoices(file: Path, first: date, last: date) -> list[Invoice]:
    """The invoices of some days, in the order of their time."""
    found: dict[str, Invoice] = {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            at = datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=ZONE)
            quantity = int(row["Quantity"])
            if quantity <= 0 or not first <= at.date() <= last:
                continue
            customer = row["CustomerID"].partition(".")[0]
            one = found.setdefault(row["InvoiceNo"], Invoice(row["InvoiceNo"], customer, at))
            if len(one.lines) < LINES_MAX:
                one.lines.append((row["StockCode"], quantity, quantity * float(row["UnitPrice"])))
    return sorted(found.values(), key=lambda one: (one.at, one.number))


async def sell(client: AsyncClient, invoice: Invoice) -> list[Shown]:
    """Ask what to show, tell that it was shown, and what was bought."""
    who = invoice.customer or invoice.number
    kind = common_pb2.IDENTITY_KIND_KNOWN if invoice.customer else None
    identity = common_pb2.Identity(kind=kind or common_pb2.IDENTITY_KIND_ANONYMOUS, id=who)
    decision = f"invoice-{invoice.number}"
    answer = await client.decide(
        identity, list(PLACEMENTS), now=invoice.at, decision_id=decision, seed=1
    )
    shown = []
    for part in answer.placements:
        for one in part.propositions:
            channel = PLACEMENTS[part.placement]
            about = {"action": one.action, "group": one.group, "channel": channel}
            name = f"{decision}-{part.placement}"
            await client.track(
                identity, "impression", about, occurred_at=invoice.at, event_id=name,
                decision_id=decision, slot=one.slot,
            )  # fmt: skip
            shown.append(Shown(who, invoice.at, one.action, channel))
    for number, (product, quantity, amount) in enumerate(invoice.lines):
        bought = {"product": product, "quantity": quantity, "amount": amount}
        await client.track(
            identity, "purchase", bought, occurred_at=invoice.at,
            event_id=f"{decision}-{number}", decision_id=decision,
        )  # fmt: skip
    return shown


async def trade(address: str, sold: Sequence[Invoice], told: Console) -> list[Shown]:
    """All invoices, one after another."""
    found: list[Shown] = []
    async with AsyncClient(address) as client:
        for invoice in progress(sold, "invoices", console=told, transient=True):
            found += await sell(client, invoice)
    return found


def passed(shown: Sequence[Shown]) -> list[str]:
    """The limits that were passed, by a count of its own."""
    found = []
    for name, key, most, within in (
        ("cap mails", lambda one: one.customer if one.channel == "email" else None, MAILS_MAX,
         MAILS_WITHIN),
        ("cap each", lambda one: (one.customer, one.action), EACH_MAX, EACH_WITHIN),
    ):  # fmt: skip
        times: dict[object, list[datetime]] = defaultdict(list)
        for one in shown:
            if (who := key(one)) is None:
                continue
            recent = [at for at in times[who] if at > one.at - within]
            times[who] = [*recent, one.at]
            if len(times[who]) > most:
                found.append(f"{name}: {len(times[who])} of {most} for {who} at {one.at}")
    for name, count, most in (
        ("budget rebates", sum(one.action == "rebate" for one in shown), REBATES_MAX),
        ("budget postage", sum(one.channel == "email" for one in shown), POSTAGE_MAX / POSTAGE),
    ):
        if count > most:
            found.append(f"{name}: {count} of {most:g}")
    for one in shown:
        hour = one.at.astimezone(ZONE).hour
        if one.channel == "email" and (hour >= QUIET_FROM or hour < QUIET_TO):
            found.append(f"quiet hours: {one.customer} at {one.at}")
    return found


def kept_back(files: Files, playbooks: Playbooks) -> Counter[str]:
    """Why candidates were not proposed, from deciding again with explanations."""
    found: Counter[str] = Counter()
    for frame in files.decisions():
        with contextlib.suppress(NextbestError):
            answer, _ = playbooks.engine(frame.record.playbook).replay(frame.data, explain=True)
            for part in decision_pb2.DecideResponse.FromString(answer).explanations:
                for one in part.candidates:
                    fate = decision_pb2.Fate.Name(one.fate).removeprefix("FATE_").lower()
                    found[one.condition or fate] += 1
    return found


def measure(file: Path, first: date, last: date, told: Console) -> dict[str, object]:
    """Trade, decide again, check."""
    sold = invoices(file, first, last)
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records"
        arguments = ["--set", "records.share=1", "--set", f"records.folder={records}"]
        with serving(Path(folder), *arguments, files=PLAYBOOK):
            shown = asyncio.run(trade(f"unix:{folder}/control", sold, told))
        files, playbooks = Files(records), Playbooks(records, {})
        results = list(replay(files.decisions(), playbooks))
        reasons = kept_back(Files(records), playbooks)
    return {
        "invoices": len(sold),
        "lines": sum(len(one.lines) for one in sold),
        "customers": len({one.customer for one in sold if one.customer}),
        "impressions": Counter(f"{one.channel}: {one.action}" for one in shown),
        "reasons": reasons,
        "decisions": len(results),
        "different": [one.told for one in results if not one.equal],
        "passed": passed(shown),
    }


def show(found: dict[str, object], out: Console) -> None:
    """For people."""
    out.print(
        f"{found['invoices']:,} invoices of {found['customers']:,} customers, "
        f"{found['lines']:,} lines"
    )
    for name in ("impressions", "reasons"):
        counts = found[name]
        assert isinstance(counts, Counter)
        rows = [(what, f"{count:,}") for what, count in counts.most_common()]
        out.print(table(name, (name[:-1], "count#"), rows))
    different, over = found["different"], found["passed"]
    assert isinstance(different, list) and isinstance(over, list)  # noqa: PT018
    out.print(
        f"{found['decisions']:,} recorded decisions made again: {len(different):,} different; "
        f"limits passed: {len(over):,}"
    )
    for line in (*different[:5], *over[:5]):
        out.print(line, style="red")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.retail", description=__doc__)
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--first", type=date.fromisoformat, default=date(2011, 3, 1))
    parser.add_argument("--last", type=date.fromisoformat, default=date(2011, 5, 31))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        RETAIL.require(options.file)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = measure(options.file, options.first, options.last, Console(stderr=True))
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        show(found, Console(width=None if sys.stdout.isatty() else 100))
    return 1 if found["different"] or found["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
