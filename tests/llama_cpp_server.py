"""llama.cpp's own HTTP server with a GGUF file, run as a process of its own; prints its URL."""

import sys

import xllamacpp


def main(path: str) -> None:
    """Serves until standard input ends."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {"smol"}
    params.n_ctx = 2048
    params.n_parallel = 2
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.warmup = False
    params.port = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
