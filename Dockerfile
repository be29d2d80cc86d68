# Targets: operator, triton-cpu, triton, tiny-model.
#
# `rootfs` is Debian bookworm with hack/localcluster/rootfs.packages. A build that cannot pull images replaces it
# by a folder (`--build-context rootfs=DIR`), as hack/localcluster does. Two optional build secrets serve hosts
# with their own package mirror: `ca` (a bundle of certificates) and `hostenv` (a shell file with PIP_*, UV_* and
# *_PROXY variables); neither reaches an image.
ARG TRITON_VERSION=26.07

# --- Debian ----------------------------------------------------------------------------------------------------

FROM debian:bookworm-slim AS rootfs
COPY hack/localcluster/rootfs.packages /tmp/packages
RUN apt-get update && grep -v '^#' /tmp/packages | xargs apt-get install -y --no-install-recommends \
    && rm -rf /tmp/packages /var/lib/apt/lists/*

FROM scratch AS debian
COPY --from=rootfs / /

# What no image needs.
FROM debian AS slim
RUN rm -rf /var/cache/apt /var/lib/apt/lists/* /var/log/* /usr/share/locale /usr/share/man /usr/share/info \
        /usr/share/doc-base /usr/share/lintian \
    && find /usr/share/doc -type f ! -name copyright -delete \
    && find /usr/lib/python3* -name __pycache__ -prune -exec rm -rf {} + \
    && mkdir -p /models /source /adapters /cache /tmp && chmod 1777 /tmp

FROM scratch AS locks
COPY hack/images/ /

# The installer; it stays out of every image.
FROM debian AS tools
RUN --mount=type=bind,from=locks,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=hostenv,target=/run/hostenv \
    --mount=type=cache,target=/root/.cache/pip \
    if [ -e /run/hostenv ]; then . /run/hostenv; fi; \
    python3 -m venv /opt/tools && /opt/tools/bin/pip install --quiet --require-hashes -r /locks/tools.lock \
    && cp /locks/uv.sh /opt/tools/bin/uv.sh

# --- The operator ----------------------------------------------------------------------------------------------

FROM tools AS operator-build
ENV UV_PROJECT_ENVIRONMENT=/opt/vllm-operator
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=hostenv,target=/run/hostenv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/tools/bin/uv.sh sync --frozen --no-dev --no-install-project --compile-bytecode
COPY operator operator
# Made anew: uv takes the wheel in its cache for current as long as pyproject.toml is the same.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=hostenv,target=/run/hostenv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/tools/bin/uv.sh sync --frozen --no-dev --no-editable --compile-bytecode \
        --reinstall-package vllm-operator \
    && find /opt/vllm-operator -type d -name tests -prune -exec rm -rf {} +

# Python and what it links to, without a shell or a package manager.
FROM debian AS operator-root
RUN mkdir -p /small/usr/bin /small/usr/sbin /small/usr/lib /small/usr/lib64 /small/tmp && chmod 1777 /small/tmp \
    && for name in bin sbin lib lib64; do ln -s usr/$name /small/$name; done \
    && dpkg -L base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libdb5.3 libexpat1 libffi8 libgcc-s1 liblzma5 \
        libpython3.11-minimal libpython3.11-stdlib libsqlite3-0 libssl3 libstdc++6 libuuid1 media-types \
        python3.11-minimal python3-minimal zlib1g \
    | sort -u | while read -r path; do if [ ! -d "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done > /tmp/files \
    && tar -cf - --ignore-failed-read -T /tmp/files /etc/ssl/certs/ca-certificates.crt /etc/ld.so.cache 2>/dev/null \
    | tar -xf - -C /small --keep-directory-symlink \
    && rm -rf /small/usr/share/man /small/usr/share/lintian /small/usr/share/info \
    && find /small -name __pycache__ -prune -exec rm -rf {} + \
    && ln -sf python3.11 /small/usr/bin/python3 \
    && echo 'vllm-operator:x:65532:65532::/tmp:/nonexistent' > /small/etc/passwd \
    && echo 'vllm-operator:x:65532:' > /small/etc/group

FROM scratch AS operator
COPY --from=operator-root /small/ /
COPY --from=operator-build /opt/vllm-operator /opt/vllm-operator
ENV PATH=/opt/vllm-operator/bin:/usr/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=vllm-operator
USER 65532:65532
ENTRYPOINT ["vllm-operator"]
CMD ["run"]

# --- Triton and vLLM without a GPU -----------------------------------------------------------------------------

# NVIDIA's wheel of Triton, in the layout of NVIDIA's images.
FROM tools AS tritonserver
RUN --mount=type=bind,from=locks,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=hostenv,target=/run/hostenv \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/tools/bin/uv.sh pip install --quiet --no-deps --require-hashes --target /wheel \
        -r /locks/tritonserver.lock \
    && root=/opt/tritonserver wheel=/wheel/pytriton/tritonserver \
    && mkdir -p $root/bin $root/backends/vllm \
    && mv $wheel/bin/tritonserver $root/bin/ \
    && mv $wheel/backends/python $root/backends/python \
    && mv $wheel/python_backend_stubs/3.11/triton_python_backend_stub $root/backends/python/ \
    && mv /wheel/nvidia_pytriton.libs $root/lib \
    && rm -f $root/lib/libpython3-*.so* \
    && mv /wheel/nvidia_pytriton-*.dist-info/licenses $root/licenses \
    && chmod 755 $root/bin/tritonserver $root/backends/python/triton_python_backend_stub \
    && echo 2.51.0 > $root/TRITON_VERSION

# Without anything of ours: a change of ours makes no model anew.
FROM slim AS triton-cpu-base
COPY --from=tritonserver /opt/tritonserver /opt/tritonserver
RUN --mount=type=bind,from=locks,target=/locks \
    --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=hostenv,target=/run/hostenv \
    --mount=type=cache,target=/root/.cache/uv \
    packages=/usr/local/lib/python3.11/dist-packages \
    && /opt/tools/bin/uv.sh pip install --quiet --no-deps --require-hashes --target $packages \
        -r /locks/triton-cpu.lock \
    && sh /locks/trim.sh $packages \
    && { python3 -m compileall -q -j 0 /usr/lib/python3.11 $packages > /dev/null || true; } \
    && rm -rf /tmp/* \
    && echo 'triton:x:1000:1000::/cache/home:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'triton:x:1000:' >> /etc/group

FROM triton-cpu-base AS triton-cpu
COPY runtime/triton_runtime /opt/triton-runtime/triton_runtime
COPY backend/model.py /opt/tritonserver/backends/vllm/model.py
COPY backend/vllm_triton /opt/tritonserver/backends/vllm/vllm_triton
RUN python3 -m compileall -q /opt/triton-runtime /opt/tritonserver/backends/vllm
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    LD_LIBRARY_PATH=/opt/tritonserver/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/triton-runtime \
    PYTHONUNBUFFERED=1 \
    TRITON_SERVER_VERSION=2.51.0 \
    VLLM_CPU_KVCACHE_SPACE=1
USER 1000:1000
EXPOSE 8000 8001 8002 8003
ENTRYPOINT ["python3", "-P", "-m", "triton_runtime"]

# --- Triton and vLLM on GPUs -----------------------------------------------------------------------------------

# NVIDIA's own start script is not used: all that it adds is a banner and links in a file system that is read-only.
FROM nvcr.io/nvidia/tritonserver:${TRITON_VERSION}-vllm-python-py3 AS triton
USER root
RUN rm -rf /opt/tritonserver/backends/vllm && mkdir -p /models /source /adapters /cache
COPY runtime/triton_runtime /opt/triton-runtime/triton_runtime
COPY backend/model.py /opt/tritonserver/backends/vllm/model.py
COPY backend/vllm_triton /opt/tritonserver/backends/vllm/vllm_triton
RUN python3 -m compileall -q /opt/triton-runtime /opt/tritonserver/backends/vllm
ENV LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/triton-runtime PYTHONUNBUFFERED=1
USER 1000:1000
EXPOSE 8000 8001 8002 8003
ENTRYPOINT ["python3", "-P", "-m", "triton_runtime"]

# --- A model for tests and the demo ----------------------------------------------------------------------------

FROM triton-cpu-base AS tiny-model-build
COPY hack/tinymodel /src
RUN HOME=/tmp python3 /src/make_tiny_model.py /model

FROM scratch AS tiny-model
COPY --from=tiny-model-build /model/ /
