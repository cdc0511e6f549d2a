# SPDX-License-Identifier: Apache-2.0
"""HDFS as WebHDFS shows it (Apache Hadoop 3.3, "WebHDFS REST API"): a namenode and a datanode over one directory.

    webhdfs_server.py ROOT [--token TOKEN] [--user USER] [--old] [--breaks N]

The namenode answers GETFILESTATUS and LISTSTATUS_BATCH (two entries a page; not with --old), and LISTSTATUS, and sends
OPEN on to the datanode. Both check the delegation token, or the user name, by themselves. With --breaks the datanode
cuts the connection in the middle of its first N answers. Prints the two ports.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
import origin_server

PREFIX = "/webhdfs/v1"
PAGE = 2


class WebHdfs(origin_server.Handler):
    def refuse(self, status, exception, message):
        self.send_json(status, {"RemoteException": {"exception": exception, "message": message,
                                                    "javaClassName": "org.apache.hadoop." + exception}})

    def answer(self):
        options = self.server.options
        if options.token and self.query.get("delegation") != options.token:
            return self.refuse(403, "SecretManager$InvalidToken", "token is not the right one")
        if options.user and self.query.get("user.name") != options.user:
            return self.refuse(401, "SecurityException", "Failed to obtain user group information")
        if not self.url_path.startswith(PREFIX):
            return self.refuse(404, "FileNotFoundException", "no such service")
        self.name = self.url_path[len(PREFIX):] or "/"
        self.file = os.path.join(options.root, self.name.lstrip("/"))
        operation = getattr(self, "op_" + self.query.get("op", "").lower(), None)
        if operation is None:
            return self.refuse(400, "IllegalArgumentException",
                               f'Invalid value for webhdfs parameter "op": {self.query.get("op")}')
        if not os.path.exists(self.file):
            return self.refuse(404, "FileNotFoundException", f"File does not exist: {self.name}")
        return operation()


def file_status(path, suffix):
    info = os.stat(path)
    directory = os.path.isdir(path)
    return {"accessTime": 0, "blockSize": 0 if directory else 134217728, "childrenNum": 0, "fileId": info.st_ino,
            "group": "supergroup", "length": 0 if directory else info.st_size,
            "modificationTime": info.st_mtime_ns // 1000000, "owner": "hdfs", "pathSuffix": suffix,
            "permission": "755", "replication": 0 if directory else 3, "storagePolicy": 0,
            "type": "DIRECTORY" if directory else "FILE"}


class NameNode(WebHdfs):
    def statuses(self, after=""):
        if not os.path.isdir(self.file):
            return [file_status(self.file, "")]
        return [file_status(os.path.join(self.file, n), n) for n in sorted(os.listdir(self.file)) if n > after]

    def op_getfilestatus(self):
        self.send_json(200, {"FileStatus": file_status(self.file, "")})

    def op_liststatus(self):
        self.send_json(200, {"FileStatuses": {"FileStatus": self.statuses()}})

    def op_liststatus_batch(self):
        if self.server.options.old:
            return self.refuse(400, "IllegalArgumentException",
                               'Invalid value for webhdfs parameter "op": No enum constant LISTSTATUS_BATCH')
        left = self.statuses(self.query.get("startAfter", ""))
        return self.send_json(200, {"DirectoryListing": {
            "partialListing": {"FileStatuses": {"FileStatus": left[:PAGE]}},
            "remainingEntries": max(len(left) - PAGE, 0)}})

    def op_open(self):
        if os.path.isdir(self.file):
            return self.refuse(404, "FileNotFoundException", f"Path is not a file: {self.name}")
        # By another name than the namenode's, as in a cluster.
        target = f"http://localhost:{self.server.datanode.port}{self.path}&namenoderpcaddress=namenode:8020"
        return self.send_whole(307, b"", {"Location": target})


class DataNode(WebHdfs):
    def op_open(self):
        if self.query.get("namenoderpcaddress") != "namenode:8020":
            return self.refuse(400, "IllegalArgumentException", "no namenode")
        with open(self.file, "rb") as file:
            content = file.read()
        offset = int(self.query.get("offset", 0))
        if offset > len(content):
            return self.refuse(403, "IOException", f"Offset={offset} out of the range [0, {len(content)})")
        content = content[offset:]
        if "length" in self.query:
            content = content[:int(self.query["length"])]
        if self.server.options.breaks > 0:
            self.server.options.breaks -= 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:len(content) // 2])
            self.close_connection = True
            return None
        return self.send_whole(200, content, {"Content-Type": "application/octet-stream"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--token", default="")
    parser.add_argument("--user", default="")
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--breaks", type=int, default=0)
    options = parser.parse_args()
    namenode, datanode = origin_server.Server(NameNode), origin_server.Server(DataNode)
    namenode.options = datanode.options = options
    namenode.datanode = datanode
    origin_server.serve([namenode, datanode])


main()
