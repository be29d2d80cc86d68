#!/bin/sh
# uv with what the building host says about its package mirror (Dockerfile, build secrets `ca` and `hostenv`).
set -eu
if [ -e /run/hostenv ]; then . /run/hostenv; fi
export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
export UV_LINK_MODE=copy UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never
exec /opt/tools/bin/uv "$@"
