#!/usr/bin/env bash
# Everything that deploy/Containerfile says, as a script in folders of its own: its COPY and RUN lines in full (all
# packages are installed from their registries), then its ENTRYPOINT with its CMD on an index of the bundled sample, its
# HEALTHCHECK, and its STOPSIGNAL. Users are left out: those are the system's.
#
#   benchmarks/containerfile.sh            # from anywhere; takes minutes and 2 GB in TMPDIR
#   TORCH_INDEX= benchmarks/containerfile.sh    # torch from where pip is configured to look
set -euo pipefail
cd "$(dirname "$0")/.."
file=deploy/Containerfile
python=${PYTHON:-python3}
root=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$root"' EXIT
mkdir "$root/src"

# INSTRUCTION -> its lines, each joined where it goes on after a backslash
lines() { grep -v '^#' "$file" | sed -e ':a' -e '/\\$/N; s/\\\n//; ta' | sed -n "s/^ *$1 //p"; }
# A JSON list -> its words, quoted for the shell
words() { "$python" -c 'import json, shlex, sys; print(shlex.join(json.loads(sys.argv[1])))' "$1"; }

lines COPY | while read -r line; do
    # shellcheck disable=SC2086
    cp -r ${line% *} "$root/src/"
done
lines RUN | while IFS= read -r step; do
    step=${step//\/opt\/embedsearch/$root\/opt}
    if [ "${TORCH_INDEX-unset}" = "" ]; then step=${step/--index-url https:\/\/download.pytorch.org\/whl\/cpu/}; fi
    case $step in useradd*) echo "left out: $step"; continue ;; esac
    echo "+ $step"
    (cd "$root/src" && PATH="$(dirname "$("$python" -c 'import sys; print(sys.executable)')"):$PATH" sh -euc "$step")
done

export PATH="$root/opt/bin:$PATH" HF_HUB_OFFLINE=1 EMBEDSEARCH_INDEX="$root/index/current" EMBEDSEARCH_API_KEY=only-here
cd "$root"
embedsearch build-index --index "$root/index/first"
ln -s first "$root/index/current"
port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd - >/dev/null
start="$(words "$(lines ENTRYPOINT)") $(words "$(lines CMD)")"
start=${start/0.0.0.0/127.0.0.1}
echo "+ ${start/8000/$port}"
(cd "$root" && exec ${start/8000/$port}) &
server=$!
check=$(lines HEALTHCHECK | sed 's/.*CMD //')
check=$(words "${check//8000/$port}")
for _ in $(seq 120); do
    if eval "$check" 2>/dev/null; then healthy=yes; break; fi
    sleep 0.5
done
echo "healthy: ${healthy:-no}"
curl -fsS -H 'Authorization: Bearer only-here' "http://127.0.0.1:$port/v1/search?q=dust+in+spiral+arms&k=1"
echo
kill -s "$(lines STOPSIGNAL)" "$server"
code=0
wait "$server" || code=$?
server=
echo "exit code after $(lines STOPSIGNAL): $code"
[ "${healthy:-no}" = yes ] && [ "$code" = 0 ]
