"""What calls cost: one bill a call, on which its steps in other models add up."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from service.access.account import Account
from service.access.accounts import Accounts
from service.access.billed import BilledGeneration, BilledResponses, Spending
from service.generating import GenerateRequest, Generation
from service.together import together
from service.types import Bill, InferRequest, InferResponse, Responses

Infer = Callable[[InferRequest], Awaitable[InferResponse]]
Stream = Callable[[InferRequest], Awaitable[Responses]]
Generate = Callable[[GenerateRequest], Awaitable[Generation]]


class _Step(Spending):
    """A step of another call, on whose bill it is."""

    def __init__(self, above: Bill) -> None:
        super().__init__()
        self._above = above

    def settle(self) -> None:
        self._above.engine_seconds += self.bill.engine_seconds


class _Visit(Spending):
    """A call of a tenant. Its tokens are those that its answer tells: what its steps read is not counted again."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account

    def settle(self) -> None:
        self._account.leave(self.bill.tokens, self.bill.engine_seconds)


class Billing:
    """Admits each call once and has it paid, whatever becomes of it. Calls of nobody, questions of Python models, go
    through: their time is in that of the model that asks."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def infer(self, request: InferRequest, infer: Infer) -> InferResponse:
        """Has it answered by `infer`. Raises `BatchyardError`."""
        spending = await self._open(request)
        if spending is None:
            return await infer(request)
        try:
            response = await infer(request)
            spending.answered(response)
            return response
        finally:
            spending.end()

    async def infer_all(self, requests: Sequence[InferRequest], infer: Infer) -> Sequence[InferResponse]:
        """The same for the parts of one call, which is admitted once; each part is a step of it."""
        first = requests[0]
        spending = await self._open(first)
        for part in requests[1:]:
            part.hints, part.priority = first.hints, first.priority
        work = together(self.infer(part, infer) for part in requests)
        if spending is None:
            return await work
        try:
            responses = await work
            spending.bill.tokens = sum([response.tokens for response in responses])
            return responses
        finally:
            spending.end()

    async def stream(self, request: InferRequest, stream: Stream) -> Responses:
        """The same for any number of answers."""
        spending = await self._open(request)
        if spending is None:
            return await stream(request)
        try:
            return BilledResponses(await stream(request), spending)
        except BaseException:
            spending.end()
            raise

    async def generate(self, request: GenerateRequest, generate: Generate) -> Generation:
        """The same for generated text."""
        hints, account = request.hints, self._account(request)
        if hints.bill is not None:
            spending: Spending = _Step(hints.bill)
            request = replace(request, hints=replace(hints, bill=spending.bill))
        elif account is None:
            return await generate(request)
        else:
            await account.enter(request.model)
            spending = _Visit(account)
            priority = account.priority(request.priority)
            request = replace(request, hints=account.hints(hints, spending.bill), priority=priority)
        try:
            return BilledGeneration(await generate(request), spending)
        except BaseException:
            spending.end()
            raise

    async def _open(self, request: InferRequest) -> Spending | None:
        """Admits a request, and changes what the tenant may not have as it is; None where nobody pays."""
        hints, account = request.hints, self._account(request)
        if hints.bill is not None:
            step = _Step(hints.bill)
            request.hints = replace(hints, bill=step.bill)
            return step
        if account is None:
            return None
        await account.enter(request.model)
        visit = _Visit(account)
        request.hints = account.hints(hints, visit.bill)
        request.priority = account.priority(request.priority)
        return visit

    def _account(self, request: InferRequest | GenerateRequest) -> Account | None:
        return self._accounts.named(request.hints.tenant.name)
