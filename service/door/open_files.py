"""Connections are files to the system, which gives a process few of them by default."""

import resource

_OTHERS = 1024
"""Files that are no connections of callers: models, engines' processes, connections to other servers."""


def room_for(connections: int) -> int:
    """Raises the process's own bound where it may; gives how many of `connections` there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    return min(connections, max(granted - _OTHERS, granted // 2))
