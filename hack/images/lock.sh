#!/bin/sh
# Writes the locks beside this file from the *.in files: exact versions with hashes, for Python 3.11 on x86-64.
set -eu
cd "$(dirname "$0")"
compile() {
    out=$1
    shift
    uv pip compile --quiet --no-header --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
        --generate-hashes --only-binary :all: --output-file "$out" "$@"
}
compile tools.lock tools.in
compile tritonserver.lock --no-deps tritonserver.in
compile triton-cpu.lock --override triton-cpu.overrides triton-cpu.in
