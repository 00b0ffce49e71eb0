# docker build --tag ocr-model-service .
#
# deploy/compose.yaml and deploy/kubernetes/ show how to run the image. deploy/check_image.py builds and tests it
# without Docker. AsposeAI exists for x86-64 only: on other machines add --platform=linux/amd64.

# The engine needs glibc, libstdc++, libgcc and zlib of the base; every Debian with apt has them. No such base has
# OpenSSL 1.1 and llama.cpp: `python -m app provision` fetches them, as everywhere, and checks their digests.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# Which build of llama.cpp the image has: cpu, or vulkan, cuda or cuda12 for a GPU. docs/operations.md says what a GPU
# needs besides; for cuda and cuda12, PYTHON_IMAGE must also have the libraries of CUDA.
ARG LLAMA_RUNTIME=cpu

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /srv/ocr
COPY requirements.lock ./
# Only wheels: no compiler is needed, and no package runs its own code here. The base's pip installs; the venv has none.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock
COPY app app
# Unchecked, because copying may change the times of files, and files in an image are not edited.
RUN python -m compileall -q --invalidation-mode unchecked-hash app

FROM ${PYTHON_IMAGE} AS native
# Only the libraries of this stage are copied, and they are pinned.
# hadolint ignore=DL3008,DL3009
RUN apt-get update && apt-get install --yes --no-install-recommends npm
COPY --from=builder /opt/venv /opt/venv
WORKDIR /srv/ocr
COPY app app
ARG LLAMA_RUNTIME
RUN OCR_NATIVE_DIR=/opt/ocr/native /opt/venv/bin/python -m app provision --runtime "$LLAMA_RUNTIME"

FROM ${PYTHON_IMAGE}
# The base has no bytecode, and a read-only root cannot store any. Without this, every start would compile the imported
# modules of the standard library twice, in the service and in the engine process.
RUN python -m compileall -q -x '/(site-packages|tests?)/' "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && install --directory --owner=10001 --group=10001 /data
ARG LLAMA_RUNTIME
# The loader of Vulkan, and the drivers for AMD and Intel. NVIDIA's container toolkit brings NVIDIA's driver.
# hadolint ignore=DL3008
RUN if [ "$LLAMA_RUNTIME" = vulkan ]; then apt-get update \
    && apt-get install --yes --no-install-recommends libvulkan1 mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/*; fi
WORKDIR /srv/ocr
COPY LICENSE ./
# The guides, which the service shows at /guides: app/api/docs/guides is a link to this folder.
COPY docs docs
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /srv/ocr/app app
COPY --from=native /opt/ocr/native /opt/ocr/native

# The service writes only below /data, so the root file system may be read-only and needs no tmpfs.
# OCR_HOST makes the port reachable from outside the container. With it the service does not start until
# OCR_API_KEYS_FILE names a file of keys, or OCR_ALLOW_ANONYMOUS=true allows every client. Neither is set here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OCR_HOST=0.0.0.0 \
    OCR_PORT=8000 \
    OCR_MODELS_DIR=/data/models \
    OCR_STATE_DIR=/data/state \
    OCR_NATIVE_DIR=/opt/ocr/native
# A number, for Kubernetes' runAsNonRoot; the user has no name and no home.
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# /livez, not /readyz: a container must not be restarted because its engine restarts.
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s CMD ["python", "-c", "import http.client as h, os; a = os.environ['OCR_HOST']; c = h.HTTPConnection('127.0.0.1' if a in ('0.0.0.0', '::') else a, os.environ['OCR_PORT'], timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app", "serve"]

ARG VERSION=unknown
LABEL org.opencontainers.image.title="OCR model service" \
      org.opencontainers.image.description="One long-lived AsposeAI and its model files, over HTTP." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT AND OpenSSL AND LicenseRef-Aspose"
