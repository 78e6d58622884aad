"""Lists: `limit` and `before`, and a Link to the next page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec

from corral.web.call import Call

T = TypeVar("T")

MOST = 1000

#: More than the most is not an error: it is the most.
Limit = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """How much of a list, and from where on."""

    limit: Limit = MOST
    before: Id | None = None  #: an id: what comes after it in the list, without it

    @property
    def size(self) -> int:
        """How many are answered at most."""
        return min(self.limit, MOST)


def cut(call: Call, found: Sequence[T], page: Page, ids: Sequence[str], **filters: object) -> Sequence[T]:
    """Return what fits on the page of `found`, which was asked for one more, and link to the rest."""
    if len(found) <= page.size:
        return found
    call.link_next(**filters, limit=page.size, before=ids[page.size - 1])
    return found[: page.size]
