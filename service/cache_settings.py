"""The tables `cache` and `redis` of gateway.toml, as they are written."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class CacheSettings(BaseModel):
    """What the cache may hold. Which models and routes it answers for is said there.

    `memory_mb`: MiB of answers in this process. `ttl_seconds`: how long an answer counts. `largest_mb`: no answer above
    it is stored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_mb: int = Field(64, gt=0)
    ttl_seconds: int = Field(3600, gt=0)
    largest_mb: int = Field(4, gt=0)


class RedisSettings(BaseModel):
    """A Redis that several gateways share, for answers and for what tenants have used.

    `url`: redis://, rediss:// (TLS) or unix://; "" uses none. `password`: where the url shall not hold it. `required`:
    refuse to start where it cannot be reached. `timeout_ms`: what a request loses to it at most. `prefix`: of all keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field("", pattern="^$|^(redis|rediss|unix)://")
    password: SecretStr = SecretStr("")
    required: bool = False
    timeout_ms: int = Field(5, gt=0)
    prefix: str = Field("batchyard", pattern="^[A-Za-z0-9_.-]{1,64}$")


DEFAULT_CACHE = CacheSettings.model_validate({})
DEFAULT_REDIS = RedisSettings.model_validate({})
