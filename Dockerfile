# docker build --tag ocr-model-service .
#
# `make image` does the same and fills the labels. docs/container.md has the arguments, the size by parts and the SBOM,
# deploy/compose.yaml and deploy/kubernetes/ show how to run the image, and deploy/check_image.py builds and tests it
# without Docker. AsposeAI exists for x86-64 only: on other machines add --platform=linux/amd64.
#
# The stages are ordered by how often their inputs change: a changed line in app/ repeats only the stage `application`
# and the last COPY.

# The engine needs glibc, libstdc++, libgcc and zlib of the base; every Debian with apt has them. No such base has
# OpenSSL 1.1 and llama.cpp: the stage `native` fetches them and checks their digests. `make pin-base` adds the base's
# digest to this line, and a build with RELEASE=true refuses a base without a digest.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# Which build of llama.cpp the image has: cpu, or vulkan, cuda or cuda12 for a GPU. docs/operations.md says what a GPU
# needs besides; for cuda and cuda12, PYTHON_IMAGE must also have the libraries of CUDA.
ARG LLAMA_RUNTIME=cpu

FROM ${PYTHON_IMAGE} AS native
# Only the libraries of this stage are copied, and they are pinned.
# hadolint ignore=DL3008,DL3009
RUN apt-get update && apt-get install --yes --no-install-recommends npm
WORKDIR /srv/ocr
COPY app/__init__.py app/
COPY app/engine/__init__.py app/engine/
COPY app/engine/native app/engine/native
ARG LLAMA_RUNTIME
RUN python -m app.engine.native /opt/ocr/native "$LLAMA_RUNTIME"

FROM ${PYTHON_IMAGE} AS packages
ARG PYTHON_IMAGE
ARG RELEASE=false
RUN case "$RELEASE:$PYTHON_IMAGE" in true:*@sha256:*) ;; true:*) \
    echo "A release needs PYTHON_IMAGE with a digest (name:tag@sha256:...), and this is $PYTHON_IMAGE: run make pin-base" >&2; exit 1 ;; esac
WORKDIR /srv/ocr
COPY requirements.lock requirements-sbom.lock ./
# Only wheels: no compiler is needed, and no package runs its own code here. The base's pip installs; the venv has none.
# The venv in /opt/sbom is for this stage only.
RUN python -m venv --without-pip /opt/venv && python -m venv --without-pip /opt/sbom \
    && python -m pip --python /opt/venv install --no-cache-dir --no-compile --only-binary=:all: --require-hashes -r requirements.lock \
    && python -m pip --python /opt/sbom install --no-cache-dir --no-compile --only-binary=:all: --require-hashes -r requirements-sbom.lock
COPY deploy/trim_packages.py deploy/make_sbom.py deploy/
# Unchecked hashes instead of times, so that two builds from one lock file have the same bytecode.
# The command of the package, which is not installed itself.
RUN python deploy/trim_packages.py /opt/venv/lib/python3.11/site-packages \
    && printf '#!/opt/venv/bin/python\nimport sys\n\nsys.path.insert(0, "/srv/ocr")\nfrom app.__main__ import main\n\nmain()\n' \
        >/opt/venv/bin/ocr-models && chmod 755 /opt/venv/bin/ocr-models \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib
COPY app/__init__.py app/
COPY --from=native /opt/ocr/native /opt/ocr/native
RUN /opt/sbom/bin/python deploy/make_sbom.py /opt/venv/bin/python requirements.lock /opt/ocr/native /opt/ocr/sbom.cdx.json

FROM ${PYTHON_IMAGE} AS application
WORKDIR /srv/ocr
COPY LICENSE ./
COPY app app
# The guides, which the service shows at /guides: app/api/docs/guides is a link to this folder.
COPY docs docs
# Unchecked, because copying may change the times of files, and files in an image are not edited. The rights are those
# of a checkout with umask 022: with 077 the user of the service could not read the files.
RUN python -m compileall -q --invalidation-mode unchecked-hash app && chmod -R u=rwX,go=rX .

FROM ${PYTHON_IMAGE}
# The base has no bytecode, and a read-only root cannot store any. Without this, every start would compile the imported
# modules of the standard library twice, in the service and in the engine process.
# A new volume gets the owner and the rights of /data. The group is root's, which `docker run --user NUMBER` gives to a
# user without a name, so any such user can write.
RUN python -m compileall -q -x '/(site-packages|tests?)/' "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && install --directory --owner=10001 --group=0 --mode=775 /data
ARG LLAMA_RUNTIME
# The loader of Vulkan, and the drivers for AMD and Intel. NVIDIA's container toolkit brings NVIDIA's driver.
# hadolint ignore=DL3008
RUN if [ "$LLAMA_RUNTIME" = vulkan ]; then apt-get update \
    && apt-get install --yes --no-install-recommends libvulkan1 mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/*; fi
WORKDIR /srv/ocr
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /opt/ocr /opt/ocr
COPY --from=application /srv/ocr ./

# The service writes only below /data, so the root file system may be read-only and needs no tmpfs.
# OCR_HOST makes the port reachable from outside the container. With it the service does not start until
# OCR_API_KEYS_FILE names a file of keys, or OCR_ALLOW_ANONYMOUS=true allows every client. Neither is set here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OCR_HOST=0.0.0.0 \
    OCR_PORT=8000 \
    OCR_MODELS_DIR=/data/models \
    OCR_STATE_DIR=/data/state \
    OCR_NATIVE_DIR=/opt/ocr/native \
    OCR_SBOM_FILE=/opt/ocr/sbom.cdx.json
# A number, for Kubernetes' runAsNonRoot; the user has no name and no home.
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "app", "healthcheck"]
CMD ["python", "-m", "app", "serve"]

ARG PYTHON_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="OCR model service" \
      org.opencontainers.image.description="One long-lived AsposeAI and its model files, over HTTP." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.licenses="MIT AND OpenSSL AND LicenseRef-Aspose"
