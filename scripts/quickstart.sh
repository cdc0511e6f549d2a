#!/usr/bin/env bash
# From a fresh clone to a file that went through a cluster: installs packages, builds, starts a scheduler, a seed peer and
# two peers on this machine, downloads a file on both peers and shows who gave what to whom.
#
#   scripts/quickstart.sh [--keep] [URL]
#
# Without a URL it makes a file of 1 GiB and serves it from an nginx of its own on the loopback interface.
# --keep leaves the cluster running and says how to use it; otherwise nothing stays behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep=no url=
for argument in "$@"; do
  case $argument in
    --keep) keep=yes ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "quickstart: unknown option $argument" >&2; exit 2 ;;
    *) url=$argument ;;
  esac
done

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

step "Packages"
scripts/install-packages.sh

step "Build (release)"
cmake --preset release > /dev/null
cmake --build build/release -j "$(nproc)" --target dfdaemon dfget scheduler dragonfly | tail -n 1
bin=$PWD/build/release/bin

data=$(mktemp -d "${TMPDIR:-/tmp}/dragonfly-quickstart-XXXXXX")
pids=()
finish() {
  local status=$?
  if [ "$keep" = yes ] && [ "$status" -eq 0 ]; then return; fi
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  [ "$status" -eq 0 ] || { echo "quickstart failed; logs of the programs:" >&2; tail -n 5 "$data"/*/*.out >&2 || true; }
  rm -rf "$data"
}
trap finish EXIT

# A TCP port that nobody listens on.
declare -A taken=()
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    [ -z "${taken[$port]:-}" ] && ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  done
  taken[$port]=1
  printf -v "$1" %s "$port"
}

# await WHAT COMMAND...: waits at most 30 s until the command succeeds.
await() {
  local what=$1 tries=0; shift
  until "$@" > /dev/null 2>&1; do
    [ $((++tries)) -lt 300 ] || { echo "quickstart: $what did not come up" >&2; exit 1; }
    sleep 0.1
  done
}

# start NAME COMMAND...: runs a program in the background with its output in $data/NAME/NAME.out.
start() {
  local name=$1; shift
  mkdir -p "$data/$name"
  "$@" > "$data/$name/$name.out" 2>&1 &
  pids+=($!)
}

free_port scheduler_port
step "Cluster in $data"
mkdir -p "$data/scheduler"
cat > "$data/scheduler/scheduler.yaml" <<YAML
server:
  listenIP: 127.0.0.1
  advertiseIP: 127.0.0.1
  port: $scheduler_port
  advertisePort: $scheduler_port
  logDir: $data/scheduler/log
  dataDir: $data/scheduler/data
  cacheDir: $data/scheduler/cache
  pluginDir: $data/scheduler/plugins
YAML
start scheduler "$bin/scheduler" --config "$data/scheduler/scheduler.yaml" --console
await scheduler bash -c "exec 3<>/dev/tcp/127.0.0.1/$scheduler_port"
echo "scheduler  127.0.0.1:$scheduler_port"

declare -A health metrics
start_peer() {
  local name=$1 seed=$2
  free_port "health[$name]"
  free_port "metrics[$name]"
  mkdir -p "$data/$name"
  cat > "$data/$name/dfdaemon.yaml" <<YAML
host:
  ip: 127.0.0.1
  hostname: $name
scheduler:
  addrs: ["127.0.0.1:$scheduler_port"]
seedPeer:
  enable: $seed
download:
  server:
    socketPath: $data/$name/dfdaemon.sock
upload:
  server:
    ip: 127.0.0.1
    port: 0
storage:
  dir: $data/$name/storage
  server:
    ip: 127.0.0.1
    tcpPort: 0
    quicPort: 0
proxy:
  server:
    ip: 127.0.0.1
    port: 0
health:
  server:
    ip: 127.0.0.1
    port: ${health[$name]}
metrics:
  server:
    ip: 127.0.0.1
    port: ${metrics[$name]}
YAML
  start "$name" "$bin/dfdaemon" --config "$data/$name/dfdaemon.yaml" --log-dir "$data/$name/log"
  await "$name" curl -fsS --noproxy '*' "http://127.0.0.1:${health[$name]}/healthy"
  echo "$name  $data/$name/dfdaemon.sock"
}
start_peer seed true
start_peer peer-1 false
start_peer peer-2 false

access_log=
if [ -z "$url" ]; then
  step "Origin: nginx with a file of 1 GiB"
  free_port origin_port
  mkdir -p "$data/origin/www"
  access_log=$data/origin/access.log
  head -c 1G /dev/urandom > "$data/origin/www/file.bin"
  cat > "$data/origin/nginx.conf" <<NGINX
daemon off; master_process off; worker_processes 1; $([ "$(id -u)" -eq 0 ] && echo 'user root;')
error_log $data/origin/error.log; pid $data/origin/nginx.pid;
events { worker_connections 1024; }
http {
  log_format bytes '\$http_range \$body_bytes_sent';
  access_log $access_log bytes;
  client_body_temp_path $data/origin/body; proxy_temp_path $data/origin/proxy; fastcgi_temp_path $data/origin/fastcgi;
  uwsgi_temp_path $data/origin/uwsgi; scgi_temp_path $data/origin/scgi;
  sendfile on;
  server { listen 127.0.0.1:$origin_port; root $data/origin/www; }
}
NGINX
  start origin "$(command -v nginx || echo /usr/sbin/nginx)" -p "$data/origin" -c "$data/origin/nginx.conf"
  url=http://127.0.0.1:$origin_port/file.bin
  await origin curl -fsS --noproxy '*' -o /dev/null -r 0-0 "$url"
  : > "$access_log"
fi
echo "$url"

# metric NAME LABEL: a counter of a peer, summed over its series with that label.
metric() {
  curl -fsS --noproxy '*' "http://127.0.0.1:${metrics[$1]}/metrics" |
    awk -v label="type=\"$2\"" '/^dragonfly_client_download_traffic/ && index($0, label) { sum += $NF } END { printf "%.0f", sum }'
}

declare -A seconds digest
mkdir -p "$data/out"
for name in peer-1 peer-2; do
  step "dfget on $name"
  began=$(date +%s.%N)
  "$bin/dfget" "$url" --output "$data/out/$name" --endpoint "$data/$name/dfdaemon.sock"
  seconds[$name]=$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
done

step "Who got what from whom"
stored=$(find "$data/seed/storage/content/tasks" -type f | head -n 1)
digest[seed]=$(sha256sum < "$stored" | cut -c1-16)
for name in peer-1 peer-2; do digest[$name]=$(sha256sum < "$data/out/$name" | cut -c1-16); done
seconds[seed]=-
printf '%-8s %14s %9s %14s %14s  %s\n' host bytes seconds "from origin" "from peers" "SHA-256"
for name in seed peer-1 peer-2; do
  file=$data/out/$name
  [ "$name" = seed ] && file=$stored
  printf '%-8s %14s %9s %14s %14s  %s...\n' "$name" "$(stat -c %s "$file")" "${seconds[$name]}" \
    "$(metric "$name" BACK_TO_SOURCE)" "$(metric "$name" REMOTE_PEER)" "${digest[$name]}"
done
equal=yes
[ "${digest[seed]}" = "${digest[peer-1]}" ] && [ "${digest[seed]}" = "${digest[peer-2]}" ] || equal=no
if [ -n "$access_log" ]; then
  # nginx writes the line of a request when its last byte has left.
  sent=$(awk '$1 != "bytes=0-0" { sum += $2 } END { printf "%.0f", sum }' "$access_log")
  echo
  echo "nginx sent $sent bytes of a file of $(stat -c %s "$data/origin/www/file.bin"), once for three hosts."
fi
echo "Digests equal: $equal"
[ "$equal" = yes ]

if [ "$keep" = yes ]; then
  cat <<TEXT

The cluster keeps running. Try
  $bin/dfget URL --output FILE --endpoint $data/peer-1/dfdaemon.sock
  curl http://127.0.0.1:${metrics[peer-1]}/metrics
Another peer joins with a configuration like $data/peer-1/dfdaemon.yaml:
  $bin/dfdaemon --config FILE
Stop it and remove its data with
  kill ${pids[*]}; rm -rf $data
TEXT
  disown -a
fi
