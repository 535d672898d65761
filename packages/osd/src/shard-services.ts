/**
 * An erasure-coded placement group speaks of members, OSDs with a shard; the OSD around it knows OSDs. These are the
 * services of the OSD in the words of such a machine. Another shard may lie on this very OSD: it is served here, too.
 */
import { concatBytes, type OsdId, type PgId, wholePgId } from '@shoal/base'
import { osdOf, type PgLeases, type PgSpace, placesOf } from '@shoal/placement-group'
import type { PgEnvelope } from '@shoal/wire'
import type { PgServices } from './pg-services.ts'

export function shardServices(
  services: PgServices,
  whoami: OsdId,
  poolSize: () => number,
  deliver: (from: OsdId, message: PgEnvelope) => void,
): PgServices {
  return {
    ...services,
    send(to, message) {
      const osd = osdOf(to)
      if (osd !== whoami) services.send(osd, message)
      else if (message.type === 'pg') {
        const whole = { ...message, payload: [concatBytes(message.payload)] }
        services.env.timers.soon(() => deliver(whoami, whole))
      }
    },
    requestPgTemp(pgId: PgId, members) {
      services.requestPgTemp(wholePgId(pgId), members.length === 0 ? [] : placesOf(members, poolSize()))
    },
  }
}

export function shardLeases(leases: PgLeases, whoami: OsdId): PgLeases {
  return {
    heldUntilMs(peer) {
      const osd = osdOf(peer)
      return osd === whoami ? Number.POSITIVE_INFINITY : leases.heldUntilMs(osd)
    },
    want(peer, nowMs) {
      if (osdOf(peer) !== whoami) leases.want(osdOf(peer), nowMs)
    },
    isLate: (peer, nowMs) => osdOf(peer) !== whoami && leases.isLate(osdOf(peer), nowMs),
    grantedUntilMs(peer, since) {
      const osd = osdOf(peer)
      return osd === whoami ? Number.NEGATIVE_INFINITY : leases.grantedUntilMs(osd, since)
    },
  }
}

export function shardSpace(space: PgSpace, whoami: OsdId): PgSpace {
  return {
    admits: (members, bytes) => space.admits(members.map(osdOf), bytes),
    hasRoomFor: (bytes) => space.hasRoomFor(bytes),
    get isBackfillFull() {
      return space.isBackfillFull
    },
    get roomBytes() {
      return space.roomBytes
    },
    onRoom(peer, roomBytes) {
      if (osdOf(peer) !== whoami) space.onRoom(osdOf(peer), roomBytes)
    },
  }
}
