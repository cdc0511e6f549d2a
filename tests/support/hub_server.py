# SPDX-License-Identifier: Apache-2.0
"""Model hubs: Hugging Face and ModelScope, as far as downloads need them, and the host that keeps large files.

    hub_server.py ROOT [--token TOKEN] [--revision REVISION] [--no-tree]

ROOT holds <type>/<owner>/<repository>/<files>. The hub wants "Authorization: Bearer TOKEN" and the revision; the host of
large files refuses whoever sends it an Authorization, since a hub's token must not reach it, and wants the signature
that the hub put into the URL. --no-tree: a mirror that serves the description of a repository and no tree.
Prints the ports of the hub and of that host. Sources: Hugging Face "Hub API Endpoints" (tree: pages by Link headers
with a cursor; resolve: small files from the hub itself by a relative redirect, large ones from elsewhere); ModelScope's
SDK (repo/files, resolve).
"""

import argparse
import base64
import hashlib
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.dirname(__file__))
import origin_server

PAGE = 2
LARGE = 1000
SIGNATURE = "s3cr3t+sig=="


def etag(content):
    return {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}


class Hub(origin_server.Handler):
    def answer(self):
        options = self.server.options
        if options.token and self.headers.get("Authorization") != "Bearer " + options.token:
            return self.send_json(401, {"error": "Invalid credentials in Authorization header"})
        # A revision stands in one component, its slashes encoded: split before decoding.
        parts = [urllib.parse.unquote(p) for p in urllib.parse.urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "resolve-cache"]:
            return self.send_file(parts[2:], redirect=False)
        if parts[:2] == ["api", "v1"]:
            return self.model_scope_files(parts[2:])
        if parts[0] == "api":
            return self.hugging_face_api(parts[1:])
        if parts[0] not in ("models", "datasets", "spaces"):
            parts.insert(0, "models")  # hf: models have no type in their address
        if len(parts) < 6 or parts[3] != "resolve" or parts[4] != options.revision:
            return self.send_json(404, {"error": "Entry not found"})
        return self.send_file(parts[:3] + parts[5:], redirect=True)

    def send_file(self, parts, redirect):
        path = os.path.join(self.server.options.root, *parts)
        if not os.path.isfile(path):
            return self.send_json(404, {"error": "Entry not found"})
        with open(path, "rb") as file:
            content = file.read()
        quoted = "/".join(urllib.parse.quote(p) for p in parts)
        if redirect and len(content) > LARGE:
            query = urllib.parse.urlencode({"X-Signature": SIGNATURE})
            return self.send_whole(302, b"", {"Location": f"http://localhost:{self.server.cdn.port}/{quoted}?{query}"})
        if redirect:
            return self.send_whole(307, b"", {"Location": f"/api/resolve-cache/{quoted}"})
        return self.send_ranged(content, etag(content))

    def entries(self, repository, below=""):
        """(path, size or None for a directory), sorted."""
        top = os.path.join(self.server.options.root, *repository)
        found = []
        for directory, names, files in os.walk(os.path.join(top, below)):
            for name in names:
                found.append((os.path.relpath(os.path.join(directory, name), top), None))
            for name in files:
                path = os.path.join(directory, name)
                found.append((os.path.relpath(path, top), os.path.getsize(path)))
        return sorted(found)

    def hugging_face_api(self, parts):
        options = self.server.options
        if len(parts) < 5 or parts[4] != options.revision:
            return self.send_json(404, {"error": "Invalid rev id"})
        repository, below = parts[:3], "/".join(parts[5:])
        if not os.path.isdir(os.path.join(options.root, *repository, below)):
            return self.send_json(404, {"error": f"{below} does not exist"})
        if parts[3] == "revision":
            sizes = self.query.get("blobs") == "true"
            return self.send_json(200, {"id": "/".join(repository[1:]), "siblings": [
                {"rfilename": path, **({"size": size} if sizes else {})}
                for path, size in self.entries(repository) if size is not None]})
        if parts[3] != "tree" or options.no_tree or self.query.get("recursive") != "true":
            return self.send_json(404, {"error": "Sorry, we can't find the page you are looking for."})
        entries = self.entries(repository, below)
        start = int(base64.b64decode(self.query["cursor"])) if "cursor" in self.query else 0
        headers = {}
        if start + PAGE < len(entries):
            cursor = urllib.parse.quote(base64.b64encode(str(start + PAGE).encode()).decode())
            # A mirror passes on what the hub itself says.
            headers["Link"] = f'<https://hub.invalid{self.path.split("?")[0]}?recursive=true&cursor={cursor}>; rel="next"'
        return self.send_json(200, [
            {"type": "directory", "oid": "0", "size": 0, "path": path} if size is None else
            {"type": "file", "oid": "0", "size": size, "path": path} for path, size in entries[start:start + PAGE]],
            headers)

    def model_scope_files(self, parts):
        options = self.server.options
        if parts[3:] != ["repo", "files"] or self.query.get("Recursive") != "true":
            return self.send_json(404, {"Code": 404, "Message": "no such service"})
        if self.query.get("Revision") != options.revision:
            return self.send_json(200, {"Code": 10010205001, "Message": "revision not found", "Data": {}})
        return self.send_json(200, {"Code": 200, "Message": "success", "Data": {"Files": [
            {"Path": path, "Name": os.path.basename(path), "Type": "tree" if size is None else "blob",
             "Size": size or 0} for path, size in self.entries(parts[:3])]}})


class Cdn(origin_server.Handler):
    def answer(self):
        if "Authorization" in self.headers or "Cookie" in self.headers:
            return self.send_whole(400, b"Only one auth mechanism allowed")
        if self.query.get("X-Signature") != SIGNATURE:
            return self.send_whole(403, b"the signature does not match")
        with open(os.path.join(self.server.options.root, self.url_path.lstrip("/")), "rb") as file:
            content = file.read()
        return self.send_ranged(content, etag(content))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--token", default="")
    parser.add_argument("--revision", default="main")
    parser.add_argument("--no-tree", action="store_true")
    options = parser.parse_args()
    hub, cdn = origin_server.Server(Hub), origin_server.Server(Cdn)
    hub.options = cdn.options = options
    hub.cdn = cdn
    origin_server.serve([hub, cdn])


main()
