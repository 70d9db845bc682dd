"""What all scripts share: absl's flags, and user errors shown as one message without a traceback."""

import sys
import traceback

from absl import app, flags, logging

from amvur_jax.errors import UserError
from amvur_jax.runtime import startup
from mano_jax import FileFormatError

_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show Python's traceback of an error in the input."
)


def run(main):
    """Parse the flags and call main(); an error in the input is one message and exit code 1."""

    startup.tune_cpu()

    def guarded(argv):
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


def parse(argv):
    """absl's parser; an unknown config field or a missing config file is one message, not a traceback."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        message = f"{error} (see --help)"
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        message = f"{reason} (every field stands in configs/default.py)"
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
