"""Waiting tickets of several tenants: of each the earliest due goes first, between them who had least by weight."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace

from service.batching.ticket import Ticket
from service.batching.waitlist import Waitlist
from service.fair import VirtualTime
from service.types import ANYONE, Tenant


@dataclass(slots=True)
class Flow(Waitlist):
    """What one tenant has waiting."""

    tenant: Tenant = ANYONE


@dataclass(slots=True)
class FairQueue:
    """`flows`: of those that have something waiting, by name. Where that is one, all is as in its `Waitlist`.

    A batch is one piece of work, of which each that is in it pays its part: its start tag is that of its first ticket.
    """

    _time: VirtualTime = field(default_factory=VirtualTime)
    flows: dict[str, Flow] = field(default_factory=dict)
    _spare: Flow = field(default_factory=Flow)

    def __len__(self) -> int:
        """May be asked on any thread."""
        count = 0
        for flow in tuple(self.flows.values()):
            count += len(flow.tickets)
        return count

    @property
    def cost(self) -> int:
        """Of all tickets."""
        return sum([flow.cost for flow in self.flows.values()])

    @property
    def tickets(self) -> list[Ticket]:
        """All, in no order between tenants."""
        return [ticket for flow in self.flows.values() for ticket in flow.tickets]

    def held(self, tenant: Tenant) -> int:
        """Tickets that a tenant has waiting."""
        flow = self.flows.get(tenant.name)
        return len(flow.tickets) if flow else 0

    def add(self, ticket: Ticket) -> None:
        """Puts it where it is due among those of its tenant."""
        tenant = ticket.waiting.tenant
        flow = self.flows.get(tenant.name)
        if flow is None:
            flow = self.flows[tenant.name] = Flow(tenant=tenant) if self.flows else self._spare
            flow.tenant = tenant
        flow.add(ticket)

    def first(self) -> Ticket:
        """Whose turn it is; something must wait."""
        return self.in_turn(1)[0]

    def in_turn(self, most: int) -> Sequence[Ticket]:
        """The next tickets in the order of their start tags: at least `most` of them, or all there are."""
        if (lone := self._lone()) is not None:
            return lone.tickets
        flows = list(self.flows.values())
        order: list[Ticket] = []
        heap = [(self._time.start(flow.tenant), flow.tickets[0].due, number, 0) for number, flow in enumerate(flows)]
        heapify(heap)
        while heap and len(order) < most:
            start, _, number, place = heap[0]
            tickets = flows[number].tickets
            order.append(tickets[place])
            if place + 1 == len(tickets):
                heappop(heap)
                continue
            start += tickets[place].cost / flows[number].tenant.weight
            heapreplace(heap, (start, tickets[place + 1].due, number, place + 1))
        return order

    def ahead(self, tenant: Tenant, due: float) -> tuple[float, float]:
        """Cost that is taken before a newcomer of this tenant due then, and that which may ride with it besides.

        Its tenant's own that is due before; and of each of the others what begins before the newcomer's start tag.
        """
        if not self.flows:
            return 0, 0
        mine = self.flows.get(tenant.name)
        own = mine.cost_before(due) if mine else 0
        if mine and len(self.flows) == 1:
            return own, 0
        start = self._time.start(tenant) + own / tenant.weight
        ahead = along = 0.0
        for flow in self.flows.values():
            if flow is not mine:
                sooner = max(0.0, start - self._time.start(flow.tenant)) * flow.tenant.weight
                ahead += min(flow.cost, sooner)
                along += max(0.0, flow.cost - sooner)
        return own + ahead, along

    def remove(self, tickets: Collection[Ticket]) -> None:
        """Takes out those of these that are in it; their tenants pay for them."""
        if (lone := self._lone()) is not None:
            self._remove_of(lone, tickets)
            return
        parts: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            parts.setdefault(ticket.waiting.tenant.name, []).append(ticket)
        flows = [self.flows[name] for name in parts if name in self.flows]
        if flows:
            self._time.begin(min([self._time.start(flow.tenant) for flow in flows]))
        for flow in flows:
            before = flow.cost
            flow.remove(parts[flow.tenant.name])
            self._time.charge(flow.tenant, before - flow.cost)
        self.tidy()

    def _remove_of(self, lone: Flow, tickets: Collection[Ticket]) -> None:
        before = lone.cost
        lone.remove(tickets)
        if lone.tickets:
            self._time.begin(self._time.start(lone.tenant))
            self._time.charge(lone.tenant, before - lone.cost)
        else:
            self.flows = {}
            self._time.reset()

    def _lone(self) -> Flow | None:
        """That of the only tenant that has something waiting."""
        if len(self.flows) == 1:
            for flow in self.flows.values():
                return flow
        return None

    def drop_gone(self) -> None:
        """Drops those that nobody waits for."""
        for flow in self.flows.values():
            flow.drop_gone()
        self.tidy()

    def clear(self) -> list[Ticket]:
        """Empties it; returns what waited."""
        tickets = [ticket for flow in self.flows.values() for ticket in flow.clear()]
        self.tidy()
        return tickets

    def tidy(self) -> None:
        """After tickets were taken out of flows."""
        for flow in self.flows.values():
            if not flow.tickets:
                break
        else:
            return
        self.flows = {name: flow for name, flow in self.flows.items() if flow.tickets}
        if not self.flows:
            self._time.reset()
