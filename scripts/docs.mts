/** Write the documents that are made from code: `npm run docs`, which builds before. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../src/checkpoint/embedded.ts';
import { documents } from '../src/documents.ts';
import { apiMarkdown } from './api-document.ts';

const root = packageRoot();
const written = { ...documents(), 'docs/api.md': apiMarkdown(join(root, 'dist')) };
for (const [path, content] of Object.entries(written)) writeFileSync(join(root, path), content);
