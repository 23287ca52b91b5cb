/** Files that a reader drops onto the page or chooses: with their paths, folders and all. */

export interface FoundFile {
  path: string;
  file: File;
}

/** More files than a run has are somebody's whole disk. */
const mostFiles = 2000;

/** The files of a drop. @throws Error if there are too many */
export async function droppedFiles(transfer: DataTransfer): Promise<FoundFile[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ path: file.name, file }));
  const found: FoundFile[] = [];
  for (const entry of entries) await collect(entry, '', found);
  return found;
}

/** The files of an input that takes a folder. */
export function chosenFiles(input: HTMLInputElement): FoundFile[] {
  return [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function collect(entry: FileSystemEntry, folder: string, found: FoundFile[]): Promise<void> {
  if (found.length > mostFiles) throw new Error(`more than ${mostFiles} files: drop one run’s folder`);
  const path = `${folder}${entry.name}`;
  if (entry instanceof FileSystemFileEntry) {
    found.push({ path, file: await new Promise<File>((resolve, reject) => entry.file(resolve, reject)) });
  } else if (entry instanceof FileSystemDirectoryEntry) {
    const reader = entry.createReader();
    const next = () => new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    // A reader gives a folder in pieces.
    for (let some = await next(); some.length > 0; some = await next())
      for (const each of some) await collect(each, `${path}/`, found);
  }
}
