/**
 * Carries out one request that `findFault` let through, on the device of its connection. What may be long is done in
 * steps, and given up between two of them once nobody waits for the answer.
 */
import { assert, ClusterError } from '@shoal/base'
import type { BlockDevice } from './block-device.ts'
import type { SelectedContext } from './metadata-context.ts'
import { allocationState, command, commandFlag, dirtyState } from './protocol.ts'
import { doneReply, type ReplyForm, readReply, type StatusExtent, statusChunk } from './reply.ts'
import { type NbdRequest, statusQuery } from './request.ts'

/** A status reply covers at most this much: asking a huge image costs one bounded look. */
const statusBytesMax = 1024 * 1024 * 1024
/** Trimming and zeroing go on by this much at a time. */
const stepBytes = 1024 * 1024 * 1024
/** What CACHE reads at most, and at a time. */
const cacheBytesMax = 32 * 1024 * 1024
const cacheStepBytes = 4 * 1024 * 1024

export interface RequestContext {
  readonly device: BlockDevice
  readonly form: ReplyForm
  readonly contexts: readonly SelectedContext[]
  /** The client has gone. */
  readonly isGone: () => boolean
}

export async function serveRequest(request: NbdRequest, context: RequestContext): Promise<Uint8Array[]> {
  const { device, form } = context
  const { offset, length } = request
  switch (request.type) {
    case command.read:
      return readReply(form, request, length === 0 ? [] : await device.read(offset, length))
    case command.write:
      await device.write(offset, request.data as Uint8Array)
      break
    case command.flush:
      await device.flush()
      break
    case command.trim:
      await inSteps(context, offset, length, stepBytes, (at, bytes) => device.trim(at, bytes))
      break
    case command.writeZeroes: {
      const punchHole = (request.flags & commandFlag.noHole) === 0
      await inSteps(context, offset, length, stepBytes, (at, bytes) => device.writeZeroes(at, bytes, punchHole))
      break
    }
    case command.cache:
      await inSteps(context, offset, Math.min(length, cacheBytesMax), cacheStepBytes, (at, bytes) =>
        device.read(at, bytes),
      )
      break
    default:
      assert(request.type === command.blockStatus, 'findFault refused every other type')
      return blockStatus(request, context)
  }
  return doneReply(form, request)
}

async function inSteps(
  context: RequestContext,
  offset: number,
  length: number,
  step: number,
  task: (offset: number, length: number) => Promise<unknown>,
): Promise<void> {
  const end = offset + length
  for (let at = offset; at < end; at += step) {
    if (at > offset && context.isGone()) throw new ClusterError('ESHUTDOWN', 'the client has gone')
    await task(at, Math.min(step, end - at))
  }
}

async function blockStatus(request: NbdRequest, context: RequestContext): Promise<Uint8Array[]> {
  const query = statusQuery(request)
  assert(query !== undefined, 'findFault refused a malformed query')
  const contexts =
    query.contextIds === undefined
      ? context.contexts
      : query.contextIds.map((id) => context.contexts.find((selected) => selected.id === id))
  const length = Math.min(query.length, statusBytesMax)
  const reply: Uint8Array[] = []
  for (const [i, selected] of contexts.entries()) {
    if (selected === undefined) throw new ClusterError('EINVAL', 'a metadata context that was not selected')
    const extents = await statusOf(context.device, selected, request.offset, length)
    const answered = (request.flags & commandFlag.reqOne) === 0 ? extents : extents.slice(0, 1)
    reply.push(...statusChunk(context.form, request, selected.id, answered, i === contexts.length - 1))
  }
  return reply
}

async function statusOf(
  device: BlockDevice,
  { snapshot }: SelectedContext,
  offset: number,
  length: number,
): Promise<readonly StatusExtent[]> {
  if (snapshot === undefined) {
    return (await device.extents(offset, length)).map((extent) => ({
      length: extent.length,
      status: extent.allocated ? allocationState.allocated : allocationState.hole | allocationState.zero,
    }))
  }
  assert(device.changes !== undefined, 'a context of a snapshot is offered only where changes can be told')
  return (await device.changes(snapshot, offset, length)).map((extent) => ({
    length: extent.length,
    status: extent.dirty ? dirtyState : 0,
  }))
}
