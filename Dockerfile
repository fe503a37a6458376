# The bridge as a container: one binary on a slim Debian, run by a user that owns nothing but /data and /keys.
#
#   docker build -t concur-bridge .
#   docker run -e CONCUR_BRIDGE_KAFKA__BROKERS=broker:9092 … concur-bridge
#
# The image listens on every interface of its container, so it starts only with an [auth] method for each path, or with
# CONCUR_BRIDGE_INGRESS__INSECURE_ALLOW_UNAUTHENTICATED=true where something in front of it decides who may post.

FROM rust:1-slim-trixie AS build
# OpenSSL (vendored, for librdkafka and JOSE), librdkafka, SQLite and zstd are compiled from the sources inside their crates.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make perl pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
# The dependencies alone, so that a change of our sources does not compile them again. Cargo wants every target it is told of.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    mkdir -p src tests/it \
 && echo 'fn main() {}' | tee src/main.rs tests/it/main.rs > src/lib.rs \
 && cargo build --release --locked \
 && rm -r src tests target/release/.fingerprint/concur-bridge-*
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo build --release --locked --bin concur-bridge \
 && mkdir -p /out/data /out/keys \
 && cp target/release/concur-bridge /out/

FROM debian:trixie-slim
# The system's certificates: for Kafka over TLS and for calls to Concur.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/concur-bridge /usr/local/bin/concur-bridge
# A new volume takes owner and mode from here. The journal makes its own directory below /data: the top of a volume belongs to whoever
# made the volume (lost+found, group bits), and the journal insists on 0700.
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data
COPY --from=build --chown=65532:65532 --chmod=0700 /out/keys /keys
ENV CONCUR_BRIDGE_INGRESS__LISTEN=0.0.0.0:8080 \
    CONCUR_BRIDGE_ADMIN__LISTEN=0.0.0.0:8081 \
    CONCUR_BRIDGE_JOURNAL__DIR=/data/journal \
    CONCUR_BRIDGE_TOKENS__KEY_FILE=/keys/token.key \
    CONCUR_BRIDGE_TOKENS__FINGERPRINT_KEY_FILE=/keys/fingerprint.key
USER 65532:65532
# Where `serve` looks for concur-bridge.toml when no --config is given.
WORKDIR /etc/concur-bridge
VOLUME ["/data", "/keys"]
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["concur-bridge", "health", "--url", "http://127.0.0.1:8081"]
ENTRYPOINT ["concur-bridge"]
CMD ["serve"]
