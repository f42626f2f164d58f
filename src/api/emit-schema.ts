// Writes schema/schema.graphql from the resolvers; run by `npm run schema`.
import { writeFile } from 'node:fs/promises';
import { printedSchema } from './schema.ts';

await writeFile(new URL('../../schema/schema.graphql', import.meta.url), printedSchema());
