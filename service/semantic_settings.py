"""The tables `semantic` of gateway.toml, as they are written."""

from pydantic import BaseModel, ConfigDict, Field


class SemanticSettings(BaseModel):
    """A model, route or pipeline whose chats may be answered by what was said to a question that means the same.

    `encoder`: a model or route with an input `text` and an output `embedding`; `classifier`: one with the outputs
    `label` and `confidence`. `threshold`: cosine of two questions from which they may be the same. `least_confidence`:
    of the classifier, below which a question is like no other. `sample`: share of such answers that is checked by
    answering anew. `alike`: cosine of two answers from which they agree. `floor`: share of checks that must agree, once
    there are `least_samples`. `ttl_seconds`: how old an answer may be. `entries`: questions that are remembered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field(min_length=1)
    classifier: str = Field(min_length=1)
    threshold: float = Field(0.9, gt=0, le=1)
    least_confidence: float = Field(0.4, ge=0, le=1)
    sample: float = Field(0.05, ge=0, le=1)
    alike: float = Field(0.8, ge=0, le=1)
    floor: float = Field(0.9, ge=0, le=1)
    least_samples: int = Field(20, gt=0)
    ttl_seconds: int = Field(3600, gt=0)
    entries: int = Field(4096, gt=0, le=65_536)
