/** What the stored configuration says for one daemon, as monitors send it whenever that changes. */
import { array, type Codec, type Epoch, string, struct, u32, versioned } from '@shoal/base'
import { knownOption } from './option-index.ts'
import { parseTarget, precisionOf, type Subject } from './section.ts'

/** One value as monitors store it. */
export interface StoredOption {
  /** For whom: the canonical text of a target. */
  readonly who: string
  readonly name: string
  /** Canonical text. */
  readonly value: string
}

export interface EffectiveValue {
  readonly name: string
  readonly value: string
  /** The target that it was set for. */
  readonly from: string
}

export interface EffectiveConfig {
  /** Of the stored configuration; grows with each change of it. */
  readonly version: number
  /** Of the OSD map by which masks were looked up. */
  readonly epoch: Epoch
  /** By name. */
  readonly values: readonly EffectiveValue[]
}

export const effectiveConfigCodec: Codec<EffectiveConfig> = versioned(
  1,
  1,
  'effective configuration',
  struct<EffectiveConfig>({
    version: u32(),
    epoch: u32<Epoch>(),
    values: array(struct<EffectiveValue>({ name: string(), value: string(), from: string() })),
  }),
)

/** The most precise value of each option that the subject reads, by name. */
export function effectiveValues(stored: Iterable<StoredOption>, subject: Subject): readonly EffectiveValue[] {
  const best = new Map<string, { readonly precision: number; readonly value: EffectiveValue }>()
  for (const { who, name, value } of stored) {
    if (knownOption(name)?.services.includes(subject.service) === false) continue
    const precision = precisionOf(parseTarget(who), subject)
    if (precision === undefined || precision <= (best.get(name)?.precision ?? -1)) continue
    best.set(name, { precision, value: { name, value, from: who } })
  }
  return [...best.values()].map(({ value }) => value).sort((a, b) => (a.name < b.name ? -1 : 1))
}
