"""`python -m tests.triton REPOSITORY [flags]`: runs a real Triton in the foreground until Ctrl-C or SIGTERM."""

import argparse
import signal
import sys
from pathlib import Path

from tests.triton.install import NotAvailableError
from tests.triton.server import Ports, StartError, TritonServer, free_ports


def main() -> None:
    """Exit codes: 0 stopped, 1 could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.triton", description=__doc__, allow_abbrev=False)
    parser.add_argument("repository", type=Path, metavar="REPOSITORY")
    parser.add_argument("--http-port", type=int, default=0, metavar="N", help="[a free one]")
    parser.add_argument("--grpc-port", type=int, default=0, metavar="N", help="[a free one]")
    parser.add_argument("--metrics-port", type=int, default=0, metavar="N", help="[a free one]")
    known, flags = parser.parse_known_args()
    free = free_ports()
    ports = Ports(known.http_port or free.http, known.grpc_port or free.grpc, known.metrics_port or free.metrics)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with TritonServer(known.repository, *flags, ports=ports) as server:
            print(f"log: {server.log}\ngrpc: {server.grpc}\nmetrics: http://{server.metrics}/metrics")
            print(f"ready: http://{server.http}", flush=True)
            raise SystemExit(f"Triton ended with code {server.process.wait()}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    except (NotAvailableError, StartError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
