/** Write the documents that are made from code: `npm run docs`. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { documents } from '../dist/documents.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
for (const [path, content] of Object.entries(documents())) writeFileSync(join(root, path), content);
