// npm start. The server runs in this very process, so that a signal reaches it and npm waits until it has drained.
import { prepare } from './ensure.mjs';

await prepare();
await import('../dist/main.js');
