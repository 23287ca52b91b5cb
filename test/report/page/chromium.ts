/** Where a Chromium is: KVLENS_CHROMIUM, else where systems put it. */
import { existsSync } from 'node:fs';

const candidates = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
];

/** Null for none. */
export const chromiumPath =
  [process.env.KVLENS_CHROMIUM, ...candidates].find((path) => path && existsSync(path)) ?? null;
