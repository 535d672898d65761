/** What operators ask of a placement group: its primary answers, once it has peered. */
import { ClusterError, isClusterError, wholePgId } from '@shoal/base'
import type { Backfill } from './backfill.ts'
import type { PgCore } from './core.ts'
import type { OperatorCommand } from './effects.ts'
import type { LostObjects } from './lost-objects.ts'
import { osdOf } from './member.ts'
import type { Peering } from './peering.ts'
import type { Recovery } from './recovery.ts'

export interface OperatedParts {
  readonly peering: Pick<Peering, 'phase'>
  readonly lost: LostObjects
  readonly recovery: Pick<Recovery, 'force'>
  readonly backfill: Pick<Backfill, 'force'>
}

export class OperatorDesk {
  private readonly core: PgCore
  private readonly parts: OperatedParts

  constructor(core: PgCore, parts: OperatedParts) {
    this.core = core
    this.parts = parts
  }

  /** Emits the answer, whatever it is. */
  onCommand(id: number, command: OperatorCommand): void {
    try {
      const result = this.operate(command)
      this.core.emit({ kind: 'operator-answer', id, answer: { kind: 'done', result } })
    } catch (error) {
      if (!isClusterError(error)) throw error
      this.core.emit({ kind: 'operator-answer', id, answer: { kind: 'failed', error } })
    }
  }

  private operate(command: OperatorCommand): unknown {
    const { core } = this
    const { peering, lost, recovery, backfill } = this.parts
    const hint = `shoal pg query ${wholePgId(core.pgId)}`
    if (!core.isPrimary || peering.phase !== 'started') {
      throw new ClusterError('EAGAIN', `osd.${osdOf(core.whoami)} does not serve ${wholePgId(core.pgId)} now`, { hint })
    }
    switch (command.kind) {
      case 'list-unfound':
        return lost.list()
      case 'mark-unfound-lost':
        if (!core.mayServe) {
          throw new ClusterError('EAGAIN', `${wholePgId(core.pgId)} has fewer members than min_size`, { hint })
        }
        return lost.mark(command.mode)
      case 'force': {
        const part = command.what === 'recovery' ? recovery : backfill
        return { pgId: core.pgId, changed: part.force(command.on) }
      }
    }
  }
}
