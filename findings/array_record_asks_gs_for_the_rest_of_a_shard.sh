#!/usr/bin/env bash
# array_record 0.8.6 (which reads gs:// by itself), Python 3.11, Linux x86-64; google-cloud-storage's emulator variable, HTTP on this machine.
#
# Behaviour: reading one record of a shard in a bucket asks Google Cloud Storage for all from that record to the end of the shard
#   ("bytes=N-") and hangs up when the record is there, whatever readahead_buffer_size, max_parallelism and file_reader_buffer_size
#   are: records in any order, as training reads them, ask for half of the shard each, and the next shares nothing with it. What was
#   on its way when it hung up is sent in vain. Opening is frugal: one request for the last MiB.
# One would have guessed: that the index in that last MiB, which has each record's place, lets it ask for the record alone,
#   or for file_reader_buffer_size bytes; with readahead_buffer_size:0 nothing is to be read ahead.
# Output seen (64 records of 65,536 bytes, a shard of 4 MiB; range, and how many bytes that is):
OUTPUT_SEEN="readahead_buffer_size:0, 32768
  open: bytes=-1048576, 1048576
  record 4: from 262484 to the end, 4062892
  record 32: from 2099424 to the end, 2225952
  record 5: from 328089 to the end, 3997287
readahead_buffer_size:0,max_parallelism:0, 65536
  open: bytes=-1048576, 1048576
  record 4: from 262484 to the end, 4062892
  record 32: from 2099424 to the end, 2225952
  record 5: from 328089 to the end, 3997287"
# Remedy: shards of a few MB, or records in their order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check array_record==0.8.6
cat > "$folder/case.py" <<'PYTHON'
import contextlib
import http.server
import os
import random
import re
import threading

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

writer = ArrayRecordWriter("shard", "group_size:1,uncompressed")
records = [random.Random(i).randbytes(1 << 16) for i in range(64)]
for record in records:
    writer.write(record)
writer.close()
with open("shard", "rb") as file:
    shard = file.read()
asked = []


class Bucket(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self):
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_):
        pass

    def do_GET(self):
        wanted = self.headers.get("Range", "bytes=0-")
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()
        start = int(first) if first else len(shard) - int(last)
        end = int(last) + 1 if first and last else len(shard)
        asked.append((wanted, end - start))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(shard)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(shard[start:end])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["CLOUD_STORAGE_EMULATOR_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"
for options, buffer in (("readahead_buffer_size:0", 1 << 15), ("readahead_buffer_size:0,max_parallelism:0", 1 << 16)):
    print(f"{options}, {buffer}")
    reader = ArrayRecordReader("gs://bucket/shard", options, file_reader_buffer_size=buffer)
    reader.num_records()
    ((wanted, size),) = asked
    print(f"  open: {wanted}, {size}")
    for i in (4, 32, 5):
        asked.clear()
        assert reader.read([i]) == [records[i]]
        ((wanted, size),) = asked
        place = re.sub(r"^bytes=(.+)-$", r"from \1 to the end", wanted)
        print(f"  record {i}: {place}, {size}")
    reader.close()
    asked.clear()
PYTHON
cd "$folder"
seen=$("$folder/venv/bin/python" case.py 2> "$folder/errors" || { cat "$folder/errors" >&2; exit 1; })
if [ "$seen" != "$OUTPUT_SEEN" ]; then
    diff <(echo "$OUTPUT_SEEN") <(echo "$seen") || true
    echo "the behaviour has changed" >&2
    exit 1
fi
echo "$seen"
