# Targets: service (the API), proxy (nginx in front of it), mlflow (the server), trainer (the pipeline),
# init (secrets and volumes).
# Layers that change rarely come first, so that a change of code doesn't install packages again.

FROM python:3.11-slim-bookworm AS python
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp app


FROM python AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /venv


# The lock files list every package with its hashes, so pip resolves nothing; for the service it builds nothing either.
FROM builder AS service-packages
COPY requirements/service.txt requirements/postgres.txt requirements/tracing.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    for lock in service postgres tracing; do \
      pip --python /venv/bin/python install -q --no-deps --require-hashes --only-binary :all: -r /locks/$lock.txt || exit 1; done \
    && find /venv -type d -name tests -prune -exec rm -r {} +


# More lock files for the trainer, by the model in params.yaml: --build-arg MODELS="xgboost catboost skl2onnx".
FROM builder AS pipeline-packages
ARG MODELS=
COPY requirements/*.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    for lock in pipeline postgres tracing store dask $MODELS; do \
      pip --python /venv/bin/python install -q --no-deps --require-hashes -r /locks/$lock.txt || exit 1; done


# Remove what a running container doesn't need: installers, and the setuid bit of all programs.
FROM python AS runtime
RUN rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip \
      /usr/local/bin/pip* /usr/local/bin/wheel \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
ENV PATH=/venv/bin:$PATH


FROM runtime AS service
COPY --from=service-packages /venv /venv
WORKDIR /app
RUN mkdir /artifact && chown app:app /artifact
COPY deploy/images/serve.sh deploy/images/wait.py /app/deploy/images/
COPY service/ /app/service/
# Compile now, because the root file system is read-only later.
RUN python -m compileall -q service
USER 10001:10001
ENV HOST=0.0.0.0 PORT=8000 LOG_FORMAT=json RELEASES=/artifact
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --start-interval=2s --retries=3 \
    CMD ["python", "-IS", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health/ready', timeout=4)"]
CMD ["sh", "/app/deploy/images/serve.sh"]


FROM runtime AS proxy
RUN apt-get update && apt-get install --yes --no-install-recommends nginx openssl && rm -rf /var/lib/apt/lists/* \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} + \
    && mkdir /certificates && chown app:app /certificates
COPY deploy/proxy/ /app/
USER 10001:10001
EXPOSE 8443 8080
# nginx completes running requests, then stops.
STOPSIGNAL SIGQUIT
# This checks nginx only; the API has its own health check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m --start-interval=1s --retries=3 \
    CMD ["python", "-IS", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/proxy/health', timeout=4)"]
CMD ["sh", "/app/start.sh"]


FROM runtime AS pipeline
COPY --from=pipeline-packages /venv /venv
# HOME is /tmp, so that nothing is written outside the volumes. The packages send no usage reports.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib DVC_SITE_CACHE_DIR=/tmp/dvc GIT_PYTHON_REFRESH=quiet \
    DVC_NO_ANALYTICS=1 GX_ANALYTICS_ENABLED=false MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true


FROM pipeline AS mlflow
RUN mkdir /artifacts && chown app:app /artifacts
COPY deploy/images/mlflow.sh /app/
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=3m --start-interval=2s --retries=3 \
    CMD ["python", "-IS", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["sh", "/app/mlflow.sh"]


FROM pipeline AS trainer
RUN apt-get update && apt-get install --yes --no-install-recommends git libgomp1 && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*' \
    && git config --system user.name trainer && git config --system user.email trainer@localhost \
    && git config --system init.defaultBranch main && git config --system advice.detachedHead false
# Don't print links to MLflow: people open it under another host name than the trainer.
ENV MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true RELEASES=/artifact
RUN mkdir /workspace /artifact && chown app:app /workspace /artifact
WORKDIR /workspace
# The checkout with its history, because DVC's experiments are Git commits. .dockerignore lists what isn't copied.
COPY . /src
USER 10001:10001
ENTRYPOINT ["python", "/src/deploy/images/trainer.py"]
CMD ["dvc", "repro"]


FROM runtime AS init
# An empty volume gets the owner of the folder where it is first mounted.
RUN mkdir -p /volumes/secrets /volumes/s3 && chown -R app:app /volumes
COPY deploy/images/init.py /app/
USER 10001:10001
CMD ["python", "-IS", "/app/init.py"]
