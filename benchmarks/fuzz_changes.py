"""How a valid file becomes a damaged or a hostile one: of a numpy Generator and bytes, other bytes."""

import io
import itertools
import pickletools
import re
import struct
import zipfile

# What a hostile pickle asks for, by module; it is called with a command that leaves CANARY behind.
NAMES = {
    "os": ("system", "remove"),
    "posix": ("system",),
    "subprocess": ("Popen",),
    "builtins": ("eval", "exec", "open", "getattr", "__import__"),
    "importlib": ("import_module",),
    "pickle": ("loads",),
    "numpy": ("load", "fromfile"),
    "shutil": ("rmtree",),
    "socket": ("create_connection",),
}
CANARY = "canary"


def bytes_changed(rng, data):
    """One to four times: bytes flipped, set, taken out, doubled, put in, cut off, or lengths overwritten."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        length = int(2 ** rng.uniform(0, 6))
        what = rng.integers(7)
        if what == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            data[at : at + length] = rng.bytes(length)
        elif what == 2:
            del data[at : at + length]
        elif what == 3:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 4))
        elif what == 4:
            number = int(rng.choice([0, 1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]))
            data[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
        elif what == 5:
            other = int(rng.integers(len(data)))
            data[at : at + length] = data[other : other + length]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def pickle_changed(rng, data):
    """Bytes changed; opcodes left out, doubled, moved; or a call of something put in."""
    try:
        places = [place for _, _, place in pickletools.genops(data)] + [len(data)]
    except UnicodeDecodeError:  # Python 2's strings of bytes, protocol 0
        places = []
    if not places or rng.random() < 0.4:
        return bytes_changed(rng, data)
    parts = [data[a:b] for a, b in itertools.pairwise(places)]

    def put_in(at, what):
        parts.insert(at, _opcode(rng) if what == 3 else _call(rng))

    _rearrange(rng, parts, 2, put_in)
    return b"".join(parts)


def _rearrange(rng, parts, ways, change):
    """One to three times: a part left out, doubled, swapped or, in `ways` more, change(place, way from 3)."""
    for _ in range(int(rng.integers(1, 4))):
        at, other = (int(i) for i in rng.integers(len(parts), size=2))
        what = rng.integers(3 + ways)
        if what == 0:
            parts[at] = b""
        elif what == 1:
            parts[at] = parts[at] * 2
        elif what == 2:
            parts[at], parts[other] = parts[other], parts[at]
        else:
            change(at, what)


def _opcode(rng):
    return bytes([int(rng.choice([ord(code) for code in pickletools.code2op]))])


def _call(rng):
    """Opcodes that call one of NAMES with a command, in one of the ways that pickles have."""
    module = str(rng.choice(list(NAMES)))
    name = str(rng.choice(NAMES[module]))
    touch = f"touch {CANARY}" if name in ("system", "Popen") else f"open({CANARY!r}, 'w')"
    word = b"X" + struct.pack("<I", len(touch)) + touch.encode()
    named = f"c{module}\n{name}\n".encode()
    if rng.random() < 0.3:
        named = b"".join(b"\x8c" + bytes([len(w)]) + w.encode() for w in (module, name)) + b"\x93"
    old = b"(" + word + f"i{module}\n{name}\n".encode()
    return (
        named + word + b"\x85R",
        named + b"(" + word + b"tR",
        old,
        named + b")\x81" + word + b"b",
    )[int(rng.integers(4))]


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|\s+|.', re.DOTALL)
_TOKENS = (
    b"1e999",
    b"-1e999",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b'""',
    b'"x"',
    b"-1",
    b"0",
    b"1" + b"0" * 400,
    b"9" * 25,
    b"1e308",
    b"[" * 40,
    b"[" * 5000,
    b'{"a":' * 3000,
    b"[[[[1]]]]",
    b"1.5",
    b'"../../etc/passwd"',
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xff",
    b"\xed\xa0\x80",
    b",",
    b":",
    b"]",
    b"}",
)


def text_changed(rng, data):
    """Bytes changed, or one to three tokens left out, doubled, swapped or others."""
    if rng.random() < 0.3:
        return bytes_changed(rng, data)
    start = int(rng.integers(max(1, len(data) - 4000)))  # of a long text a part
    head, tail = data[:start], data[start + 4000 :]
    tokens = _TOKEN.findall(data[start : start + 4000])

    def replace(at, _):
        tokens[at] = _TOKENS[int(rng.integers(len(_TOKENS)))]

    _rearrange(rng, tokens, 1, replace)
    return head + b"".join(tokens) + tail


def zip_changed(rng, data):
    """Bytes of the archive changed, or of a member's content, which may be left out or named otherwise."""
    if rng.random() < 0.5:
        return bytes_changed(rng, data)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        names = source.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            content = source.read(name)
            if name == chosen:
                content = bytes_changed(rng, content[:200]) + content[200:]
                if rng.random() < 0.2:
                    continue
                if rng.random() < 0.2:
                    name = str(rng.choice(["../" + name, "/" + name, "x" + name, ""]))
            archive.writestr(name or "empty", content)
    return target.getvalue()
