# docker build --tag ocr-model-service .
#
# How to run it is in deploy/compose.yaml and deploy/kubernetes/; deploy/check_image.py builds and tries it without
# Docker. AsposeAI exists for x86-64 only: elsewhere add --platform=linux/amd64.

# The engine needs glibc, libstdc++, libgcc and zlib of the base; every Debian with apt on it has them. OpenSSL 1.1 and
# llama.cpp, which no such base has, are brought by the same command as everywhere, checked against the same digests.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /srv/ocr
COPY requirements.lock ./
# Only wheels, so no compiler is needed, and no package runs code of its own here. The base's pip serves; the venv has none.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock
COPY app app
# Unchecked, because copying may change the times of files; nobody edits them in an image.
RUN python -m compileall -q --invalidation-mode unchecked-hash app

FROM ${PYTHON_IMAGE} AS native
# Of this stage only the libraries remain, and they are pinned.
# hadolint ignore=DL3008,DL3009
RUN apt-get update && apt-get install --yes --no-install-recommends npm
COPY --from=builder /opt/venv /opt/venv
WORKDIR /srv/ocr
COPY app app
RUN OCR_NATIVE_DIR=/opt/ocr/native /opt/venv/bin/python -m app provision

FROM ${PYTHON_IMAGE}
# The base comes without bytecode, and a read-only root cannot keep any: every start would compile what it imports of
# the standard library, twice, in the service and in its engine process.
RUN python -m compileall -q -x '/(site-packages|tests?)/' "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && install --directory --owner=10001 --group=10001 /data
WORKDIR /srv/ocr
COPY LICENSE ./
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /srv/ocr/app app
COPY --from=native /opt/ocr/native /opt/ocr/native

# Nothing outside /data is written to, so the root file system may be read-only and needs no tmpfs.
# OCR_HOST is what makes the port reachable from outside the container. It also makes the service refuse to start
# until OCR_API_KEYS_FILE names a file of keys; OCR_ALLOW_ANONYMOUS=true instead lets everybody in. Neither is set here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OCR_HOST=0.0.0.0 \
    OCR_PORT=8000 \
    OCR_MODELS_DIR=/data/models \
    OCR_STATE_DIR=/data/state \
    OCR_NATIVE_DIR=/opt/ocr/native
# A number, for Kubernetes' runAsNonRoot; it has no name and no home.
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Alive, not ready: a container must not be restarted because its engine is.
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', os.environ['OCR_PORT'], timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app", "serve"]

ARG VERSION=unknown
LABEL org.opencontainers.image.title="OCR model service" \
      org.opencontainers.image.description="One long-lived AsposeAI and its model files, over HTTP." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT AND OpenSSL AND LicenseRef-Aspose"
