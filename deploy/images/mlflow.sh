#!/bin/sh
# The MLflow server: runs and registry in PostgreSQL, artifacts in a volume or in an S3 store.
set -eu
PGPASSWORD=$(cat "$PGPASSWORD_FILE")
export PGPASSWORD

# The first start decides where the artifacts are, because the old ones would be missing in another place.
remembered=/artifacts/destination
if [ ! -e "$remembered" ]; then
    destination=${MLFLOW_ARTIFACTS_DESTINATION:-}
    if [ -z "$destination" ]; then
        destination=/artifacts/store
        ! getent hosts s3 >/dev/null || destination=s3://mlflow
    fi
    echo "$destination" >"$remembered"
fi
destination=$(cat "$remembered")
if [ -n "${MLFLOW_ARTIFACTS_DESTINATION:-}" ] && [ "$MLFLOW_ARTIFACTS_DESTINATION" != "$destination" ]; then
    echo "error: MLFLOW_ARTIFACTS_DESTINATION is $MLFLOW_ARTIFACTS_DESTINATION, but the artifacts are in $destination; \
copy them there, then write the new place into $remembered" >&2
    exit 1
fi

# The S3 store of this Compose project, unless the environment names another.
if [ "$destination" = s3://mlflow ] && [ -z "${AWS_ACCESS_KEY_ID:-}" ]; then
    getent hosts s3 >/dev/null || {
        echo "error: the artifacts are in the S3 server of the profile s3; start it too: docker compose --profile s3 up" >&2
        exit 1
    }
    . /run/secrets/s3.env
fi
echo "artifacts are kept in $destination"
# The job runner is for evaluations by language models. It would add eight processes and 1.3 GB.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# These are deprecation warnings for the developers of MLflow.
export PYTHONWARNINGS=ignore
exec mlflow server --host 0.0.0.0 --port 5000 --workers "${MLFLOW_WORKERS:-1}" --uvicorn-opts=--no-access-log \
    --backend-store-uri "$MLFLOW_BACKEND_STORE_URI" --artifacts-destination "$destination"
