/**
 * Our own lint rules, as an oxlint (ESLint-compatible) plugin: the arrows of the design, and the little that no kept rule does for the
 * dialect (no semicolon at the end of a line, single quotes, a space before a function's parameters).
 */
import path from 'node:path'
import { judgeImport } from './arrows.ts'

const root = path.join(import.meta.dirname, '..')

interface Position { line: number, column: number }
interface AstNode { type: string, range: [number, number], loc: { start: Position, end: Position }, [key: string]: unknown }
interface Context {
  filename: string
  sourceCode: { text: string }
  report (found: { message: string, node?: AstNode, loc?: { start: Position, end: Position } }): void
}
type Visitor = Record<string, (node: AstNode) => void>

/** A file outside of the repository (a fixture) may say on its first line which file it stands for, so that a test can prove that the rules bite. */
function fileOf (context: Context): string {
  const file = path.relative(root, context.filename).split(path.sep).join('/')
  if (!file.startsWith('../')) return file
  return /^\/\/ stands for (\S+)/.exec(context.sourceCode.text)?.[1] ?? file
}

const arrows = {
  create (context: Context): Visitor {
    const check = (node: AstNode): void => {
      const source = node['source'] as { value?: unknown } | null
      if (typeof source?.value !== 'string') return
      const message = judgeImport(fileOf(context), source.value)
      if (message !== undefined) context.report({ message, node })
    }
    return { ImportDeclaration: check, ExportNamedDeclaration: check, ExportAllDeclaration: check, ImportExpression: check, TSImportType: check }
  }
}

/** Statements and members that a semicolon could end. */
const ENDS = ['ExpressionStatement', 'VariableDeclaration', 'ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration', 'ExportDefaultDeclaration',
  'ReturnStatement', 'ThrowStatement', 'BreakStatement', 'ContinueStatement', 'TSTypeAliasDeclaration', 'PropertyDefinition', 'TSPropertySignature', 'TSMethodSignature']

const noSemicolon = {
  create (context: Context): Visitor {
    const check = (node: AstNode): void => {
      if (node['declaration'] !== null && node.type === 'ExportNamedDeclaration') return // its declaration is checked on its own
      const end = node.range[1]
      const text = context.sourceCode.text
      const at = text[end - 1] === ';' ? end - 1 : text[end] === ';' ? end : -1
      const atLineEnd = at !== -1 && /^[ \t]*(\/\/.*|\/\*.*)?(\r?\n|$)/.test(text.slice(at + 1, at + 200))
      if (atLineEnd) context.report({ message: 'no semicolon at the end of a line', node })
    }
    return Object.fromEntries(ENDS.map((type) => [type, check]))
  }
}

const quotes = {
  create (context: Context): Visitor {
    return {
      Literal (node) {
        const raw = context.sourceCode.text.slice(...node.range)
        if (raw.startsWith('"') && !raw.includes("'")) context.report({ message: 'single quotes', node })
      }
    }
  }
}

const functionParen = {
  create (context: Context): Visitor {
    const check = (node: AstNode): void => {
      const head = context.sourceCode.text.slice(node.range[0], node.range[0] + 200)
      if (/^(async )?function\*?(\(| [\w$]+\()/.test(head)) context.report({ message: "a space before a function's parameters", node })
    }
    const method = (node: AstNode): void => {
      const value = node['value'] as AstNode | null
      if (value === null || !(node['method'] === true || node.type === 'MethodDefinition')) return
      const at = value.range[0]
      const text = context.sourceCode.text
      if (text[at] === '(' && text[at - 1] !== ' ') context.report({ message: "a space before a method's parameters", node })
    }
    return { FunctionDeclaration: check, FunctionExpression: check, MethodDefinition: method, Property: method }
  }
}

export default {
  meta: { name: 'conclave' },
  rules: { arrows, 'no-semicolon': noSemicolon, quotes, 'function-paren': functionParen }
}
