"""The command `batchyard`: serve models, build models."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel

from service.errors import BatchyardError
from service.key_command import HELP, told_key
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
  batchyard build my_encoder --from ./my-encoder
                                     add any Hugging Face encoder folder as a model
  batchyard report minilm            accuracy, speed and size of a family's models
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

SIGTERM stops it gracefully: it is not ready any more but takes requests for --drain-seconds, until load balancers have
noticed; what is in hand then is answered within --shutdown-grace-seconds; the exit code is 0. SIGINT, or a second
SIGTERM, skips the first part.
"""

BUILD = """\
Writes the models' files under ./model_repository; what is there already and unchanged is left alone.
The weights come from installed packages or from your folder, nothing is fetched from a model hub.

NAME is a family (minilm: the models minilm_onnx, minilm_openvino ...) or one model of it (minilm_onnx_int8).
Each model is compared with the fp32 original before it takes its place. It fails, and what was there stays, where
its least cosine is below its tolerance (batchyard.tolerance in config.pbtxt), or where it loses more than --max-drop
points: of accuracy where --check has labels, else of equal labels where the repository has a head for the family,
else of mean cosine times 100. The figures go to manifest.json; batchyard report NAME shows them.

engines and their precisions:
  onnxruntime  fp32, int8
  openvino     fp32, bf16, fp16, int8
  torch        fp32, bf16, fp16, int8
  tensorrt     fp16, fp32, bf16

examples:
  batchyard build                                   all shipped models
  batchyard build minilm_onnx minilm_openvino_bf16  these
  batchyard build minilm --precision int8 --calibration messages.txt --check labelled.csv --max-drop 0.5
                                                    int8 on every engine, learnt from your texts
  batchyard build my_encoder --from ./my-encoder    your own encoder (config.json, *.safetensors, tokenizer.json)
"""

REPORT = """\
Prints what batchyard build measured of every model of a family, and writes a page with plots to ./build/report/.

example:
  batchyard report minilm
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
    _add_build(commands)
    _add_report(commands)
    _add_distill(commands)
    _add_key(commands)
    return parser


def _add_build(commands: "argparse._SubParsersAction[_Parser]") -> None:
    build = commands.add_parser("build", help="make the model files", epilog=BUILD)
    flags = ["--from", "--engines", "--precision", "--calibration", "--check", "--max-drop", "--model-repository"]
    build.set_defaults(run=_build, options=flags)
    build.add_argument("names", nargs="*", metavar="NAME", help="families or models; none named: all that are shipped")
    build.add_argument("--from", dest="source", type=Path, metavar="DIR", help="a Hugging Face encoder folder")
    build.add_argument("--engines", type=_listed, default=(), metavar="A,B", help="of those below")
    build.add_argument("--precision", type=_listed, default=(), metavar="A,B", help="of fp32, bf16, fp16, int8 [fp32]")
    build.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="texts that int8 learns its scales from: .txt, one a line, or .csv with a column text [made-up messages]",
    )
    build.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="texts to compare on, likewise; with a column category, accuracy too [texts left out of calibration]",
    )
    build.add_argument("--max-drop", type=float, metavar="X", help="the most points that a model may lose [no bound]")
    build.add_argument("--model-repository", type=Path, metavar="DIR", help="where to [that of the settings]")


def _add_report(commands: "argparse._SubParsersAction[_Parser]") -> None:
    report = commands.add_parser("report", help="show how good and fast the built models are", epilog=REPORT)
    report.set_defaults(run=_report, options=["--model-repository"])
    report.add_argument("family", metavar="NAME", help="a family, such as minilm")
    report.add_argument("--model-repository", type=Path, metavar="DIR", help="where they are [that of the settings]")


def _add_distill(commands: "argparse._SubParsersAction[_Parser]") -> None:
    from engines.build import distill_command

    distill = commands.add_parser("distill", help="teach an encoder of fewer layers", epilog=distill_command.HELP)
    distill.set_defaults(run=_distill, options=distill_command.add_arguments(distill))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _add_setting(parser: argparse.ArgumentParser, name: str) -> None:
    field = Settings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    shown = ",".join(map(str, default)) if isinstance(default, list) else default
    if isinstance(default, bool):
        shown = str(default).lower()
    if default in ([], {}, None) or isinstance(default, BaseModel):
        shown = "none"
    source = f"[{ENV_PREFIX}{name.upper()}, default: {shown}]"
    alone: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
    parser.add_argument(
        flag_of(name),
        dest=name,
        default=argparse.SUPPRESS,
        metavar=_metavar(field.annotation),
        **alone,
        help=f"{field.description} {source}".replace("%", "%%"),
    )


def _metavar(annotation: object) -> str:
    if annotation is int:
        return "N"
    if annotation is bool:
        return "true|false"
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if annotation == Path | None:
        return "FILE"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "JSON"
    return {list: "A,B", dict: "JSON"}.get(get_origin(annotation), "TEXT")  # type: ignore[arg-type]


def _serve(arguments: argparse.Namespace) -> None:
    flags = {name: value for name, value in vars(arguments).items() if name in Settings.model_fields}
    settings = _settings(flags, arguments.config)
    from service import app, server

    try:
        server.serve(settings, app.create_service)
    except InvalidSettingsError as error:
        _fail(str(error), 2)
    except (server.CannotStartError, BatchyardError) as error:
        _fail(str(error), 1)


def _build(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from engines.build import flow
    from engines.build.errors import WrongRequestError
    from engines.build.request import Request
    from engines.errors import EngineError

    request = Request(
        arguments.names,
        arguments.source,
        arguments.engines,
        arguments.precision,
        arguments.calibration,
        arguments.check,
        arguments.max_drop,
    )
    try:
        flow.build(request, _repository(arguments), Console())
    except WrongRequestError as error:
        _fail(str(error), 2)
    except EngineError as error:
        _fail(str(error), 1)


def _report(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from engines.build import report
    from engines.errors import EngineError

    try:
        report.report(arguments.family, _repository(arguments), Console(width=None if sys.stdout.isatty() else 120))
    except EngineError as error:
        _fail(str(error), 1)


def _distill(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from engines.build.distill_command import request_of
    from engines.errors import EngineError

    try:
        from engines.build.distill import distill
    except ModuleNotFoundError as error:
        _fail(f"distill needs {error.name}, which is not installed: pip install 'batchyard[torch]'", 1)
    try:
        distill(request_of(arguments, _repository(arguments)), Console())
    except EngineError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from the last checkpoint", 130)


def _add_key(commands: "argparse._SubParsersAction[_Parser]") -> None:
    key = commands.add_parser("key", help="make a key for a caller", epilog=HELP)
    key.set_defaults(run=lambda _: print(told_key()), options=[])
    key.add_argument("what", choices=["new"], help="make a new one")


def _repository(arguments: argparse.Namespace) -> Path:
    return arguments.model_repository or _settings({}).model_repository[0]


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
