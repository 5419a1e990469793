/**
 * The dependency directions of the design as one table, and the check that holds an import against it. Pure.
 *
 *   cli → daemon → index → node → { overlay, consensus driver, leader, participant, observer, submitter, blocks } → ledger, cores → protocols → keys
 *
 * A file belongs to the first layer whose pattern matches its path; a source file without a layer is an error, so that nobody adds
 * a folder that no rule knows.
 */

export interface Layer {
  name: string
  /** matches the path from the repository's root, with `/` */
  files: RegExp
  /** layers it may import from, besides itself */
  may: readonly string[]
  /** imports no `node:*` and no package that does I/O */
  pure?: boolean
  /** packages of libp2p that it may import; default none */
  libp2p?: RegExp
}

const BASE = ['keys', 'protocols', 'base']
const CORES = ['ledger', 'plan', 'accept', 'order']
const SERVICES = ['overlay', 'consensus', 'raft', 'blocks', 'service', 'sandbox']

export const LAYERS: readonly Layer[] = [
  { name: 'keys', files: /^keys\//, may: [], libp2p: /^@libp2p\/(crypto|peer-id|interface)(\/|$)/ },
  { name: 'protocols', files: /^protocols\//, may: ['keys'], pure: true },
  { name: 'base', files: /^src\/(errors|config|api|node-version)\.ts$/, may: ['keys', 'protocols'], pure: true },
  { name: 'ledger', files: /^src\/ledger\//, may: BASE, pure: true },
  { name: 'plan', files: /^src\/leader\/plan[^/]*\.ts$/, may: [...BASE, 'ledger'], pure: true },
  { name: 'accept', files: /^src\/participant\/accept[^/]*\.ts$/, may: [...BASE, 'ledger'], pure: true },
  { name: 'order', files: /^src\/observer\/order[^/]*\.ts$/, may: [...BASE, 'ledger'], pure: true },
  // The pure core is named file by file. A new file is the driver's until it is added here, and until then no core file may import it.
  { name: 'raft', files: /^src\/consensus\/(autopilot|conf-change|conf-codec|consensus|core|election|follower|leader|log|membership|progress|quorum|raft|reads|ready|replication|role|step|types)\.ts$/, may: BASE, pure: true },
  { name: 'consensus', files: /^src\/consensus\//, may: [...BASE, 'raft'] },
  { name: 'overlay', files: /^src\/overlay\//, may: BASE, libp2p: /./ },
  { name: 'sandbox', files: /^src\/participant\/sandbox\//, may: BASE },
  { name: 'blocks', files: /^src\/blocks\//, may: [...BASE, 'overlay'] },
  { name: 'service', files: /^src\/(leader|participant|observer|submitter)\//, may: [...BASE, ...CORES, ...SERVICES] },
  { name: 'data-dir', files: /^src\/data-dir\.ts$/, may: BASE },
  { name: 'node', files: /^src\/(node|node-view|doorman|entrance|listen-ports|membership|neighbours|raft-transport)\.ts$/, may: [...BASE, ...CORES, ...SERVICES, 'data-dir'] },
  { name: 'index', files: /^src\/index\.ts$/, may: [...BASE, 'node', 'ledger'] },
  { name: 'daemon', files: /^src\/daemon\//, may: ['base', 'index', 'data-dir'] },
  { name: 'cli', files: /^src\/cli\//, may: ['base', 'index', 'daemon', 'data-dir'] },
  { name: 'dashboard', files: /^src\/dashboard\//, may: ['base'] }
]

const LIBP2P = /^(libp2p|@libp2p\/.+|@chainsafe\/libp2p-.+)$/
/** Folders that are not part of the product: tests, examples and tools import what they like. */
const FREE = /^(test|examples|bench|scripts|lint)\//

export function layerOf (file: string): Layer | undefined {
  return LAYERS.find((layer) => layer.files.test(file))
}

/**
 * @param from - the importing file, from the root, with `/`
 * @param specifier - as written
 * @returns what is wrong with this import, or undefined
 */
export function judgeImport (from: string, specifier: string): string | undefined {
  if (FREE.test(from)) return undefined
  const layer = layerOf(from)
  if (layer === undefined) return `${from} belongs to no layer: add it to lint/arrows.ts`
  if (!specifier.startsWith('.')) return judgePackage(layer, specifier)
  const target = resolve(from, specifier)
  if (FREE.test(target)) return `${layer.name} may not import ${target}: it is not part of the product`
  const other = layerOf(target)
  if (other === undefined) return `${target} belongs to no layer: add it to lint/arrows.ts`
  if (other.name === layer.name || layer.may.includes(other.name)) return undefined
  return `${layer.name} may not import ${other.name} (${target}): see the arrows in ARCHITECTURE.md`
}

function judgePackage (layer: Layer, specifier: string): string | undefined {
  if (specifier.startsWith('node:') && layer.pure === true) return `${layer.name} is pure: it may not import ${specifier}`
  if (!LIBP2P.test(specifier) || layer.libp2p?.test(specifier) === true) return undefined
  return `${layer.name} may not import ${specifier}: libp2p is known to src/overlay only`
}

/** `a/b/c.ts` + `../d.ts` → `a/d.ts` */
function resolve (from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}
