# SPDX-License-Identifier: Apache-2.0
"""Runs the measurements of bench/run.sh inside its network namespace. Python's standard library only."""
import argparse
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build", "release", "bin")
GIB = 1 << 30
TICK = os.sysconf("SC_CLK_TCK")
NAMES = ["limit", "piece_tcp", "piece_quic", "piece_grpc", "piece_grpc_tls", "parents", "tasks_100", "dfget_cold",
         "small_files", "scheduler", "scheduler_load", "manager", "memory", "proxy", "persistent"]


def program(name):
    return os.path.join(BIN, name)


def set_congestion_control(name):
    """For all of 127.0.0.0/8 in this namespace; False when the kernel does not have it."""
    return subprocess.run(
        ["ip", "route", "replace", "local", "127.0.0.0/8", "dev", "lo", "table", "local", "proto", "kernel", "scope",
         "host", "src", "127.0.0.1", "congctl", name], stderr=subprocess.DEVNULL).returncode == 0


def free_port():
    while True:
        port = random.randint(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def await_(what, ready, seconds=30):
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {what} did not come up")
        time.sleep(0.01)


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def http_ok(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Server:
    """A program in the background."""

    def __init__(self, argv, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log)

    def cpu(self):
        """CPU seconds so far."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        """Resident and proportional set size, MiB."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as f:
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in f if line.endswith("kB\n")}
        return {"rss_mib": round(sizes["Rss"] / 1024, 1), "pss_mib": round(sizes["Pss"] / 1024, 1)}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Origin(Server):
    def __init__(self, directory):
        self.root = os.path.join(directory, "www")
        os.makedirs(self.root)
        self.port = free_port()
        d = directory
        with open(f"{d}/nginx.conf", "w") as f:
            f.write(f"daemon off; master_process off; worker_processes 1; user root; error_log {d}/error.log; pid {d}/pid;\n"
                    f"events {{ worker_connections 4096; }}\n"
                    f"http {{ access_log off; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f;\n"
                    f"uwsgi_temp_path {d}/u; scgi_temp_path {d}/s; sendfile on; keepalive_requests 1000000;\n"
                    f"server {{ listen 127.0.0.1:{self.port} backlog=4096; root {self.root}; }} }}\n")
        super().__init__([shutil.which("nginx") or "/usr/sbin/nginx", "-p", d, "-c", f"{d}/nginx.conf"], f"{d}/nginx.log")
        await_("nginx", lambda: accepts(self.port))

    def make(self, name, size):
        with open(os.path.join(self.root, name), "wb") as f:
            left = size
            while left > 0:
                n = min(left, 1 << 24)
                f.write(os.urandom(n))
                left -= n

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"


class Certificates:
    """An authority of its own, and one certificate for 127.0.0.1 that every program shows."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(new + ["-subj", "/CN=bench-ca", "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.crt"], **quiet)
        subprocess.run(new + ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
                              "basicConstraints=critical,CA:FALSE", "-CA", f"{directory}/ca.crt", "-CAkey",
                              f"{directory}/ca.key", "-keyout", f"{directory}/host.key", "-out", f"{directory}/host.crt"],
                       **quiet)

    def yaml(self, indent):
        return "".join(f"{' ' * indent}{key}: {self.directory}/{name}\n"
                       for key, name in (("caCert", "ca.crt"), ("cert", "host.crt"), ("key", "host.key")))


class Scheduler(Server):
    def __init__(self, directory):
        os.makedirs(directory)
        self.port = free_port()
        with open(f"{directory}/scheduler.yaml", "w") as f:
            f.write(f"server:\n  listenIP: 127.0.0.1\n  advertiseIP: 127.0.0.1\n  port: {self.port}\n"
                    f"  advertisePort: {self.port}\n  logDir: {directory}/log\n  dataDir: {directory}/data\n"
                    f"  cacheDir: {directory}/cache\n  pluginDir: {directory}/plugins\n")
        super().__init__([program("scheduler"), "--config", f"{directory}/scheduler.yaml", "--console"],
                         f"{directory}/out.log")
        await_("scheduler", lambda: accepts(self.port))


class Daemon(Server):
    def __init__(self, directory, scheduler, name, seed=False, protocol="tcp", tls=None):
        os.makedirs(directory)
        self.directory = directory
        self.socket = f"{directory}/dfdaemon.sock"
        self.metrics_port = free_port()
        self.proxy_port = free_port()
        health = free_port()
        triple = lambda indent: tls.yaml(indent) if tls else ""
        with open(f"{directory}/dfdaemon.yaml", "w") as f:
            f.write(f"host:\n  ip: 127.0.0.1\n  hostname: {name}\nscheduler:\n  addrs: ['127.0.0.1:{scheduler.port}']\n"
                    f"seedPeer:\n  enable: {str(seed).lower()}\ndownload:\n  protocol: {protocol}\n  rateLimit: 100GiB\n"
                    f"  server:\n    socketPath: {self.socket}\nupload:\n  rateLimit: 100GiB\n"
                    + (f"  client:\n{triple(4)}" if tls else "") +
                    f"  server:\n    ip: 127.0.0.1\n    port: 0\n{triple(4)}"
                    f"storage:\n  dir: {directory}/storage\n  server:\n    ip: 127.0.0.1\n    tcpPort: 0\n    quicPort: 0\n"
                    f"proxy:\n  rules: [{{regex: '\\.blob'}}]\n  server:\n    ip: 127.0.0.1\n    port: {self.proxy_port}\n"
                    f"health:\n  server:\n    ip: 127.0.0.1\n    port: {health}\n"
                    f"metrics:\n  server:\n    ip: 127.0.0.1\n    port: {self.metrics_port}\n")
        super().__init__([program("dfdaemon"), "--config", f"{directory}/dfdaemon.yaml", "--log-dir", f"{directory}/log",
                          "--log-level", "warn"], f"{directory}/out.log")
        await_(name, lambda: http_ok(health, "/healthy"))

    def traffic(self, kind):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines
                   if line.startswith("dragonfly_client_download_traffic") and f'type="{kind}"' in line)

    def load(self, url, **options):
        argv = [program("download_load"), "--socket", self.socket, "--url", url]
        for key, value in options.items():
            argv.append("--" + key)
            if value is not True:
                argv.append(str(value))
        return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)


def run_json(argv):
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def timed(argv):
    began = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def percentiles(samples):
    ordered = sorted(samples)
    return {"p50_ms": round(statistics.median(ordered) * 1000, 2),
            "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000, 2)}


def summary(samples):
    return {"median": round(statistics.median(samples), 4), "min": round(min(samples), 4), "max": round(max(samples), 4),
            "runs": len(samples)}


class Bench:
    def __init__(self, directory, runs):
        self.directory = directory
        self.runs = runs
        self.results = {}
        self.origin = Origin(self.sub("origin"))

    def sub(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def warm_up(self):
        """New guest memory is slow: write and delete more than a run needs."""
        path = os.path.join(self.directory, "warm")
        with open(path, "wb") as f:
            for _ in range(192):
                f.write(b"\0" * (1 << 24))
        os.unlink(path)

    def limit_once(self):
        return run_json([program("limit_bench"), "--dir", self.directory])

    def limit(self):
        self.warm_up()
        samples = [self.limit_once() for _ in range(self.runs + 1)][1:]
        return {"gib_per_s": summary([s["gib_per_s"] for s in samples]),
                "cpu_s_per_gib": summary([s["cpu_s_per_gib"] for s in samples])}

    def transfers(self, base, parents, protocol="tcp", tls=None, size=GIB, tasks=1):
        """From the parents, which have it, to one child; each run between two runs of the limit."""
        name = f"piece-{size}"
        self.origin.make(name, size)
        scheduler = Scheduler(f"{base}/scheduler")
        holders = []
        url = self.origin.url(name + ("?task=" if tasks > 1 else ""))
        many = {"count": tasks, "connections": tasks} if tasks > 1 else {"plain": True}
        total = size * tasks
        rate, cpu, rate_ratio, cpu_ratio, slowest = [], [], [], [], []
        child = None
        try:
            for i in range(parents):
                holders.append(Daemon(f"{base}/parent{i}", scheduler, f"parent{i}", tls=tls))
                holders[-1].load(url, **{**many, **({"connections": 4} if tasks > 1 else {})})
            child = Daemon(f"{base}/child", scheduler, "child", protocol=protocol, tls=tls)
            self.warm_up()
            limit = self.limit_once()
            for run in range(self.runs + 1):
                self.warm_up()
                before = sum(server.cpu() for server in holders + [child])
                bytes_before = child.traffic("REMOTE_PEER")
                figures = child.load(url, **many)
                used = sum(server.cpu() for server in holders + [child]) - before
                got = child.traffic("REMOTE_PEER") - bytes_before
                if got != total:
                    raise SystemExit(f"bench: the child took {got:.0f} bytes from its parents, not {total}")
                child.load(url, delete=True, **many)
                limit_before, limit = limit, self.limit_once()
                if run == 0:
                    continue
                gib = total / GIB
                seconds = figures["seconds"] if tasks > 1 else figures["p50_ms"] / 1000
                rate.append(gib / seconds)
                cpu.append(used / gib)
                slowest.append(figures["p99_ms"])
                rate_ratio.append(2 * gib / seconds / (limit_before["gib_per_s"] + limit["gib_per_s"]))
                cpu_ratio.append(2 * used / gib / (limit_before["cpu_s_per_gib"] + limit["cpu_s_per_gib"]))
            memory = {"parent": holders[0].memory(), "child": child.memory()}
        finally:
            for server in [child] * (child is not None) + holders + [scheduler]:
                server.stop()
            shutil.rmtree(base)
        result = {"gib_per_s": summary(rate), "cpu_s_per_gib": summary(cpu), "throughput_ratio": summary(rate_ratio),
                  "cpu_ratio": summary(cpu_ratio), "memory": memory}
        if tasks > 1:
            result["p99_ms"] = summary(slowest)
        return result

    def piece(self, protocol, tls=None):
        return self.transfers(self.sub(f"piece_{protocol}_{time.monotonic_ns()}"), 1, protocol, tls)

    def piece_tcp(self):
        return self.piece("tcp")

    def piece_quic(self):
        return self.piece("quic")

    def piece_grpc(self):
        return self.piece("grpc")

    def piece_grpc_tls(self):
        return self.piece("grpc", Certificates(os.path.join(self.directory, f"tls-{time.monotonic_ns()}")))

    def parents(self):
        """The scheduler names as many of them at a time as it does by default."""
        return {f"{count}": self.transfers(self.sub(f"parents_{count}_{time.monotonic_ns()}"), count, size=GIB // 2)
                for count in (1, 4, 16)}

    def tasks_100(self):
        return self.transfers(self.sub(f"tasks_{time.monotonic_ns()}"), 1, size=16 << 20, tasks=100)

    def dfget_cold(self):
        """dfget of 1 GiB against curl of the same file: by one peer alone, and through a fresh seed to a fresh peer."""
        base = self.sub(f"dfget_cold_{time.monotonic_ns()}")
        self.origin.make("cold", GIB)
        out = os.path.join(base, "out")
        figures = {"curl": [], "direct": [], "seed": []}
        ratios = {"direct": [], "seed": []}
        self.warm_up()

        def curl():
            seconds = timed(["curl", "-sS", "-o", out, self.origin.url("cold")])
            os.unlink(out)
            return seconds

        def dfget(kind, run):
            d = os.path.join(base, f"{kind}-{run}")
            scheduler = Scheduler(f"{d}/scheduler")
            servers = [Daemon(f"{d}/peer", scheduler, "peer")]
            if kind == "seed":
                servers.append(Daemon(f"{d}/seed", scheduler, "seed", seed=True))
            seconds = timed([program("dfget"), self.origin.url("cold"), "-O", out, "-e", servers[0].socket])
            source = sum(s.traffic("BACK_TO_SOURCE") for s in servers)
            for server in servers + [scheduler]:
                server.stop()
            os.unlink(out)
            shutil.rmtree(d)
            if source != GIB:
                raise SystemExit(f"bench: {source:.0f} bytes came from the origin, not {GIB}")
            return seconds

        for run in range(self.runs + 1):
            order = ["curl", "direct", "seed"]
            if run % 2:
                order.reverse()
            seconds = {kind: curl() if kind == "curl" else dfget(kind, run) for kind in order}
            if run == 0:
                continue
            for kind, value in seconds.items():
                figures[kind].append(value)
                if kind != "curl":
                    ratios[kind].append(value / seconds["curl"])
        shutil.rmtree(base)
        return {**{f"{kind}_s": summary(values) for kind, values in figures.items()},
                "direct_ratio": summary(ratios["direct"]), "seed_ratio": summary(ratios["seed"])}

    def small_files(self):
        base = self.sub(f"small_{time.monotonic_ns()}")
        scheduler = Scheduler(f"{base}/scheduler")
        seed = Daemon(f"{base}/seed", scheduler, "seed", seed=True)
        peer = Daemon(f"{base}/peer", scheduler, "peer")
        out = self.sub(f"{os.path.basename(base)}/out")
        result = {"process_start": percentiles([timed(["/bin/true"]) for _ in range(50)])}
        count = max(40, self.runs * 10)

        def dfget(url, index):
            return timed([program("dfget"), url, "-O", f"{out}/{index}", "-e", peer.socket])

        try:
            for name, size in (("1B", 1), ("64KiB", 64 << 10), ("1MiB", 1 << 20)):
                self.origin.make(name, size)
                cold = self.origin.url(f"{name}?cold=")
                warm = self.origin.url(f"{name}?warm=")
                result[f"curl_{name}"] = percentiles(
                    [timed(["curl", "-sS", "-o", f"{out}/curl", self.origin.url(name)]) for _ in range(count)])
                for mode, url in (("cold", cold), ("warm_seed", warm), ("warm_local", warm)):
                    if mode == "warm_seed":
                        seed.load(warm, count=count)
                    samples = [dfget(f"{url}{i}", f"{name}-{mode}-{i}") for i in range(count)]
                    result[f"dfget_{name}_{mode}"] = percentiles(samples[2:])
                rpc_cold, rpc_warm = self.origin.url(f"{name}?rpc_cold="), self.origin.url(f"{name}?rpc_warm=")
                seed.load(rpc_warm, count=count)
                for mode, url in (("cold", rpc_cold), ("warm_seed", rpc_warm), ("warm_local", rpc_warm)):
                    figures = peer.load(url, count=count, output=f"{out}/rpc-{name}-{mode}-")
                    result[f"rpc_{name}_{mode}"] = {k: round(figures[k], 2) for k in ("p50_ms", "p99_ms")}
            many = self.origin.url("64KiB?many=")
            for mode in ("cold", "warm"):
                figures = peer.load(many, count=2000, connections=16)
                result[f"files_per_s_{mode}"] = round(2000 / figures["seconds"], 1)
        finally:
            for server in (peer, seed, scheduler):
                server.stop()
            shutil.rmtree(base)
        return result

    def scheduler(self):
        return json.loads(subprocess.run([program("scheduler_bench")], check=True, stdout=subprocess.PIPE).stdout)

    def scheduler_load(self):
        """100 000 peers of 1000 tasks, 5000 open streams: memory, registrations, reports of pieces, the longest hold."""
        return json.loads(subprocess.run([program("scheduler_load")], check=True, stdout=subprocess.PIPE).stdout)

    def manager(self):
        return measure_manager(self.sub("manager"), self.runs)

    def proxy(self):
        """A stored file of 1 GiB through the proxy to curl against nginx's own, the first byte, and kept connections."""
        base = self.sub(f"proxy_{time.monotonic_ns()}")
        self.origin.make("1GiB.blob", GIB)
        scheduler = Scheduler(f"{base}/scheduler")
        peer = Daemon(f"{base}/peer", scheduler, "peer")
        curl = ["curl", "-sS", "-q", "-o", "/dev/null", "-w", "%{time_total} %{time_starttransfer}", "--noproxy", ""]
        through = curl + ["-x", f"http://127.0.0.1:{peer.proxy_port}"]

        def fetch(argv, name):
            out = subprocess.run(argv + [self.origin.url(name)], check=True, stdout=subprocess.PIPE).stdout
            return [float(value) for value in out.split()]

        def measured(argv, server):
            cpu = server.cpu()
            seconds = fetch(argv, "1GiB.blob")[0]
            return 1 / seconds, server.cpu() - cpu

        try:
            ways = {"proxy": (through, peer), "nginx": (curl, self.origin)}
            rates = {name: [] for name in ways}
            cpus = {name: [] for name in ways}
            for run in range(self.runs + 1):
                for name, (argv, server) in ways.items():
                    rate, cpu = measured(argv, server)
                    if run > 0:
                        rates[name].append(rate)
                        cpus[name].append(cpu)
            result = {}
            for name in ways:
                result[f"{name}_gib_s"] = summary(rates[name])
                result[f"{name}_cpu_s"] = summary(cpus[name])
            result["rate_of_nginx"] = round(result["proxy_gib_s"]["median"] / result["nginx_gib_s"]["median"], 2)
            if result["nginx_cpu_s"]["median"] > 0:
                result["cpu_of_nginx"] = round(result["proxy_cpu_s"]["median"] / result["nginx_cpu_s"]["median"], 2)

            # The first byte of what is not here, in turns.
            self.origin.make("8MiB.blob", 8 << 20)
            samples = {"direct": [], "uncached": [], "cached": []}
            for i in range(max(20, 4 * self.runs)):
                samples["direct"].append(fetch(curl, f"8MiB.blob?{i}")[1])
                samples["uncached"].append(fetch(through, f"8MiB.blob?{i}")[1])
                samples["cached"].append(fetch(through, f"8MiB.blob?{i}")[1])
            for name, values in samples.items():
                result[f"first_byte_{name}"] = percentiles(values[1:])

            before = peer.memory()["rss_mib"]
            connections = []
            request = f"HEAD {self.origin.url('8MiB.blob')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            for _ in range(2000):
                connection = socket.create_connection(("127.0.0.1", peer.proxy_port))
                connection.sendall(request)
                connection.recv(4096)
                connections.append(connection)
            result["kib_per_kept_connection"] = round((peer.memory()["rss_mib"] - before) * 1024 / len(connections), 1)
            for connection in connections:
                connection.close()
        finally:
            for server in (peer, scheduler):
                server.stop()
            shutil.rmtree(base)
        return result

    def persistent(self):
        """dfcache of 2 GiB, as a shell sees it: import by copy and by hard link against cp, with a CRC of the copy and its
        way to the disk; export from another host against the limit."""
        size = 2 * GIB
        base = self.sub(f"persistent_{time.monotonic_ns()}")
        source, copy, out = (os.path.join(base, name) for name in ("source", "copy", "out"))
        with open(source, "wb") as f:
            for _ in range(size >> 24):
                f.write(os.urandom(1 << 24))
            f.flush()
            os.fsync(f.fileno())
        scheduler = Scheduler(f"{base}/scheduler")
        daemons = [Daemon(f"{base}/{name}", scheduler, name) for name in ("importer", "exporter")]
        samples = {name: [] for name in (
            "cp_gib_per_s", "cp_crc_gib_per_s", "cp_crc_sync_gib_per_s", "copy_gib_per_s", "link_gib_per_s",
            "named_by_content_gib_per_s", "export_gib_per_s", "copy_to_cp_crc", "copy_to_cp_crc_sync", "link_to_cp",
            "named_to_cp_crc_sync", "export_to_limit")}
        serial = 0

        def dfcache(daemon, *arguments):
            return timed([program("dfcache"), *arguments, "--endpoint", daemon.socket])

        def imported(*options, named=True):
            """Seconds, and the id."""
            nonlocal serial
            serial += 1
            argv = [program("dfcache"), "import", source, "--persistent-replica-count", "1", "--endpoint",
                    daemons[0].socket, *options]
            if named:
                argv += ["--content-for-calculating-task-id", f"{base} {serial}"]
            began = time.monotonic()
            printed = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
            return time.monotonic() - began, printed.split()[-1]

        try:
            for run in range(self.runs + 1):
                self.warm_up()
                cp = timed(["cp", source, copy])
                crc = timed(["cksum", "--algorithm=crc", copy])
                sync = timed(["sync", "--data", copy])
                os.unlink(copy)
                self.warm_up()
                by_copy, id_ = imported()
                # From the copy to another host, between two runs of the limit.
                limit = self.limit_once()["gib_per_s"]
                before = daemons[1].traffic("REMOTE_PEER")
                self.warm_up()
                export = dfcache(daemons[1], "export", id_, "-O", out)
                got = daemons[1].traffic("REMOTE_PEER") - before
                if got != size:
                    raise SystemExit(f"bench: {got:.0f} bytes came from the other host, not {size}")
                limit = (limit + self.limit_once()["gib_per_s"]) / 2
                os.unlink(out)
                dfcache(daemons[0], "remove", id_)
                by_link, id_ = imported("--hard-link")
                dfcache(daemons[0], "remove", id_)
                self.warm_up()
                by_content, id_ = imported(named=False)
                dfcache(daemons[0], "remove", id_)
                if run == 0:
                    continue
                gib = size / GIB
                for name, value in (
                        ("cp_gib_per_s", gib / cp), ("cp_crc_gib_per_s", gib / (cp + crc)),
                        ("cp_crc_sync_gib_per_s", gib / (cp + crc + sync)), ("copy_gib_per_s", gib / by_copy),
                        ("link_gib_per_s", gib / by_link), ("named_by_content_gib_per_s", gib / by_content),
                        ("export_gib_per_s", gib / export), ("copy_to_cp_crc", (cp + crc) / by_copy),
                        ("copy_to_cp_crc_sync", (cp + crc + sync) / by_copy), ("link_to_cp", cp / by_link),
                        ("named_to_cp_crc_sync", (cp + crc + sync) / by_content),
                        ("export_to_limit", gib / export / limit)):
                    samples[name].append(value)
        finally:
            for server in daemons + [scheduler]:
                server.stop()
            shutil.rmtree(base)
        return {name: summary(values) for name, values in samples.items()}

    def memory(self):
        base = self.sub(f"memory_{time.monotonic_ns()}")
        self.origin.make("memory", GIB)
        scheduler = Scheduler(f"{base}/scheduler")
        servers = {"scheduler": scheduler, "seed": Daemon(f"{base}/seed", scheduler, "seed", seed=True),
                   "peer": Daemon(f"{base}/peer", scheduler, "peer")}
        try:
            result = {"idle": {name: server.memory() for name, server in servers.items()}}
            servers["peer"].load(self.origin.url("memory"), plain=True)
            self.origin.make("64KiB", 64 << 10)
            servers["peer"].load(self.origin.url("64KiB?memory="), count=1000, connections=8)
            result["end"] = {name: server.memory() for name, server in servers.items()}
        finally:
            for server in reversed(servers.values()):
                server.stop()
            shutil.rmtree(base)
        return result


class Postgres:
    """A PostgreSQL of one's own, with a database for a manager."""
    BIN = "/usr/lib/postgresql/15/bin"

    def __init__(self):
        # Not below the directory of the bench, where nobody else may go.
        self.directory = directory = tempfile.mkdtemp(prefix="dragonfly-bench-pg-")
        shutil.chown(directory, "postgres")
        self.port = free_port()
        data = f"{directory}/data"
        self.run(f"{self.BIN}/initdb -D {data} -U dragonfly -A trust")
        self.server = Server(["su", "postgres", "-c", f"exec {self.BIN}/postgres -D {data} -k {directory} "
                              f"-h 127.0.0.1 -p {self.port}"], f"{directory}.log")
        await_("PostgreSQL", lambda: accepts(self.port))
        self.psql("postgres", "CREATE DATABASE manager")

    @staticmethod
    def run(command):
        subprocess.run(["su", "postgres", "-c", command], check=True, stdout=subprocess.DEVNULL)

    def psql(self, database, sql):
        subprocess.run(["psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "dragonfly", "-d", database, "-c", sql],
                       check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        self.server.process.send_signal(signal.SIGINT)
        self.server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


MANAGER_ROWS = """
INSERT INTO peer (created_at, updated_at, is_del, host_name, type, idc, location, ip, port, download_port,
  object_storage_port, proxy_port, state, os, platform, platform_family, platform_version, kernel_version, git_version,
  git_commit, build_platform, scheduler_cluster_id)
SELECT now(), now(), 0, 'host-' || n, 'normal', 'idc-' || n % 7, 'area|country', '10.' || n / 65536 || '.' ||
  n / 256 % 256 || '.' || n % 256, 4000, 4001, 0, 4002, 'active', 'linux', 'debian', 'debian', '12', '6.1', 'v2.3.0',
  'abcdef0', 'linux/amd64', 1 FROM generate_series(1, 10000) n;
INSERT INTO job (created_at, updated_at, is_del, task_id, bio, type, state, args, result, user_id)
SELECT now() - n * interval '1 second', now(), 0, 'group_' || n, '', CASE n % 3 WHEN 0 THEN 'delete_task' ELSE 'preheat'
  END, 'SUCCESS', '{"type":"file","url":"https://origin.example/' || n || '","scope":"all_peers"}',
  '{"state":"SUCCESS","job_states":[]}', 1 FROM generate_series(1, 100000) n;
ANALYZE;
"""


def measure_manager(base, runs):
    """Lists and searches on a PostgreSQL with 10 000 peers and 100 000 jobs, alone and beside sign-ins."""
    os.makedirs(base, exist_ok=True)
    database = Postgres()
    rest = free_port()
    with open(f"{base}/manager.yaml", "w") as f:
        f.write(f"console: true\nserver: {{dataDir: {base}, grpc: {{listenIP: 127.0.0.1, port: {{start: {free_port()}}}}}, "
                f"rest: {{addr: '127.0.0.1:{rest}'}}}}\nauth: {{rootPassword: of-the-bench}}\ndatabase: {{postgres: "
                f"{{host: 127.0.0.1, user: dragonfly, port: {database.port}}}}}\n")
    manager = Server([program("manager"), "--config", f"{base}/manager.yaml"], f"{base}/manager.log")
    try:
        await_("the manager", lambda: http_ok(rest, "/healthy"))
        database.psql("manager", MANAGER_ROWS)
        request = urllib.request.Request(f"http://127.0.0.1:{rest}/api/v1/users/signin",
                                         data=b'{"name":"root","password":"of-the-bench"}')
        with urllib.request.urlopen(request) as answer:
            token = json.load(answer)["token"]
        time.sleep(5)
        result = {"idle": manager.memory()}
        for name, sign_ins in [("alone", 0), ("beside_sign_ins", 4)]:
            rows = []
            for run in range(runs + 1):
                before = manager.cpu()
                output = subprocess.run([program("manager_load"), "--port", str(rest), "--token", token, "--password",
                                         "of-the-bench", "--sign-ins", str(sign_ins), "--seconds", "5"],
                                        check=True, stdout=subprocess.PIPE).stdout
                if run == 0:
                    continue
                rows.append(json.loads(output))
                rows[-1]["cpu_ms_per_request"] = 1000 * (manager.cpu() - before) / (5 * rows[-1]["requests_per_s"])
            result[name] = {key: summary([row[key] for row in rows]) for key in rows[0]}
        result["end"] = manager.memory()
        return result
    finally:
        manager.stop()
        database.stop()


def print_table(results, indent=""):
    for name, value in results.items():
        if isinstance(value, dict) and "median" in value:
            print(f"{indent}{name:<28} {value['median']:>10.3f}   ({value['min']:.3f} .. {value['max']:.3f}, n={value['runs']})")
        elif isinstance(value, dict) and all(isinstance(v, (int, float)) for v in value.values()):
            print(f"{indent}{name:<28} " + "  ".join(f"{k} {v}" for k, v in value.items()))
        elif isinstance(value, dict):
            print(f"{indent}{name}")
            print_table(value, indent + "  ")
        else:
            print(f"{indent}{name:<28} {value}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(prog="bench/run.sh")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--runs", type=int, default=5, help="runs that count; one more is made first and dropped")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown name {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    names = [name for name in NAMES if not arguments.names or name in arguments.names]

    if not set_congestion_control("cubic"):
        raise SystemExit("bench: cannot set CUBIC in the namespace")
    machine = {"kernel": platform.release(), "cores": os.cpu_count(), "congestion_control": "cubic"}
    with open("/proc/cpuinfo") as f:
        machine["cpu"] = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "")
    directory = tempfile.mkdtemp(prefix="dragonfly-bench-")
    results = {"machine": machine}
    bench = None
    try:
        bench = Bench(directory, arguments.runs)
        print_table({"machine": machine})
        for name in names:
            results[name] = getattr(bench, name)()
            print_table({name: results[name]})
        transfers = [name for name in names if name in ("limit", "piece_tcp", "piece_grpc", "dfget_cold")]
        if transfers and set_congestion_control("bbr"):
            bench.runs = 1
            for name in transfers:
                results[f"{name}_bbr"] = getattr(bench, name)()
                print_table({f"{name}_bbr": results[f"{name}_bbr"]})
    finally:
        if bench is not None:
            bench.origin.stop()
        shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump(results, f, indent=2)


if __name__ == "__main__":
    main()
