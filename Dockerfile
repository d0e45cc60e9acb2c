# docker build --target cpu .     onnxruntime on the CPU (the default)
# docker build --target cuda .    onnxruntime-gpu and the CUDA libraries that it loads
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv --without-pip /opt/lossmeter \
 && printf '#!/opt/lossmeter/bin/python\nfrom service.__main__ import main\n\nif __name__ == "__main__":\n    main()\n' >/opt/lossmeter/bin/lossmeter \
 && chmod 755 /opt/lossmeter/bin/lossmeter
WORKDIR /build

FROM environment AS cpu-packages
COPY requirements/serve.txt .
RUN pip --python /opt/lossmeter/bin/python install --require-hashes --only-binary :all: --no-deps -r serve.txt

FROM environment AS cuda-packages
COPY requirements/cuda.txt .
RUN pip --python /opt/lossmeter/bin/python install --require-hashes --only-binary :all: --no-deps -r cuda.txt

FROM ${BASE} AS code
COPY LICENSE /code/
COPY core/ /code/core/
COPY offline/ /code/offline/
COPY service/ /code/service/
RUN python3 -m compileall -q /code

FROM ${BASE} AS runtime
# What one thread frees, another can use.
ENV PATH=/opt/lossmeter/bin:$PATH \
    PYTHONPATH=/opt/lossmeter/code \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MALLOC_ARENA_MAX=2 \
    LOSSMETER_HOST=0.0.0.0 \
    LOSSMETER_PORT=8000
WORKDIR /
EXPOSE 8000
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["lossmeter", "healthy"]
ENTRYPOINT ["lossmeter"]
CMD ["serve"]

FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=cuda-packages /opt/lossmeter /opt/lossmeter
COPY --from=code /code /opt/lossmeter/code

FROM runtime AS cpu
COPY --from=cpu-packages /opt/lossmeter /opt/lossmeter
COPY --from=code /code /opt/lossmeter/code
