"""The one error that a bad hand file raises, and those that it comes from."""

import struct
import tokenize
import zipfile
import zlib


class FileFormatError(ValueError):
    """A file is not what it should be; the message names the file, the field and the remedy."""


# What taking a file's content for JSON, numbers or an archive may raise where it is none. ArithmeticError: an
# integer beyond any float; RuntimeError: lists too deep, a zip with a password; MemoryError: an array that is
# said to be enormous; SyntaxError, TokenError, SystemError: the head of an array of numpy.
MALFORMED = (
    *(
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
    ),
    *(
        SyntaxError,
        tokenize.TokenError,
        SystemError,
        EOFError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ),
)
