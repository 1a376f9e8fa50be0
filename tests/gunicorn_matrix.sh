#!/usr/bin/env bash
# Runs the tests of the gunicorn worker on several versions of gunicorn, each in a virtual environment that is thrown
# away: the packages of the one that runs this, with another gunicorn before its own.
#
#   PYTHON=.venv/bin/python tests/gunicorn_matrix.sh [VERSION...]
set -euo pipefail
cd "$(dirname "$0")"

python="${PYTHON:-python3}"
versions=("$@")
[ "${#versions[@]}" -gt 0 ] || versions=(22.0 23.0 25.0 27.0)
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
failed=()
for version in "${versions[@]}"; do
    "$python" -m venv "$scratch/$version"
    environment="$scratch/$version/bin/python"
    "$python" -c 'import site; print(f"import site; list(map(site.addsitedir, {site.getsitepackages()}))")' \
        >"$("$environment" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"
    "$environment" -m pip install --quiet --disable-pip-version-check --ignore-installed "gunicorn~=$version"
    echo "== $("$environment" -m gunicorn --version)"
    "$environment" -m pytest -q -p no:cacheprovider gunicorn || failed+=("$version")
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed with: ${failed[*]}" >&2
    exit 1
fi
