/** Answers to clients, as effects. */
import { type ErrorCode, errorTable } from '@shoal/base'
import { type ClientOp, type ClientOpReply, type ObjectOpResult, type Version, zeroVersion } from '@shoal/wire'
import type { PgCore } from './core.ts'
import { isTemporary } from './object-transfer.ts'

export class OpAnswers {
  private readonly core: PgCore

  constructor(core: PgCore) {
    this.core = core
  }

  reply(session: number, op: ClientOp, results: readonly ObjectOpResult[], version: Version): void {
    this.core.emit({ kind: 'reply', session, reply: this.answer(op, 0, '', results, version) })
  }

  fail(session: number, op: ClientOp, code: ErrorCode, detail: string): void {
    this.failWith(session, op, errorTable[code].errno, detail)
  }

  failWith(session: number, op: ClientOp, errno: number, detail: string): void {
    this.core.emit({ kind: 'reply', session, reply: this.answer(op, errno, detail, [], zeroVersion) })
  }

  private answer(
    op: ClientOp,
    errno: number,
    detail: string,
    results: readonly ObjectOpResult[],
    version: Version,
  ): ClientOpReply {
    const { request, pgId, attempt } = op
    const { epoch } = this.core.map
    return { type: 'client-op-reply', request, pgId, epoch, errno, detail, results, version, attempt }
  }
}

/** A request that was done before is answered with its version; what its reads said then is not kept. */
export function noResults(op: ClientOp): readonly ObjectOpResult[] {
  return op.ops.map(() => ({ kind: 'none' }))
}

/** Clients see nothing of what only an OSD has. */
export function withoutTemporaries(result: ObjectOpResult): ObjectOpResult {
  if (result.kind !== 'objects' || !result.objects.some(isTemporary)) return result
  return { ...result, objects: result.objects.filter((object) => !isTemporary(object)) }
}

/** That were read. */
export function bytesOf(results: readonly ObjectOpResult[]): number {
  let total = 0
  for (const result of results) if (result.kind === 'data' || result.kind === 'extents') total += result.data.length
  return total
}
