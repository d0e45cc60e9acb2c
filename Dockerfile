# docker build --target cpu .     onnxruntime on the CPU (the default)
# docker build --target cuda .    onnxruntime-gpu and the CUDA libraries that it loads
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv --without-pip /opt/lossmeter
COPY requirements/ requirements/
COPY core/ core/
COPY service/ service/
# The code lies beside what it needs; the command is what pip would write for pyproject.toml's script.
RUN site=$(/opt/lossmeter/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && cp -r core service "$site" \
 && printf '#!/opt/lossmeter/bin/python\nfrom service.__main__ import main\n\nmain()\n' >/opt/lossmeter/bin/lossmeter \
 && chmod 755 /opt/lossmeter/bin/lossmeter

FROM build AS build-cpu
RUN pip --python /opt/lossmeter/bin/python install --require-hashes --only-binary :all: --no-deps -r requirements/serve.txt \
 && /opt/lossmeter/bin/python -m compileall -q /opt/lossmeter

FROM build AS build-cuda
RUN pip --python /opt/lossmeter/bin/python install --require-hashes --only-binary :all: --no-deps -r requirements/cuda.txt \
 && /opt/lossmeter/bin/python -m compileall -q /opt/lossmeter

FROM ${BASE} AS runtime
# The allocator's thresholds let memory that large requests took go back to the system.
ENV PATH=/opt/lossmeter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=1048576 \
    MALLOC_TRIM_THRESHOLD_=131072 \
    LOSSMETER_HOST=0.0.0.0 \
    LOSSMETER_PORT=8000
WORKDIR /
EXPOSE 8000
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["lossmeter", "healthy"]
ENTRYPOINT ["lossmeter"]
CMD ["serve"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/lossmeter /opt/lossmeter
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=build-cpu /opt/lossmeter /opt/lossmeter
