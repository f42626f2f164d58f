// npm run build: installs if needed, compiles src to dist if something changed.
import { prepare } from './ensure.mjs';

await prepare();
