# What predicts, without PyTorch: `changedet predict` with exported models (.onnx) and with the methods
# that need no training. How to use it: docs/deploy.md.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# onnx or openvino.
ARG RUNTIME=onnx
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
# pip stays outside of the environment, which is all that the next stage takes.
RUN python -m venv --without-pip /opt/changedet \
    && pip --python /opt/changedet/bin/python install --no-cache-dir \
        --constraint constraints.txt ".[${RUNTIME}]"

FROM python:${PYTHON}-slim
# GDAL in rasterio's wheel takes expat from the system.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home changedet
COPY --from=build /opt/changedet /opt/changedet
# Models in the volume have a name: data/models/towns.onnx is --model towns.
ENV PATH="/opt/changedet/bin:${PATH}" \
    CHANGEDET_MODELS=/data/models \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
# All that is read and written is here, temporary files included where /tmp cannot be written.
WORKDIR /data
VOLUME /data
ENTRYPOINT ["changedet"]
CMD ["--help"]
