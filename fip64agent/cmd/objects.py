# SPDX-License-Identifier: Apache-2.0
"""`fip64ctl <kind> list` and `fip64ctl <kind> show`, as the listing of the kind has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fip64agent.admin.listing import Listing
from fip64agent.cmd.asking import Asking, Record, Table

_STATES = ("active", "pending", "error", "down")
"""As admin.state has them, which takes too long to import here."""


class _List(Table):
    listing: Listing

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        if self.listing.by_state:
            parser.add_argument("--state", choices=_STATES, help=f"only {self.listing.titles} in this state")
        return parser

    def rows(self, parsed_args):
        wanted = getattr(parsed_args, "state", None)
        return [row for row in self.ask(self.listing.path) if wanted in (None, row["state"])]


class _Show(Record):
    listing: Listing

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        details = self.listing.details
        parser.add_argument("object", metavar=details.metavar,
                            help=f"{' or '.join(details.known_by)} of the {self.listing.title}")
        return parser

    def take_action(self, parsed_args):
        return self.shown(self.ask(self.listing.path, parsed_args.object))


def commands(listings: Iterable[Listing]) -> Iterator[tuple[str, type[Asking]]]:
    """Yield (name, class) of the commands that show the objects of these listings."""
    for listing in listings:
        if listing.path:
            yield f"{listing.kind} list", _command(_List, listing, listing.help, {
                "columns": listing.columns, "short": listing.short, "table": listing.table,
                "below": listing.below, "titles": (listing.title, listing.titles)})
        if listing.path and listing.details:
            yield f"{listing.kind} show", _command(_Show, listing, listing.details.help, {
                "completed_from": f"{listing.kind} list -f value -c {listing.details.completed_from}"})


def _command(base: type[Asking], listing: Listing, text: str,
             attributes: dict[str, str | Sequence[str]]) -> type:
    """Return a class of its own, as cliff takes a command's description from its class."""
    return type(f"{listing.kind}{base.__name__}", (base,),
                {"listing": listing, "__doc__": text, "__module__": __name__, **attributes})
