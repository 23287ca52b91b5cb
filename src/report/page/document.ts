/** The one file of a report: style, body, the run's excerpt and the page's script, and a policy that lets nothing else in. */
import { createHash } from 'node:crypto';
import { escapeXml } from '../figures/svg.ts';
import { bodyHtml, pageTitle } from './body.ts';
import { figureStyle } from './figure-style.ts';
import type { Report } from './report.ts';
import { pageStyle } from './style.ts';

export interface DocumentParts {
  /** The page's script. */
  script: string;
  /** Rows of the run for the reader's tools: base64 of gzip; null where the page asks a server for them. */
  excerpt: string | null;
}

/** Light or dark before anything is drawn: what the address says, else the reader's setting. */
const themeScript = `(()=>{const asked=/theme=(light|dark)/.exec(location.hash);document.documentElement.dataset.theme=asked?asked[1]:matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light'})()`;

/** The whole page. Only these two scripts may run, and nothing is loaded but, from a server on this machine, the run's files. */
export function documentHtml(report: Report, { script, excerpt }: DocumentParts): string {
  const allowed = [themeScript, script].map((each) => `'sha256-${createHash('sha256').update(each).digest('base64')}'`);
  const policy = [
    "default-src 'none'",
    'img-src data: blob:',
    "style-src 'unsafe-inline'",
    `script-src ${allowed.join(' ')}`,
    `connect-src ${excerpt === null ? "'self'" : "'none'"}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  // Of these parts the body alone is a template: what stands in a style, a script or a title is no markup.
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${escapeXml(policy)}">`,
    '<meta name="viewport" content="width=device-width,initial-scale=1">',
    `<title>${escapeXml(pageTitle(report))}</title>`,
    `<style>${pageStyle()}${figureStyle}</style>`,
    `<script>${themeScript}</script>`,
    '</head>',
    '<body class="kvl-page">',
    `<div class="page">\n${bodyHtml(report)}\n</div>`,
    ...(excerpt === null ? [] : [`<script type="application/octet-stream" id="excerpt">${excerpt}</script>`]),
    `<script>${script}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n');
}
