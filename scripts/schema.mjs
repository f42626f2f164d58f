// npm run schema: writes schema/schema.graphql from the resolvers.
import { prepare } from './ensure.mjs';

await prepare();
await import('../dist/api/emit-schema.js');
console.log('Wrote schema/schema.graphql');
