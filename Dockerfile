# The playground as a container: the built page and the relay on one port.
#
#   npm run system                                   once: kernel, busybox, GRUB, BIOS in public/system
#   docker build --target runtime -t smart-os .
#   docker run --init -p 8086:8086 smart-os
#
# Without public/system the build makes the system itself, which takes long. Options of the relay follow the image's name
# or are in the environment (RELAY_TOKEN=…); `docker run smart-os --help` tells them.

ARG NODE=node:22-bookworm-slim

FROM ${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY tools/setup.mjs tools/
RUN node -e "import('./tools/setup.mjs').then((setup) => setup.ensureDependencies())"
COPY . .
RUN node tools/build.mjs --quiet && node tools/bundle.mjs /app/bundle

FROM ${NODE} AS runtime
# vdeplug to setpriv are for --engine slirp and kernel, ping is the embedded engine's. Debian gives ping a file capability,
# which a container without that capability cannot execute; a copy has none, and pings through ICMP sockets.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      vdeplug libvdeplug-slirp nftables dnsmasq-base iproute2 util-linux iputils-ping \
 && cp /bin/ping /bin/ping.plain && mv /bin/ping.plain /bin/ping \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=build /app/bundle relay/
COPY --from=build /app/dist dist/
COPY LICENSE package.json ./
ENV NODE_ENV=production PORT=8086 RELAY_PUBLIC=1
EXPOSE 8086
# Nobody in particular; the node image calls it "node". Only --engine kernel needs root, see compose.yaml.
USER 1000:1000
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ok}) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "relay/main.js"]
