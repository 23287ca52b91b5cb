/**
 * The public API as Markdown, from the declarations that the compiler writes: every export of `src/index.ts` with its doc
 * comment and signature. ts-morph only parses: the declarations have all types spelt out.
 */
import { join, relative } from 'node:path';
import {
  type ExportedDeclarations,
  type InterfaceDeclaration,
  type JSDoc,
  Node,
  Project,
  Scope,
  SyntaxKind,
} from 'ts-morph';

/** What each folder of `src/` exports is about, in the order of the document. */
const chapters: readonly (readonly [folder: string, title: string])[] = [
  ['checkpoint', 'Checkpoints and embedded models'],
  ['hub', 'Hugging Face hubs'],
  ['graph', 'Hooks, kernels, rounding and export'],
  ['model', 'Models, activations and generation'],
  ['divergence', 'Divergence, capture and gates'],
  ['patching', 'Patching, attribution and explanation'],
  ['study', 'Prompts'],
  ['report', 'Runs and their figures'],
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
  const exported = project.getSourceFileOrThrow(join(declarations, 'index.d.ts')).getExportedDeclarations();
  const entries = [...exported].map(([name, found]) => {
    const file = relative(declarations, found[0].getSourceFile().getFilePath());
    const own = found.map(signatureOf);
    return { name, source: `src/${file.replace(/\.d\.ts$/, '.ts')}`, comment: commentOf(found[0]), own, found };
  });
  const shown = new Set<Node>(entries.flatMap(({ found }) => found));
  return entries.map(({ name, source, comment, own, found }) => {
    const inputs = inputTypes(found[0], shown, declarations).map((type) => [docs(type), signatureOf(type)].join(''));
    return { name, source, comment, signature: [...own, ...inputs.map((text) => `\n${text}`)].join('\n') };
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
  const tags = comment.getTags().map((tag) => {
    const parameter = Node.isJSDocParameterTag(tag) ? ` \`${tag.getName()}\`` : '';
    return `- *${tag.getTagName()}*${parameter} ${tag.getCommentText()?.trim() ?? ''}`;
  });
  // `{@link x}` would be read as text: a name in code is what is meant.
  const text = comment
    .getDescription()
    .trim()
    .replaceAll(/\{@link ([^}]+)\}/g, '`$1`');
  return [text, tags.join('\n')].filter((part) => part !== '').join('\n\n');
}

/**
 * Types that are not exported but say what to hand in: those that an interface extends, and those of a function's
 * parameters, with what these extend.
 */
function inputTypes(declaration: Node, shown: ReadonlySet<Node>, within: string): InterfaceDeclaration[] {
  const found = new Set<InterfaceDeclaration>();
  const visit = (node: Node): void => {
    const places = Node.isInterfaceDeclaration(node)
      ? node.getExtends()
      : Node.isFunctionDeclaration(node)
        ? node.getParameters()
        : [];
    for (const name of places.flatMap((place) => place.getDescendantsOfKind(SyntaxKind.Identifier))) {
      const symbol = name.getSymbol();
      for (const type of (symbol?.getAliasedSymbol() ?? symbol)?.getDeclarations() ?? []) {
        if (!Node.isInterfaceDeclaration(type) || shown.has(type) || found.has(type)) continue;
        // A dependency's types are found or not by where the declarations lie.
        if (!type.getSourceFile().getFilePath().startsWith(within)) continue;
        found.add(type);
        visit(type);
      }
    }
  };
  visit(declaration);
  return [...found];
}

/** The doc comment as it stands, for a type that has no entry of its own. */
function docs(type: InterfaceDeclaration): string {
  return type
    .getJsDocs()
    .map((comment) => `${comment.getText()}\n`)
    .join('');
}

/** The declaration without `export declare`, its own comment and private members. */
function signatureOf(declaration: ExportedDeclarations): string {
  if (Node.isClassDeclaration(declaration)) {
    for (const member of declaration.getMembers()) {
      if (Node.isModifierable(member) && Node.isScoped(member) && member.getScope() === Scope.Private) member.remove();
    }
  }
  const node = Node.isVariableDeclaration(declaration) ? declaration.getVariableStatement() : declaration;
  const text = (node ?? declaration).getText().replace(/^export (default )?(declare )?/, '');
  return outline(text).replaceAll(/^ {4,}/gm, (spaces) => ' '.repeat(Math.floor(spaces.length / 2)));
}

/** Of a type of hundreds of lines, the keys: the compiler indents the first level by four. */
function outline(text: string): string {
  const lines = text.split('\n');
  if (lines.length <= 100) return text;
  return lines
    .filter((line) => /^(\S| {4}[^ }])/.test(line))
    .map((line) => line.replace(/\{$/, '{ … };'))
    .map((line, i) => (i === 0 ? line.replace('{ … };', '{') : line))
    .join('\n');
}
