# syntax=docker/dockerfile:1
# Holdfast in containers: for trying out. tests/topology reads this file and runs what is in it without a container engine.

FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential ca-certificates curl libpq-dev libssl-dev libtss2-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# rust-toolchain.toml names the version; rustup fetches it with the first cargo command.
RUN curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none
ENV PATH=/root/.cargo/bin:$PATH
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p ca-server -p ca-cli -p ca-agent

FROM debian:12-slim AS base
RUN groupadd --system --gid 10001 holdfast \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/holdfast --shell /usr/sbin/nologin holdfast \
    && install -d -o holdfast -g holdfast -m 0700 /var/lib/holdfast \
    && install -d -o holdfast -g holdfast -m 0700 /var/lib/holdfast/ca /var/lib/holdfast/own \
    && install -d -o holdfast -g holdfast -m 0755 /public /vendor

# The CA, on SoftHSM and SQLite: a rehearsal.
FROM base AS server
RUN apt-get update && apt-get install -y --no-install-recommends libpq5 libssl3 openssl softhsm2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/ca-server /src/target/release/ca-cli /usr/local/bin/
COPY policies/trust/example.toml /usr/local/share/holdfast/trust/
COPY packaging/container/answers.toml /etc/holdfast/answers.toml
COPY packaging/cluster/answers.toml /etc/holdfast/cluster.toml
COPY --chmod=0755 packaging/container/server.sh packaging/container/hierarchy.sh packaging/container/healthy.sh \
    packaging/cluster/replica.sh /usr/local/bin/
COPY --chmod=0755 packaging/cluster/hierarchy.sh /usr/local/bin/cluster-hierarchy.sh
# Without backtraces: packaging/ca-server.service says why.
ENV HOLDFAST_ADMIN_SOCKET=/var/lib/holdfast/ca/admin.sock RUST_BACKTRACE=0
USER 10001
VOLUME ["/var/lib/holdfast", "/public"]
EXPOSE 8443 9464
ENTRYPOINT ["/usr/local/bin/server.sh"]

# A device with a software TPM, and the agent.
FROM base AS device
RUN apt-get update && apt-get install -y --no-install-recommends \
        libssl3 libtss2-esys-3.0.2-0 libtss2-mu0 libtss2-tctildr0 libtss2-tcti-swtpm0 libtss2-tcti-device0 openssl swtpm swtpm-tools \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/ca-agent /usr/local/bin/
COPY --chmod=0755 packaging/container/device.sh /usr/local/bin/
ENV CA_AGENT_TCTI=swtpm:host=127.0.0.1,port=2321 CA_AGENT_STATE_DIR=/var/lib/holdfast/device TSS2_LOG=all+none
USER 10001
VOLUME ["/var/lib/holdfast", "/vendor"]
ENTRYPOINT ["/usr/local/bin/device.sh"]

# PostgreSQL, primary or standby.
FROM base AS database
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-common \
    && sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
    && apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/*
COPY --chmod=0755 packaging/cluster/postgres.sh packaging/cluster/ready.sh /usr/local/bin/
USER 10001
VOLUME ["/var/lib/holdfast"]
EXPOSE 5432
ENTRYPOINT ["/usr/local/bin/postgres.sh"]

# TLS passes through it.
FROM base AS balancer
RUN apt-get update && apt-get install -y --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/*
USER 10001
EXPOSE 8443 8080 8405
ENTRYPOINT ["/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"]

FROM base AS metrics
RUN apt-get update && apt-get install -y --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/*
USER 10001
VOLUME ["/var/lib/holdfast"]
EXPOSE 9090
ENTRYPOINT ["/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/var/lib/holdfast/metrics"]
