/**
 * The public API as Markdown, from the declarations that the compiler writes: every export of `src/index.ts` with its doc
 * comment and signature. ts-morph only parses: the declarations have all types spelt out.
 */
import { join, relative } from 'node:path';
import { type ExportedDeclarations, type JSDoc, Node, Project, Scope, type Statement } from 'ts-morph';

/** What each folder of `src/` exports is about, in the order of the document. */
const chapters: readonly (readonly [folder: string, title: string])[] = [
  ['checkpoint', 'Checkpoints and embedded models'],
  ['hub', 'Hugging Face hubs'],
  ['graph', 'Hooks, kernels, rounding and export'],
  ['model', 'Models, activations and generation'],
  ['divergence', 'Divergence, capture and gates'],
  ['patching', 'Patching, attribution and explanation'],
  ['study', 'Prompts'],
  ['store', 'Files'],
  ['', 'Errors'],
];

/** One export of the package. */
export interface ApiEntry {
  name: string;
  /** Path of its source file, from the package's root. */
  source: string;
  /** Its doc comment as Markdown; empty if there is none. */
  comment: string;
  signature: string;
}

/** All exports of `index.d.ts` in a folder of declarations, in the order of index.ts. @throws if it is missing */
export function apiEntries(declarations: string): ApiEntry[] {
  const project = new Project({ skipAddingFilesFromTsConfig: true, compilerOptions: { noLib: true, types: [] } });
  project.addSourceFilesAtPaths(join(declarations, '**/*.d.ts'));
  const index = project.getSourceFileOrThrow(join(declarations, 'index.d.ts'));
  return [...index.getExportedDeclarations()].map(([name, [declaration]]) => {
    const file = relative(declarations, declaration.getSourceFile().getFilePath());
    return {
      name,
      source: `src/${file.replace(/\.d\.ts$/, '.ts')}`,
      comment: commentOf(declaration),
      signature: signatureOf(declaration),
    };
  });
}

/** docs/api.md. @throws if an export belongs to no chapter */
export function apiMarkdown(declarations: string): string {
  const entries = apiEntries(declarations);
  const folderOf = ({ source }: ApiEntry) => source.split('/').slice(1, -1)[0] ?? '';
  const lost = entries.find((entry) => !chapters.some(([folder]) => folder === folderOf(entry)));
  if (lost) throw new Error(`scripts/api-document.ts: no chapter for ${lost.name} of ${lost.source}`);
  const parts = chapters.flatMap(([folder, title]) => {
    const own = entries.filter((entry) => folderOf(entry) === folder);
    const names = own.map(({ name }) => `[\`${name}\`](#${name.toLowerCase()})`);
    return [`## ${title}`, '', names.join(' · '), '', ...own.flatMap(entryLines)];
  });
  return ['# API', '', introduction, '', ...parts].join('\n');
}

const introduction = [
  'What `import … from "kvlens"` gives, with the doc comments of the sources. Members that are private are left out.',
  'Errors that a user can cause are `KvlensError`s; anything else that is thrown is a bug.',
].join('\n');

function entryLines({ name, source, comment, signature }: ApiEntry): string[] {
  return [`### ${name}`, '', `[${source}](../${source})`, '', comment, '', '```ts', signature, '```', ''];
}

/** Description, then one line per tag. */
function commentOf(declaration: ExportedDeclarations): string {
  const holder = Node.isVariableDeclaration(declaration) ? declaration.getVariableStatement() : declaration;
  if (!holder || !Node.isJSDocable(holder)) return '';
  return holder.getJsDocs().map(markdownOf).join('\n\n');
}

function markdownOf(comment: JSDoc): string {
  const tags = comment.getTags().map((tag) => `- *${tag.getTagName()}* ${tag.getCommentText()?.trim() ?? ''}`);
  // `{@link x}` would be read as text: a name in code is what is meant.
  const text = comment.getDescription().trim().replaceAll(/\{@link ([^}]+)\}/g, '`$1`');
  return [text, tags.join('\n')].filter((part) => part !== '').join('\n\n');
}

/** The declaration without `export declare`, its own comment and private members. */
function signatureOf(declaration: ExportedDeclarations): string {
  if (Node.isClassDeclaration(declaration)) {
    for (const member of declaration.getMembers()) {
      if (Node.isModifierable(member) && Node.isScoped(member) && member.getScope() === Scope.Private) member.remove();
    }
  }
  const overloads: readonly (Statement | undefined)[] = Node.isFunctionDeclaration(declaration)
    ? [...declaration.getOverloads(), declaration]
    : [Node.isVariableDeclaration(declaration) ? declaration.getVariableStatement() : asStatement(declaration)];
  return overloads
    .flatMap((node) => (node === undefined ? [] : [node.getText()]))
    .map((text) => text.replace(/^export (default )?(declare )?/, '').replaceAll(/^ {4,}/gm, halveIndent))
    .join('\n');
}

function asStatement(declaration: ExportedDeclarations): Statement | undefined {
  return Node.isStatement(declaration) ? declaration : undefined;
}

/** The compiler indents by four. */
function halveIndent(spaces: string): string {
  return ' '.repeat(Math.floor(spaces.length / 2));
}
