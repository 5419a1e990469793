/** Makes a mutated copy of the core, with the tests that drive it, in a folder of its own. */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Mutant } from './list.ts'

const root = path.join(import.meta.dirname, '../../..')
const CORE = 'src/consensus'
const TESTS = 'test/unit/consensus'

/** @throws Error where the text to be replaced does not stand exactly once in the file */
export function mutate (source: string, { name, file, find, replace }: Mutant): string {
  const found = source.split(find).length - 1
  if (found !== 1) throw new Error(`mutant '${name}': its text stands ${found} times in ${CORE}/${file}; adapt the mutant to the code`)
  return source.replace(find, () => replace)
}

/** @returns the names of the unit tests of the core, sorted */
export async function unitTests (): Promise<string[]> {
  return (await readdir(path.join(root, TESTS))).filter(name => /^core-.*\.test\.ts$/.test(name)).sort().map(name => `${TESTS}/${name}`)
}

/** Copy what the core's tests need into `folder`, which is made anew, with this mutant applied. */
export async function build (folder: string, mutant: Mutant): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(path.join(folder, 'keys'), { recursive: true })
  await cp(path.join(root, CORE), path.join(folder, CORE), { recursive: true })
  await cp(path.join(root, TESTS), path.join(folder, TESTS), { recursive: true })
  await cp(path.join(root, 'keys/verdict.ts'), path.join(folder, 'keys/verdict.ts'))
  await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }\n')
  const file = path.join(folder, CORE, mutant.file)
  await writeFile(file, mutate(await readFile(file, 'utf8'), mutant))
}
