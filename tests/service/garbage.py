"""What only the garbage collector frees: of thousands a second it would stop the world."""

import gc
from collections.abc import Awaitable, Callable
from types import FrameType


async def frames_left_by(work: Callable[[], Awaitable[object]], folder: str) -> list[str]:
    """The functions of the files in `folder` whose frames are part of a cycle after this."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await work()
        gc.collect()
        frames = [one for one in gc.garbage if isinstance(one, FrameType)]
        return [frame.f_code.co_qualname for frame in frames if folder in frame.f_code.co_filename]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
