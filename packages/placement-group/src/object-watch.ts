/**
 * Who watches an object: a list in an attribute of the object that clients can neither set nor see, so that a new primary
 * knows all watchers, and registering is a write like any other.
 */
import { type Codec, decode, type ErrorCode, encode, versioned } from '@shoal/base'
import { type ObjectWatcher, objectWatchersCodec, type WatchId, type WatchOp, watchLimits } from '@shoal/wire'

export const watchAttributeName = '_watch'

const storedWatchersCodec: Codec<readonly ObjectWatcher[]> = versioned<readonly ObjectWatcher[]>(
  1,
  1,
  'watchers of an object',
  objectWatchersCodec,
)

export function encodeWatchers(watchers: readonly ObjectWatcher[]): Uint8Array {
  return encode(storedWatchersCodec, watchers).slice()
}

export function watchersIn(xattrs: ReadonlyMap<string, Uint8Array>): readonly ObjectWatcher[] {
  const encoded = xattrs.get(watchAttributeName)
  return encoded === undefined ? [] : decode(storedWatchersCodec, encoded)
}

export type WatchOutcome =
  | { readonly kind: 'changed'; readonly watchers: readonly ObjectWatcher[] }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string }

export function isSameWatch(a: WatchId, b: WatchId): boolean {
  return a.client === b.client && a.cookie === b.cookie
}

export function describeWatch({ client, cookie }: WatchId): string {
  return `client.${client} (cookie ${cookie})`
}

/** What a registration, or its end, makes of the list. Registering again is no error: it may have been sent twice. */
export function changeWatchers(
  watchers: readonly ObjectWatcher[],
  op: Extract<WatchOp, { kind: 'watch' | 'unwatch' }>,
  client: number,
): WatchOutcome {
  const id: WatchId = { client: op.kind === 'unwatch' && op.client !== 0 ? op.client : client, cookie: op.cookie }
  const others = watchers.filter((watcher) => !isSameWatch(watcher, id))
  if (op.kind === 'unwatch') {
    if (others.length < watchers.length) return { kind: 'changed', watchers: others }
    return { kind: 'failed', code: 'ENOTCONN', detail: `${describeWatch(id)} does not watch it` }
  }
  if (others.length >= watchLimits.watchersMax) {
    return { kind: 'failed', code: 'EBUSY', detail: `it has ${watchLimits.watchersMax} watchers, the most it may have` }
  }
  return { kind: 'changed', watchers: [...others, { ...id, timeoutMs: op.timeoutMs }] }
}

/** Undefined when the operation is sound, whatever the object is. */
export function checkWatchOp(op: WatchOp, steps: number): string | undefined {
  if (steps > 1) return `${op.kind} stands alone in its operation`
  switch (op.kind) {
    case 'watch':
      return op.timeoutMs >= watchLimits.timeoutMsMin && op.timeoutMs <= watchLimits.timeoutMsMax
        ? undefined
        : `a watch ends after ${watchLimits.timeoutMsMin} to ${watchLimits.timeoutMsMax} ms without a sign of life`
    case 'unwatch':
      return op.client === 0 ? undefined : 'a client ends its own watches only'
    case 'notify':
      if (op.data.length > watchLimits.notifyBytesMax)
        return `a notify carries at most ${watchLimits.notifyBytesMax} bytes`
      return op.timeoutMs > 0 && op.timeoutMs <= watchLimits.notifyTimeoutMsMax
        ? undefined
        : `a notify waits for 1 to ${watchLimits.notifyTimeoutMsMax} ms`
    case 'notify-ack':
      return op.data.length <= watchLimits.ackBytesMax
        ? undefined
        : `an acknowledgement carries at most ${watchLimits.ackBytesMax} bytes`
    default:
      return undefined
  }
}
