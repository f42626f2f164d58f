# Heliograph, in whatever roles its environment says. See docs/deploying.md.

FROM node:20.20.2-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm run build

FROM node:20.20.2-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# 545 MB of embedded ClickHouse go, because a server takes its place here. Leaving out optional packages instead would take
# LMDB's binary along.
RUN npm ci --omit=dev --no-audit --no-fund \
  && rm -rf node_modules/chdb node_modules/@chdb node_modules/.bin/chdb-gen-types

FROM node:20.20.2-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=4000 DATA_DIR=/data
WORKDIR /app
RUN mkdir -m 0700 /data && chown 1000:1000 /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY schema/analytics ./schema/analytics
COPY package.json LICENSE ./
# The image's own user `node`, as a number: a platform that insists on not running as root looks for one.
USER 1000:1000
# Every container gets a folder of its own, however many there are of a role.
VOLUME /data
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:4000/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Most of what a request leaves behind is gone before a young generation of this size is full; MiB.
CMD ["node", "--max-semi-space-size=64", "dist/main.js"]
