/**
 * For the process that is measured, by `node --import`: push goes to the provider's stub in another process instead of to the
 * sandbox in its own. There is no setting for that, since FCM has one address. Everything else is the service as built.
 */
import { register } from 'node:module';

const STUB = `export async function openSandboxFcm() {
  return { value: { host: '127.0.0.1', port: ${Number(process.env.BENCH_PUSH_PORT)} }, stop: async () => {} };
}`;
const HOOKS = `export async function resolve(specifier, context, next) {
  const isAsked = specifier.endsWith('/sandbox/fcm.js') && context.parentURL?.endsWith('/dist/providers.js');
  return isAsked ? { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(STUB)}`)}, shortCircuit: true } : next(specifier, context);
}`;

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
