// Preloaded into a process: connections over TLS to hosts of others go to ports of this machine, as if a name server said so.
// Whoever listens there has to prove to be those hosts. Every variable `ELSEWHERE_…` is a port and its hosts.
import tls from 'node:tls';

const ports = new Map();
for (const [name, value] of Object.entries(process.env)) {
  if (!name.startsWith('ELSEWHERE_')) continue;
  const [port, ...hosts] = value.split(' ');
  for (const host of hosts) ports.set(host, Number(port));
}

const connect = tls.connect;
tls.connect = (options, ...rest) => {
  const port = ports.get(options?.host);
  if (port === undefined) return connect(options, ...rest);
  return connect({ ...options, servername: options.host, host: '127.0.0.1', port }, ...rest);
};
