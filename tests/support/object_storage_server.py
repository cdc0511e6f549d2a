#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An object storage on loopback that takes nothing on trust.

    object_storage_server.py < CONFIG

Speaks the part of one vendor's HTTP API that reads and lists objects, and verifies every signature by the vendor's
specification with Python's own hmac. CONFIG is one line of JSON:

  vendor              s3, gs, abs, oss, obs or cos
  bucket              the one bucket
  objects             key -> content
  access_key_id, access_key_secret, token
                      the one account; without an id requests must not be signed
  region              s3 and oss: the region that signatures must name; oss without one takes signatures V1 only
  page_size           entries in a page of a list at most
  clock_offset        seconds that this server's clock is ahead
  public_key          gs: PEM file that verifies assertions at /token
  token_lifetime      gs: expires_in of a token, seconds
  certificate, key    PEM files; with them the server speaks TLS

It writes its port in one line, then a line for each request ("200 GET /path"), and ends with its standard input.
"""

import base64
import calendar
import email.utils
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

SAFE = "-_.~"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
LAST_MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


class Refused(Exception):
    def __init__(self, status, code, message="", extra=""):
        super().__init__(code)
        self.status, self.code, self.message, self.extra = status, code, message, extra


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=SAFE + safe)


def sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256)


def sha1(key, text):
    return hmac.new(key, text.encode(), hashlib.sha1)


class Request:
    """What a signature is about."""

    def __init__(self, handler):
        self.method = handler.command
        self.raw_path, _, self.raw_query = handler.path.partition("?")
        self.path = urllib.parse.unquote(self.raw_path)
        self.query = [(urllib.parse.unquote(name), urllib.parse.unquote(value))
                      for name, _, value in (part.partition("=") for part in self.raw_query.split("&") if part)]
        self.headers = {}
        for name, value in handler.headers.items():
            name = name.lower()
            self.headers[name] = (self.headers[name] + "," if name in self.headers else "") + value.strip()
        self.host = self.headers.get("host", "")

    def arg(self, name, default=""):
        return dict(self.query).get(name, default)


class Storage:
    def __init__(self, config):
        self.config = config
        self.vendor = config["vendor"]
        self.bucket = config["bucket"]
        self.objects = {key: value.encode("latin-1") for key, value in config["objects"].items()}
        self.id = config.get("access_key_id", "")
        self.secret = config.get("access_key_secret", "").encode()
        self.token = config.get("token", "")
        self.region = config.get("region", "")
        self.page_size = config.get("page_size", 1000)
        self.issued = {}
        self.lock = threading.Lock()

    def now(self):
        return time.time() + self.config.get("clock_offset", 0)

    # ---- who asks ----

    def check_time(self, when):
        if abs(self.now() - when) > 900:
            raise Refused(403, "RequestTimeTooSkewed", "The difference between the times is too large.")

    def check_token(self, given):
        if given != self.token:
            raise Refused(403, "InvalidToken", "The token is not the one of the account.")

    def check_id(self, given):
        if given != self.id:
            raise Refused(403, "InvalidAccessKeyId", "There is no such account.")

    def check_signature(self, given, expected):
        if not hmac.compare_digest(given, expected):
            raise Refused(403, "SignatureDoesNotMatch", "The signature is not the one of the request.")

    def authorize(self, request):
        authorization = request.headers.get("authorization", "")
        if not self.id and self.vendor != "gs":
            if authorization:
                raise Refused(400, "InvalidArgument", "Nobody is to sign here.")
            return
        if not authorization:
            raise Refused(403, "AccessDenied", "Access Denied")
        getattr(self, "verify_" + self.vendor)(request, authorization)

    def fields(self, text):
        return dict(part.strip().partition("=")[::2] for part in text.split(","))

    def derive(self, salt, parts):
        key = salt + self.secret
        for part in parts:
            key = sha256(key, part).digest()
        return key

    def verify_s3(self, request, authorization):
        algorithm, _, rest = authorization.partition(" ")
        if algorithm != "AWS4-HMAC-SHA256":
            raise Refused(400, "InvalidArgument", "Unsupported Authorization Type")
        fields = self.fields(rest)
        access_id, date, region, service, terminator = fields["Credential"].split("/")
        self.check_id(access_id)
        if region != self.region:
            raise Refused(400, "AuthorizationHeaderMalformed",
                          f"the region '{region}' is wrong; expecting '{self.region}'", f"<Region>{self.region}</Region>")
        if (service, terminator) != ("s3", "aws4_request"):
            raise Refused(400, "AuthorizationHeaderMalformed", "scope")
        stamp = request.headers["x-amz-date"]
        if stamp[:8] != date:
            raise Refused(400, "AuthorizationHeaderMalformed", "date")
        self.check_time(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))
        names = fields["SignedHeaders"].split(";")
        must = {"host"} | {name for name in request.headers if name.startswith("x-amz-")}
        if names != sorted(names) or not must <= set(names):
            raise Refused(403, "AccessDenied", "There were headers present in the request which were not signed")
        payload = request.headers["x-amz-content-sha256"]
        if payload not in ("UNSIGNED-PAYLOAD", EMPTY_SHA256):
            raise Refused(400, "XAmzContentSHA256Mismatch")
        canonical = "\n".join([
            request.method, quote(request.path, "/"),
            "&".join(sorted(quote(name) + "=" + quote(value) for name, value in request.query)),
            "".join(f"{name}:{request.headers[name]}\n" for name in names), ";".join(names), payload])
        scope = [date, region, "s3", "aws4_request"]
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
        self.check_signature(fields["Signature"], sha256(self.derive(b"AWS4", scope), text).hexdigest())
        self.check_token(request.headers.get("x-amz-security-token", ""))

    def verify_oss(self, request, authorization):
        algorithm, _, rest = authorization.partition(" ")
        self.check_token(request.headers.get("x-oss-security-token", ""))
        path = request.path if self.in_path(request) else f"/{self.bucket}{request.path}"
        if not self.region:
            if algorithm != "OSS":
                raise Refused(400, "InvalidArgument", "Unsupported signature version")
            access_id, _, signature = rest.partition(":")
            self.check_id(access_id)
            self.check_time(calendar.timegm(email.utils.parsedate(request.headers["date"])))
            parts = sorted(name + ("=" + value if value else "") for name, value in request.query
                           if name in ("acl", "versionId", "continuation-token", "uploads"))
            resource = path + ("?" + "&".join(parts) if parts else "")
            text = self.header_text(request, "x-oss-", resource)
            self.check_signature(signature, base64.b64encode(sha1(self.secret, text).digest()).decode())
            return
        if algorithm != "OSS4-HMAC-SHA256":
            raise Refused(400, "InvalidArgument", "Unsupported signature version")
        fields = self.fields(rest)
        access_id, date, region, product, terminator = fields["Credential"].split("/")
        self.check_id(access_id)
        if (region, product, terminator) != (self.region, "oss", "aliyun_v4_request"):
            raise Refused(400, "InvalidArgument", "scope")
        stamp = request.headers["x-oss-date"]
        self.check_time(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))
        if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            raise Refused(400, "InvalidArgument", "x-oss-content-sha256")
        additional = [name for name in fields.get("AdditionalHeaders", "").split(";") if name]
        signed = sorted(name for name in request.headers if name.startswith("x-oss-") or
                        name in ("content-type", "content-md5") or name in additional)
        canonical = "\n".join([
            request.method, quote(path, "/"),
            "&".join(quote(name) + ("=" + quote(value) if value else "") for name, value in sorted(request.query)),
            "".join(f"{name}:{request.headers[name]}\n" for name in signed), ";".join(sorted(additional)),
            "UNSIGNED-PAYLOAD"])
        scope = [date, region, "oss", "aliyun_v4_request"]
        text = "\n".join(["OSS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
        self.check_signature(fields["Signature"], sha256(self.derive(b"aliyun_v4", scope), text).hexdigest())

    def header_text(self, request, prefix, resource):
        vendor = sorted((name, value) for name, value in request.headers.items() if name.startswith(prefix))
        return "\n".join([request.method, request.headers.get("content-md5", ""),
                          request.headers.get("content-type", ""), request.headers.get("date", ""),
                          "".join(f"{name}:{value}\n" for name, value in vendor) + resource])

    def verify_obs(self, request, authorization):
        algorithm, _, rest = authorization.partition(" ")
        access_id, _, signature = rest.partition(":")
        if algorithm != "OBS":
            raise Refused(400, "InvalidArgument", "Unsupported Authorization Type")
        self.check_id(access_id)
        self.check_token(request.headers.get("x-obs-security-token", ""))
        self.check_time(calendar.timegm(email.utils.parsedate(request.headers["date"])))
        domain = request.host.split(":")[0]
        owner = self.bucket if domain.startswith(self.bucket + ".") else domain
        parts = sorted(name + "=" + value for name, value in request.query if name in ("versionId", "acl"))
        resource = f"/{owner}" + quote(request.path, "/") + ("?" + "&".join(parts) if parts else "")
        text = self.header_text(request, "x-obs-", resource)
        self.check_signature(signature, base64.b64encode(sha1(self.secret, text).digest()).decode())

    def verify_cos(self, request, authorization):
        fields = dict(part.partition("=")[::2] for part in authorization.split("&"))
        if fields["q-sign-algorithm"] != "sha1":
            raise Refused(400, "InvalidArgument", "q-sign-algorithm")
        self.check_id(fields["q-ak"])
        self.check_token(request.headers.get("x-cos-security-token", ""))
        begin, end = (int(number) for number in fields["q-key-time"].split(";"))
        if not begin <= self.now() <= end or fields["q-sign-time"] != fields["q-key-time"]:
            raise Refused(403, "RequestIsExpired", "Request has expired")

        def listed(names, values):
            values = {quote(name).lower(): quote(value) for name, value in values}
            chosen = [name for name in names.split(";") if name]
            return chosen, "&".join(f"{name}={values[name]}" for name in chosen)

        header_names, headers = listed(fields["q-header-list"], request.headers.items())
        query_names, query = listed(fields["q-url-param-list"], request.query)
        if header_names != sorted(header_names) or query_names != sorted(query_names):
            raise Refused(403, "AccessDenied", "unsorted")
        if "host" not in header_names or len(query_names) != len(request.query):
            raise Refused(403, "AccessDenied", "host and parameters are to be signed here")
        text = f"{request.method.lower()}\n{request.path}\n{query}\n{headers}\n"
        text = f"sha1\n{fields['q-sign-time']}\n{hashlib.sha1(text.encode()).hexdigest()}\n"
        key = sha1(self.secret, fields["q-key-time"]).hexdigest()
        self.check_signature(fields["q-signature"], sha1(key.encode(), text).hexdigest())

    def verify_abs(self, request, authorization):
        algorithm, _, rest = authorization.partition(" ")
        account, _, signature = rest.partition(":")
        if algorithm != "SharedKey":
            raise Refused(400, "InvalidAuthenticationInfo")
        self.check_id(account)
        self.check_time(calendar.timegm(email.utils.parsedate(request.headers["x-ms-date"])))
        get = request.headers.get
        lines = [request.method] + [get(name, "") for name in (
            "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
            "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")]
        lines += [f"{name}:{value}" for name, value in sorted(request.headers.items()) if name.startswith("x-ms-")]
        query = {}
        for name, value in request.query:
            query.setdefault(name.lower(), []).append(value)
        resource = f"/{account}{request.raw_path}" + "".join(
            f"\n{name}:{','.join(sorted(values))}" for name, values in sorted(query.items()))
        expected = hmac.new(base64.b64decode(self.secret), "\n".join(lines + [resource]).encode(), hashlib.sha256)
        self.check_signature(signature, base64.b64encode(expected.digest()).decode())

    def verify_gs(self, request, authorization):
        with self.lock:
            until = self.issued.get(authorization.removeprefix("Bearer "), 0)
        if until < self.now():
            raise Refused(401, "authError", "Invalid Credentials")

    def issue(self, form):
        """The token service: RFC 7523."""
        fields = dict(urllib.parse.parse_qsl(form))
        if fields.get("grant_type") == "refresh_token":
            wanted = {"client_id": "client", "client_secret": "s&cret", "refresh_token": "1//refresh"}
            if any(fields.get(name) != value for name, value in wanted.items()):
                raise Refused(401, "invalid_client")
        else:
            if fields.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
                raise Refused(400, "unsupported_grant_type")
            signed, _, signature = fields["assertion"].rpartition(".")

            def decode(text):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

            header, claims = (json.loads(decode(part)) for part in signed.split("."))
            with tempfile.NamedTemporaryFile() as file:
                file.write(decode(signature))
                file.flush()
                verified = subprocess.run(
                    ["openssl", "dgst", "-sha256", "-verify", self.config["public_key"], "-signature", file.name],
                    input=signed.encode(), capture_output=True, check=False).returncode == 0
            fresh = claims["iat"] - 60 <= self.now() <= claims["exp"] <= claims["iat"] + 3600
            good = (verified and fresh and header["alg"] == "RS256" and header["kid"] == "key-1" and
                    claims["iss"] == "robot@project.iam.gserviceaccount.com" and claims["aud"].endswith("/token") and
                    claims["scope"].startswith("https://www.googleapis.com/auth/devstorage."))
            if not good:
                raise Refused(400, "invalid_grant", "Invalid JWT Signature.")
        lifetime = self.config.get("token_lifetime", 3600)
        with self.lock:
            token = f"ya29.{len(self.issued)}"
            self.issued[token] = self.now() + lifetime
        return json.dumps({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"})

    # ---- what is asked ----

    def in_path(self, request):
        if self.vendor in ("gs", "abs"):
            return True
        return self.vendor != "obs" and not request.host.startswith(self.bucket + ".")

    def locate(self, request):
        """(is_list, key) of a request to the bucket."""
        if self.vendor == "gs":
            base = f"/storage/v1/b/{self.bucket}/o"
            if request.raw_path == base:
                return True, ""
            if not request.raw_path.startswith(base + "/") or request.arg("alt") != "media":
                raise Refused(404, "notFound", "Not Found")
            return False, urllib.parse.unquote(request.raw_path[len(base) + 1:])
        path = request.path
        if self.in_path(request):
            base = "/" + self.bucket
            if path != base and not path.startswith(base + "/"):
                raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
            path = path[len(base):]
        return path in ("", "/"), path[1:]

    def list(self, request):
        prefix = request.arg("prefix")
        token = {"s3": "continuation-token", "oss": "continuation-token", "gs": "pageToken"}.get(self.vendor, "marker")
        after = request.arg(token)
        if after and self.vendor in ("s3", "oss", "gs"):
            after = base64.b64decode(after).decode()
        size = {"gs": "maxResults", "abs": "maxresults"}.get(self.vendor, "max-keys")
        limit = min(self.page_size, int(request.arg(size, "1000")))
        keys = sorted((key for key in self.objects if key.startswith(prefix) and key > after),
                      key=lambda key: key.encode())
        page, more = keys[:limit], len(keys) > limit
        cursor = base64.b64encode(page[-1].encode()).decode() if more else ""
        if self.vendor == "gs":
            answer = {"items": [{"name": key, "size": str(len(self.objects[key]))} for key in page]}
            if more:
                answer["nextPageToken"] = cursor
            return "application/json", json.dumps(answer)
        if self.vendor == "abs":
            if request.arg("restype") != "container" or request.arg("comp") != "list":
                raise Refused(400, "InvalidQueryParameterValue")
            blobs = "".join(
                f"<Blob><Name>{escape(key)}</Name><Properties><Content-Length>{len(self.objects[key])}"
                f"</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>" for key in page)
            next_marker = f"<NextMarker>{escape(page[-1])}</NextMarker>" if more else "<NextMarker />"
            return "application/xml", ('\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
                                       f'ContainerName="{self.bucket}"><Blobs>{blobs}</Blobs>{next_marker}'
                                       "</EnumerationResults>")
        encoding = request.arg("encoding-type")
        plus = self.vendor == "s3"

        def text(key):
            if encoding != "url":
                return escape(key)
            return urllib.parse.quote_plus(key, safe="/") if plus else urllib.parse.quote(key, safe="/")

        contents = "".join(f"<Contents><Key>{text(key)}</Key><Size>{len(self.objects[key])}</Size>"
                           "<LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
                           "<Type>Normal</Type><StorageClass>Standard</StorageClass></Contents>" for key in page)
        following = ""
        if more and self.vendor == "s3":
            following = f"<NextContinuationToken>{cursor}</NextContinuationToken>"
        elif more and self.vendor == "oss":
            following = f"<NextContinuationToken>{urllib.parse.quote(cursor)}</NextContinuationToken>"
        elif more and self.vendor == "cos":
            following = f"<NextMarker>{text(page[-1])}</NextMarker>"
        space = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' if self.vendor == "s3" else ""
        return "application/xml", (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult{space}>'
            f"<Name>{self.bucket}</Name><EncodingType>{encoding}</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{contents}</ListBucketResult>")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage = None

    def log_message(self, *args):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(self.storage.now() if timestamp is None else timestamp)

    def answer(self, status, headers, body):
        # Told before it is sent, so that whoever has the answer finds it told.
        with self.storage.lock:
            sys.stdout.write(f"{status} {self.command} {self.path}\n")
            sys.stdout.flush()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, refusal):
        if self.storage.vendor == "gs":
            kind = "application/json"
            body = json.dumps({"error": refusal.code} if self.command == "POST" else
                              {"error": {"code": refusal.status, "message": refusal.message}})
        else:
            kind = "application/xml"
            body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{refusal.code}</Code>'
                    f"<Message>{escape(refusal.message)}</Message>{refusal.extra}</Error>")
        self.answer(refusal.status, {"Content-Type": kind}, body.encode())

    def do_POST(self):
        form = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        try:
            if self.path != "/token":
                raise Refused(404, "notFound")
            self.answer(200, {"Content-Type": "application/json"}, self.storage.issue(form).encode())
        except Refused as refusal:
            self.refuse(refusal)
        except Exception as error:  # a malformed assertion
            self.refuse(Refused(400, "invalid_grant", repr(error)))

    def do_GET(self):
        try:
            request = Request(self)
            self.storage.authorize(request)
            is_list, key = self.storage.locate(request)
            if is_list:
                kind, body = self.storage.list(request)
                return self.answer(200, {"Content-Type": kind}, body.encode())
            if key not in self.storage.objects:
                raise Refused(404, "NoSuchKey", "The specified key does not exist.")
            self.send_object(self.storage.objects[key])
        except Refused as refusal:
            self.refuse(refusal)
        except Exception as error:  # a malformed signature
            self.refuse(Refused(400, "InvalidArgument", repr(error)))

    def send_object(self, content):
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"', "Last-Modified": LAST_MODIFIED,
                   "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        asked = self.headers.get("Range", self.headers.get("x-ms-range", ""))
        if not asked:
            return self.answer(200, headers, content)
        first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        if first >= len(content):
            headers = {"Content-Range": f"bytes */{len(content)}", "Content-Type": "application/xml"}
            return self.answer(416, headers, b"<Error><Code>InvalidRange</Code></Error>")
        last = min(last, len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self.answer(206, headers, content[first:last + 1])


def main():
    config = json.loads(sys.stdin.readline())
    Handler.storage = Storage(config)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if config.get("certificate"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config["certificate"], config["key"])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
