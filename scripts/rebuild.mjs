// npm run rebuild -- <projection|all>: makes what is derived from the log again. The service has to be stopped.
import { prepare } from './ensure.mjs';

await prepare();
await import('../dist/rebuild.js');
