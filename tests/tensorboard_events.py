"""Reads TensorBoard event files back, by their published record format."""

import struct

from tensorboardX.proto.event_pb2 import Event


def scalars(folder):
    """{tag: [(step, value), ...]} of all event files in a folder."""
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            at += 12 + length + 4
    return found
