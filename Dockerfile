# ser-serve alone: no training, no compiler, no root.
#   docker build -t ser-live .
#   docker run --rm -p 8321:8321 -e SER_SERVE_TOKEN=a-long-secret-of-yours ser-live
# Behind a port mapping every caller comes from another address, so there is always a token: the
# given one, or one that is made and printed.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY realtime realtime
COPY train train
COPY export export
COPY models models
RUN python -m venv /opt/ser-live \
    && /opt/ser-live/bin/pip install --no-cache-dir '.[serve]' \
    && /opt/ser-live/bin/pip uninstall --yes pip

FROM python:3.13-slim
COPY --from=build /opt/ser-live /opt/ser-live
RUN useradd --system --no-create-home --shell /usr/sbin/nologin ser
USER ser
ENV PATH=/opt/ser-live/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8321
# With the options of the server itself, which is process 1 (or the child of docker's --init).
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD sed -z '1,/ser-serve$/d' /proc/1/cmdline | xargs -0 ser-serve --check-health || exit 1
# Exec form: SIGTERM reaches the server, which lets open streams end. Docker waits ten seconds only:
# stop with `docker stop --time 60`, or give the server less with --drain-seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ser-serve", "--host", "0.0.0.0"]
