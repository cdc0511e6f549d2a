# SPDX-License-Identifier: Apache-2.0
"""What the origins that tests run in Python have in common: files, ranges, JSON, and a log of their requests."""

import http.server
import json
import socketserver
import sys
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.url_path = urllib.parse.unquote(url.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        if url.path == "/_log":
            self.send_json(200, self.server.log)
            return
        self.server.log.append({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}})
        self.answer()

    def send_whole(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.send_whole(status, body, {"Content-Type": "application/json", **(headers or {})})

    def send_ranged(self, content, headers=None):
        """The content, or the one range of it that the request names (RFC 9110 section 14)."""
        asked = self.headers.get("Range")
        if asked is None:
            self.send_whole(200, content, headers)
            return
        first, last = asked.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last), len(content) - 1)
        if first >= len(content):
            self.send_whole(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        part = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self.send_whole(206, content[first:last + 1], {**(headers or {}), **part})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.log = []
        self.port = self.server_address[1]


def serve(servers):
    """Runs them until standard input ends, and tells their ports on one line."""
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*(server.port for server in servers), flush=True)
    sys.stdin.read()
