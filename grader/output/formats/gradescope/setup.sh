#!/usr/bin/env bash
# Gradescope runs this as root in /autograder/source while it builds the image: Python, bubblewrap, what grading needs.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
environment="${DDPM_GRADER_ENV:-/opt/ddpm-grader}"
export DEBIAN_FRONTEND=noninteractive

find_python() {
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

install() {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"
}

if ! find_python >/dev/null; then
    install python3.11 python3.11-venv || install python3 python3-venv
fi
python="$(find_python)" || { echo "Python 3.11 or newer is needed: choose a newer base image" >&2; exit 1; }
# Where it is missing, or not allowed to make namespaces, the weaker sandbox takes over; results say so.
command -v bwrap >/dev/null || install bubblewrap || echo "bubblewrap could not be installed" >&2

if [ -f "$here/pip.conf" ]; then
    export PIP_CONFIG_FILE="$here/pip.conf"
fi
"$python" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c "$here/constraints.txt" -r "$here/requirements.txt"
chmod -R go-rwx "$here"  # the answers: student code runs as another user
