"""What differs from Triton on purpose. Each has its line in docs/compatibility.md, by the same words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Aspect = Literal["status", "text", "body", "order"]


@dataclass(frozen=True, slots=True)
class Difference:
    """`words`: how docs/compatibility.md says it. `names`: a regex for the exchanges it shows in. `aspects`: where;
    `paths`: a regex for the values of a body."""

    words: str
    names: str
    aspects: frozenset[Aspect]
    paths: str = ".*"

    def explains(self, name: str, aspect: Aspect, path: str = "") -> bool:
        """Is this why an exchange differs there?"""
        if aspect not in self.aspects or not re.fullmatch(self.names, name):
            return False
        return aspect != "body" or re.fullmatch(self.paths, path) is not None


def _difference(words: str, names: Sequence[str], *aspects: Aspect, paths: str = ".*") -> Difference:
    return Difference(words, "|".join(names), frozenset(aspects), paths)


_MODELS = "(simple|simple_int8|simple_string|ensemble_simple)"

DIFFERENCES: tuple[Difference, ...] = (
    _difference(
        "Malformed JSON and JSON values of a wrong kind are a 400 with our own words, where Triton answers 500, and"
        " sometimes 400, with those of its parser.",
        [
            r"body '.*'",
            "not utf-8",
            "deep",
            f"{_MODELS} (values of no list|negative shape|fractional shape|shape of no list|no shape|no name)",
            f"{_MODELS} (no datatype|null values)",
            "outputs (no name|no objects|no list|classes of text|binary of text)",
            "header length 205",
            "parameters [0-9]+",
            "parameters of no object",
            "(load with|trace|logging) garbage",
        ],
        "status",
        "text",
    ),
    _difference(
        "A number of values that does not fit the shape is a 400, where Triton answers 500.",
        [f"{_MODELS} (too few values|too many values|no values)"],
        "status",
    ),
    _difference(
        "Other faults of sizes, strings, shapes, headers and encodings are told in our own words.",
        [
            "simple_string (too few values|too many values|no values)",
            f"{_MODELS} twice a source",
            "header length (x|-1|343|99999999999999999999)",
            "strings (cut|huge length|one more)",
            "not gzip",
            "get nope/versions/x",
            "grpc unknown datatype (raw|typed)",
            "grpc strings cut",
            "grpc (negative|huge|zero rows) shape",
        ],
        "text",
    ),
    _difference(
        "A content encoding that is not served is a 400, where Triton answers 501.", ["unknown encoding"], "status"
    ),
    _difference(
        "What Triton overlooks is refused: nested values in flat data, an output asked for twice, raw contents that"
        " belong to no input, unknown trace and log settings.",
        [
            f"{_MODELS} mixed values",
            "outputs twice",
            "grpc one raw too many",
            "trace (unknown|bad level)",
            "logging unknown",
        ],
        "status",
        "text",
    ),
    _difference(
        "Outputs come in the order in which they are asked for over REST, in that of the configuration where none is;"
        " Triton's come as the model made them.",
        [r"\w+ \['OUTPUT1', 'OUTPUT0'\] binary (True|False)"],
        "order",
    ),
    _difference(
        "Answers of an ensemble carry the parameters sequence_id, sequence_start and sequence_end within a sequence"
        " only.",
        ["(grpc )?ensemble_simple .*"],
        "body",
        paths="/0/parameters.*",
    ),
    _difference(
        "ensemble_scheduling.max_inflight_requests is shown, as newer Tritons do, and is always 0.",
        ["get ensemble_simple(/versions/1)?/config"],
        "body",
        paths=".*/max_inflight_requests",
    ),
    _difference(
        "The extensions of shared memory are not listed.",
        ["get ", "grpc ServerMetadata"],
        "body",
        paths=".*/extensions/.*",
    ),
    _difference(
        "Client shared memory is refused, by design: callers and server need not share a machine, and it lets callers"
        " point at memory.",
        [
            f"{_MODELS} shared memory",
            "outputs shared memory",
            "shared memory register",
            "grpc shared memory (output|register)",
        ],
        "status",
        "text",
    ),
    _difference(
        "Statistics of a name or version that is not there are 404 (NOT_FOUND), where Triton answers 400.",
        ["get (nope|simple version 7)/stats", "grpc statistics '(nope|simple)' '.*'"],
        "status",
    ),
    _difference(
        "The words for that are those for unknown models everywhere, over REST.",
        ["get (nope|simple version 7)/stats"],
        "text",
    ),
    _difference(
        "A model that is not in the repository cannot be loaded or unloaded: 404, where Triton answers 500 and 200.",
        ["(grpc )?(un)?load nope"],
        "status",
    ),
    _difference("That it cannot be unloaded is told; Triton says nothing.", ["(grpc )?unload nope"], "text"),
    _difference(
        "A model that cannot be loaded is a 400 over REST, where Triton answers 500; what was loaded of it goes on.",
        ["load bad config", "load file alone"],
        "status",
    ),
    _difference(
        "A model that was unloaded keeps its metadata, is a 503 for those who ask it, and has a reason in the index;"
        " for Triton it is unknown.",
        ["unloaded (metadata|infer|index)"],
        "status",
        "text",
        "body",
    ),
    _difference(
        "A decoupled model asked by plain HTTP is a 400, where Triton answers 501; the words are those of gRPC.",
        ["decoupled"],
        "status",
        "text",
    ),
    _difference(
        "An exception in a Python model is told without the lines of its file, which are in the log.",
        ["(grpc )?fault -2"],
        "text",
    ),
    _difference(
        "Python models get no null requests for the empty slots of the direct strategy, so that their batches are"
        " smaller.",
        ["(grpc )?statistics( of simple_sequence( version 1)?)?"],
        "body",
        paths=".*/(accumulate|simple_sequence):1/batch_stats/.*",
    ),
    _difference(
        "Samples of model_warmup are not counted in the statistics; Triton counts those of Python models.",
        ["statistics"],
        "body",
        paths=".*/identity_reshape:1/.*",
    ),
)
