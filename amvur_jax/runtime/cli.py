"""What all scripts share: absl's flags, configs by name, user errors as one message, the command `amvur`."""

import ast
import importlib
import pathlib
import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from amvur_jax import configs, scripts  # type: ignore[attr-defined]  # folders of the checkout
from amvur_jax.errors import UserError
from amvur_jax.runtime import startup
from mano_jax import FileFormatError

_CONFIGS = pathlib.Path(configs.__file__).parent
# The scripts that an installed package has as `amvur NAME`; the others work on the source tree.
COMMANDS = (
    "demo",
    "train",
    "report",
    "evaluate",
    "predict",
    "bulk",
    "app",
    "score",
    "make_synthetic",
    "build_dataset",
    "show_batch",
    "annotations",
    "label",
    "export",
    "export_weights",
    "convert_torch",
    "fit_hand",
)

_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show Python's traceback of an error in the input."
)


def command() -> None:
    """The command `amvur NAME --flags`: scripts/NAME.py of an installed package."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        asked = name in ("", "help", "-h", "--help", "--helpfull")
        print(_overview(), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else f"\nerror: amvur {name}: there is no such command")
    script = importlib.import_module(f"amvur_jax.scripts.{name}")
    # absl takes usage and key flags from the module that was started.
    sys.modules["__main__"].__doc__ = script.__doc__
    sys.argv = [script.__name__, *sys.argv[2:]]
    run(script.main)


def _overview() -> str:
    """What `amvur` alone says: each command with the first sentence of its script."""
    lines = ["amvur COMMAND --flag=value ...   (amvur COMMAND --help says which)", ""]
    for name in COMMANDS:
        text = pathlib.Path(scripts.__file__).with_name(f"{name}.py").read_text()
        lines.append(f"  {name:16s}{(ast.get_docstring(ast.parse(text)) or name).splitlines()[0]}")
    lines += ["", f"configs, --config=NAME or a file's path: {', '.join(config_names())}"]
    return "\n".join(lines)


def config_names() -> list[str]:
    """The names of configs/ that `--config` takes in the place of a path."""
    return sorted(p.stem for p in _CONFIGS.glob("*.py") if p.stem not in ("__init__", "default"))


def config_path(name: str) -> str:
    """The file of a config of ours; a path is given back as it is.

    Raises:
      UserError: it is neither a path nor a name.
    """
    if name in config_names():
        return str(_CONFIGS / f"{name}.py")
    # What follows a colon is an argument of the config's own.
    if not pathlib.Path(name.partition(":")[0]).is_file():
        raise UserError(
            f"--config={name}: there is no such file; give a path, or one of ours by its name: "
            f"{', '.join(config_names())}"
        )
    return name


def run(main: Callable[[], None]) -> None:
    """Parse the flags and call main(); an error in the input is one message and exit code 1."""

    startup.tune_cpu()

    def guarded(argv: Sequence[str]) -> int:
        logging.set_verbosity(logging.WARNING)  # which accelerators are absent is not news
        try:
            if len(argv) > 1:
                raise UserError(
                    f"unexpected argument {argv[1]!r}; flags are --name=value, see --help"
                )
            main()
        except (UserError, FileFormatError) as error:
            if _TRACEBACK.value:
                traceback.print_exc()
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return 0

    app.run(guarded, flags_parser=parse)


def parse(argv: Sequence[str]) -> list[str]:
    """absl's parser; an unknown config field or a missing config file is one message, not a traceback."""
    try:
        return flags.FLAGS(_with_config_paths(argv))
    except (flags.Error, UserError) as error:
        message = str(error) if isinstance(error, UserError) else f"{error} (see --help)"
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        message = f"{reason} (every field stands in configs/default.py)"
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _with_config_paths(argv: Sequence[str]) -> list[str]:
    """The arguments, with configs of ours by their paths."""
    found = list(argv)
    for i, word in enumerate(found):
        name, equals, value = word.partition("=")
        if name.lstrip("-") != "config" or not name.startswith("-"):
            continue
        if equals:
            found[i] = f"{name}={config_path(value)}"
        elif i + 1 < len(found):
            found[i + 1] = config_path(found[i + 1])
    return found
