/**
 * The seccomp filter of an executor process: a classic BPF program that refuses what V8 and libuv never need once descriptor 3 is open.
 * Source: Documentation/userspace-api/seccomp_filter.rst of the Linux kernel; numbers from its syscall tables.
 *
 * A list of refusals, not of permissions: V8 and glibc change what they call, and a jail that breaks with an update would be switched off.
 * It stands around a process that already has no files, no network and no capabilities.
 */
import { endianness } from 'node:os'

interface Table { audit: number, clone: number, clone3: number, refused: readonly number[] }

// fork vfork ptrace socket socketpair mount umount2 unshare setns pivot_root chroot keyctl add_key request_key bpf perf_event_open userfaultfd
// io_uring_setup process_vm_readv process_vm_writev init_module finit_module kexec_load open_by_handle_at pidfd_open pidfd_getfd memfd_create
const TABLES: Partial<Record<string, Table>> = {
  x64: {
    audit: 0xC000003E,
    clone: 56,
    clone3: 435,
    refused: [57, 58, 101, 41, 53, 165, 166, 272, 308, 155, 161, 250, 248, 249, 321, 298, 323, 425, 310, 311, 175, 313, 246, 304, 434, 438, 319]
  },
  arm64: {
    audit: 0xC00000B7,
    clone: 220,
    clone3: 435,
    refused: [117, 198, 199, 40, 39, 97, 268, 41, 51, 219, 217, 218, 280, 241, 282, 425, 270, 271, 105, 273, 104, 265, 434, 438, 279]
  }
}

const LOAD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const JUMP_SET = 0x45
const RETURN = 0x06
const ALLOW = 0x7FFF0000
const REFUSE_EPERM = 0x00050001
const REFUSE_ENOSYS = 0x00050026
const NR_OFFSET = 0
const ARCH_OFFSET = 4
const FIRST_ARGUMENT_OFFSET = 16
const CLONE_THREAD = 0x00010000
/** Numbers of the x32 ABI start here; there are none on other machines. */
const X32_BIT = 0x40000000

/**
 * @param arch - as `process.arch`
 * @returns the program as the kernel wants it (8 bytes an instruction), or undefined for a machine that we have no numbers for
 */
export function seccompProgram (arch: string): Uint8Array | undefined {
  const table = TABLES[arch]
  if (table === undefined || endianness() !== 'LE') return undefined
  const { audit, clone, clone3, refused } = table
  const code: [op: number, yes: number, no: number, k: number][] = [
    [LOAD, 0, 0, ARCH_OFFSET],
    [JUMP_EQUAL, 1, 0, audit],
    [RETURN, 0, 0, REFUSE_EPERM],
    [LOAD, 0, 0, NR_OFFSET],
    [JUMP_AT_LEAST, 0, 1, X32_BIT],
    [RETURN, 0, 0, REFUSE_EPERM],
    // glibc falls back to clone, whose flags can be looked at
    [JUMP_EQUAL, 0, 1, clone3],
    [RETURN, 0, 0, REFUSE_ENOSYS]
  ]
  for (const nr of refused) code.push([JUMP_EQUAL, 0, 1, nr], [RETURN, 0, 0, REFUSE_EPERM])
  // a thread is fine, a process is not
  code.push(
    [JUMP_EQUAL, 0, 3, clone],
    [LOAD, 0, 0, FIRST_ARGUMENT_OFFSET],
    [JUMP_SET, 1, 0, CLONE_THREAD],
    [RETURN, 0, 0, REFUSE_EPERM],
    [RETURN, 0, 0, ALLOW]
  )
  const program = Buffer.alloc(code.length * 8)
  for (const [i, [op, yes, no, k]] of code.entries()) {
    program.writeUInt16LE(op, i * 8)
    program.writeUInt8(yes, i * 8 + 2)
    program.writeUInt8(no, i * 8 + 3)
    program.writeUInt32LE(k, i * 8 + 4)
  }
  return program
}
