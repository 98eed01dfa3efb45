"""What the headers, or the last comment of a stream, say about an answer that was generated."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

from engines.generation import Usage
from service.api.explain import explain_generation
from service.api.headers import cached_headers, predicted_headers, routed_headers
from service.api.reply import Header
from service.generating import Generation
from service.types import Hints

_NO_TOKEN = re.compile(r"[^a-z0-9]+")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def head_of(hints: Hints) -> Callable[[Generation], list[Header]]:
    """What makes the headers of an answer: with the explanation where it is asked for."""
    return _explained_headers if hints.explain else generation_headers


def _explained_headers(generation: Generation) -> list[Header]:
    return [*generation_headers(generation), explain_generation(generation)]


def generation_headers(generation: Generation) -> list[Header]:
    """Model, engine, and milliseconds where they are known by now: in the queue, until the first token, a token.

    What is predicted, and comes true, is the time until the first token.
    """
    timing = generation.timing
    headers = [
        (b"x-model", f"{generation.model}:{generation.version}".encode()),
        (b"x-engine", generation.engine.encode()),
        *predicted_headers(timing.predicted, timing.first_token),
        *routed_headers(generation.routed),
        *cached_headers(generation.cached),
        *_metadata_headers(generation),
    ]
    if timing.first_token:
        headers += [
            (b"x-queue-ms", b"%.3f" % (timing.queue * 1000)),
            (b"x-ttft-ms", b"%.3f" % (timing.first_token * 1000)),
        ]
    if timing.per_token:
        headers.append((b"x-tpot-ms", b"%.3f" % (timing.per_token * 1000)))
    return headers


def _metadata_headers(generation: Generation) -> Iterator[Header]:
    """What a pipeline found out, as `x-batchyard-<key>`; what a header cannot hold is percent-encoded."""
    for key, value in generation.metadata.items():
        name = _NO_TOKEN.sub("-", key.lower()).strip("-")
        yield f"x-batchyard-{name}".encode(), quote(value, safe=_PRINTABLE).encode()


def timing_comment(generation: Generation, usage: Usage) -> str:
    """The same and the tokens of a complete answer, in one line."""
    timing = generation.timing
    return (
        f"queue_ms={timing.queue * 1000:.3f} ttft_ms={timing.first_token * 1000:.3f} "
        f"tpot_ms={timing.per_token * 1000:.3f} predicted_ms={timing.predicted.seconds * 1000:.3f} "
        f"predicted_p95_ms={timing.predicted.p95 * 1000:.3f} prompt_tokens={usage.prompt_tokens} "
        f"cached_tokens={usage.cached_tokens} completion_tokens={usage.completion_tokens}"
    )
