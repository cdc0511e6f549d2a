#!/ usr / bin / env python3
#SPDX - License - Identifier : Apache - 2.0
"""The token service of a registry (distribution's docs/spec/auth/token.md) that knows one user.

    token_server.py IP PORT CERTIFICATE KEY USER:PASSWORD

Tells everybody else a token, too, one that gives no access.
"""

import base64
import http.server
import json
import subprocess
import sys
import time
import urllib.parse

ip, port, certificate, key, login = sys.argv[1:]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(access):
    with open(certificate, encoding="ascii") as file:
        chain = ["".join(file.read().split("-----")[2].split())]
    now = int(time.time())
    claims = {"iss": "tests", "sub": "", "aud": "registry", "exp": now + 300, "nbf": now - 60, "iat": now,
              "jti": str(time.time_ns()), "access": access}
    signed = ".".join(encode(json.dumps(part).encode()) for part in
                      ({"typ": "JWT", "alg": "RS256", "x5c": chain}, claims))
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=signed.encode(), check=True,
                               capture_output=True, timeout=10).stdout
    return signed + "." + encode(signature)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        basic = "Basic " + base64.b64encode(login.encode()).decode()
        access = []
        for scope in query.get("scope", []) if self.headers.get("Authorization") == basic else []:
            kind, name, actions = scope.split(":", 2)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        value = token(access)
        body = json.dumps({"token": value, "access_token": value, "expires_in": 300}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
#Containerd falls back to GET.
        self.send_error(404)


http.server.ThreadingHTTPServer((ip, int(port)), Handler).serve_forever()
