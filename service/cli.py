"""The command `batchyard`: serve models, build models."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NoReturn, get_args, get_origin

from service.errors import BatchyardError
from service.settings import (
    CONFIG_VARIABLE,
    ENV_PREFIX,
    InvalidSettingsError,
    Settings,
    flag_of,
    load_settings,
    nearest,
)

TOP = """\
Batchyard serves many models behind one HTTP gateway: Open Inference Protocol v2 and OpenAI embeddings,
dynamic batching without padding, any of several engines behind one name.

examples:
  batchyard build                    make the model files of ./model_repository (once, a minute or two)
  batchyard serve                    serve them on http://127.0.0.1:8000; the last line says "ready"
  batchyard serve --help             every setting, its default and its environment variable
  batchyard build --from ./my-encoder --name my_encoder
                                     add any Hugging Face encoder folder as a model
"""

SERVE = """\
Where a setting comes from, the first that has it wins:
  1. the command line      --port 9000
  2. the environment       BATCHYARD_PORT=9000
  3. a file                port = 9000 in ./gateway.toml, or in the file that --config or BATCHYARD_CONFIG names
  4. its default
Lists are written a,b on the command line and in the environment, ["a", "b"] in the file.

examples:
  batchyard serve --port 0 --models minilm_onnx,intent
  batchyard serve --routes '{"minilm": {"variants": ["minilm_onnx", "minilm_torch"], "policy": "fastest"}}'
  BATCHYARD_LOG_LEVEL=debug batchyard serve

SIGTERM and SIGINT stop it gracefully: running requests are answered, the exit code is 0.
"""

BUILD = """\
Writes the models' files under ./model_repository; what is there already and unchanged is left alone.
The weights come from installed packages or from your folder, nothing is fetched from a model hub.

examples:
  batchyard build                                        all shipped models
  batchyard build minilm_onnx intent                     only these
  batchyard build --from ./my-encoder --name my_encoder  your own encoder (config.json, *.safetensors, tokenizer.json)
"""


class _Parser(argparse.ArgumentParser):
    """Options in full only, one line an error."""

    def __init__(self, **options: object) -> None:
        formatter = partial(argparse.RawDescriptionHelpFormatter, max_help_position=32)
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        _fail(f"{message}; see {self.prog} --help", 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 wrong arguments or settings."""
    parser = command_line()
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unknown argument {unknown[0]!r}; {nearest(unknown[0], known.options)}")
    known.run(known)


def command_line() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands."""
    parser = _Parser(prog="batchyard", description=TOP)
    parser.add_argument("--version", action="version", version=f"batchyard {version('batchyard')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="serve the models over HTTP", epilog=SERVE)
    serve.set_defaults(run=_serve, options=[flag_of(name) for name in ("config", *Settings.model_fields)])
    serve.add_argument("--config", type=Path, metavar="FILE", help=f"settings file [{CONFIG_VARIABLE}]")
    for name in Settings.model_fields:
        _add_setting(serve, name)
    build = commands.add_parser("build", help="make the model files", epilog=BUILD)
    build.set_defaults(run=_build, options=["--from", "--name", "--engines", "--model-repository"])
    build.add_argument("names", nargs="*", metavar="NAME", help="models to build; none named: all that are shipped")
    build.add_argument("--from", dest="source", type=Path, metavar="DIR", help="a Hugging Face encoder folder")
    build.add_argument("--name", help="what to call it: models NAME_onnx, NAME_openvino ...")
    build.add_argument("--engines", default="", metavar="A,B", help="of onnxruntime, openvino, pytorch, pytorch_int8")
    build.add_argument("--model-repository", type=Path, metavar="DIR", help="where to [that of the settings]")
    return parser


def _add_setting(parser: argparse.ArgumentParser, name: str) -> None:
    field = Settings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    shown = ",".join(map(str, default)) if isinstance(default, list) else default
    source = f"[{ENV_PREFIX}{name.upper()}, default: {'none' if default in ([], {}) else shown}]"
    parser.add_argument(
        flag_of(name),
        dest=name,
        default=argparse.SUPPRESS,
        metavar=_metavar(field.annotation),
        help=f"{field.description} {source}".replace("%", "%%"),
    )


def _metavar(annotation: object) -> str:
    if annotation is int:
        return "N"
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return {list: "A,B", dict: "JSON"}.get(get_origin(annotation), "TEXT")  # type: ignore[arg-type]


def _serve(arguments: argparse.Namespace) -> None:
    flags = {name: value for name, value in vars(arguments).items() if name in Settings.model_fields}
    settings = _settings(flags, arguments.config)
    from service import app, server

    try:
        server.serve(settings, app.create_app)
    except (server.CannotStartError, BatchyardError) as error:
        _fail(str(error), 1)


def _build(arguments: argparse.Namespace) -> None:
    if (arguments.source is None) != (arguments.name is None):
        _fail("--from and --name belong together: --from ./my-encoder --name my_encoder", 2)
    if arguments.source and arguments.names:
        _fail(f"--from builds one encoder, found also {arguments.names[0]!r}; name it with --name", 2)
    repository = arguments.model_repository or _settings({}).model_repository[0]
    from rich.console import Console

    from engines.build import flow
    from engines.errors import EngineError

    console = Console()
    try:
        if arguments.source:
            engines = [name.strip() for name in arguments.engines.split(",") if name.strip()]
            flow.build_encoder(arguments.source, arguments.name, engines, repository, console)
        else:
            flow.build_shipped(arguments.names, repository, console)
    except EngineError as error:
        _fail(str(error), 1)


def _settings(flags: Mapping[str, object], config: Path | None = None) -> Settings:
    try:
        return load_settings(flags, config)
    except InvalidSettingsError as error:
        _fail(str(error), 2)


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(f"batchyard: {line}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
