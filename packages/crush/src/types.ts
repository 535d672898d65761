/**
 * The CRUSH map as plain immutable data, with the names and limits of Ceph.
 *
 * Invariants, established by every constructor of a map here (compile, decode, edits) and checked by `checkCrushMap`:
 * 1. `buckets[i]` has the id `-1 - i`; a hole is undefined.
 * 2. The arrays of a bucket fit its items, and a tree has a node for each of them.
 * 3. Buckets form no loop and are nested at most `depthMax` deep: a walk downwards ends.
 *
 * Weights are 16.16 fixed point in an unsigned 32-bit integer: 0x10000 is 1.0.
 */

/** A position of an `indep` result that CRUSH could not fill. */
export const crushItemNone = 0x7fff_ffff
/** The id of the choose_args that apply where those asked for do not exist. */
export const defaultChooseArgs = -1
/** Types of a rule, as stored. */
export const ruleTypeReplicated = 1
export const ruleTypeErasure = 3

/** Bounds on what hostile input may ask for; far beyond any real map. */
export const bucketSlotsMax = 1_048_576
export const rulesMax = 65_536
export const devicesMax = 16_777_216
export const depthMax = 256

export const bucketAlgorithms = ['uniform', 'list', 'tree', 'straw', 'straw2'] as const
export type BucketAlgorithm = (typeof bucketAlgorithms)[number]

interface BucketBase {
  /** Negative. */
  readonly id: number
  /** A key of `CrushMap.types`; 16 bits. */
  readonly type: number
  /** 0 is rjenkins1, the only hash there is; with any other, every draw is 0 (as in Ceph). */
  readonly hash: number
  /** The sum of its items. */
  readonly weight: number
  /** Devices are non-negative, buckets negative. */
  readonly items: readonly number[]
}

export interface UniformBucket extends BucketBase {
  readonly algorithm: 'uniform'
  readonly itemWeight: number
}

export interface ListBucket extends BucketBase {
  readonly algorithm: 'list'
  readonly itemWeights: readonly number[]
  /** Of the items up to and with this one. */
  readonly sumWeights: readonly number[]
}

export interface TreeBucket extends BucketBase {
  readonly algorithm: 'tree'
  /** Item `i` is the node `2 * i + 1`; the length is a power of two, at most 128. */
  readonly nodeWeights: readonly number[]
}

export interface StrawBucket extends BucketBase {
  readonly algorithm: 'straw'
  readonly itemWeights: readonly number[]
  readonly straws: readonly number[]
}

export interface Straw2Bucket extends BucketBase {
  readonly algorithm: 'straw2'
  readonly itemWeights: readonly number[]
}

export type CrushBucket = UniformBucket | ListBucket | TreeBucket | StrawBucket | Straw2Bucket

/** Opcodes of rule steps, as stored. A step with another opcode does nothing. */
export const stepOp = {
  noop: 0,
  take: 1,
  chooseFirstn: 2,
  chooseIndep: 3,
  emit: 4,
  chooseleafFirstn: 6,
  chooseleafIndep: 7,
  setChooseTries: 8,
  setChooseleafTries: 9,
  setChooseLocalTries: 10,
  setChooseLocalFallbackTries: 11,
  setChooseleafVaryR: 12,
  setChooseleafStable: 13,
} as const

export interface RuleStep {
  readonly op: number
  /** The item taken, the number to choose (0 or less: relative to the number asked for), or the value set. */
  readonly arg1: number
  /** The type to choose. */
  readonly arg2: number
}

export interface CrushRule {
  /** The id as old clusters knew it; equal to the rule's index (mod 256) in any map of the last ten years. */
  readonly ruleset: number
  /** {@link ruleTypeReplicated}, {@link ruleTypeErasure} or another byte. */
  readonly type: number
  readonly minSize: number
  readonly maxSize: number
  readonly steps: readonly RuleStep[]
}

export interface CrushTunables {
  readonly chooseLocalTries: number
  readonly chooseLocalFallbackTries: number
  readonly chooseTotalTries: number
  readonly chooseleafDescendOnce: number
  readonly chooseleafVaryR: number
  readonly chooseleafStable: number
  readonly strawCalcVersion: number
  /** Bit `n` allows the algorithm numbered `n` (uniform is 1). */
  readonly allowedBucketAlgs: number
}

/** Weights (per result position) and ids that take the place of a straw2 bucket's own in the draw. */
export interface ChooseArg {
  /** One array of weights per position; positions past the last use the last; empty: the bucket's own weights. */
  readonly weightSet: readonly (readonly number[])[]
  /** Undefined: the bucket's own items. */
  readonly ids: readonly number[] | undefined
}

/** By bucket index (`-1 - id`). */
export type ChooseArgs = ReadonlyMap<number, ChooseArg>

export interface CrushMap {
  /** Index `-1 - id`; its length is what Ceph stores as max_buckets. */
  readonly buckets: readonly (CrushBucket | undefined)[]
  /** Index is the rule id. */
  readonly rules: readonly (CrushRule | undefined)[]
  /** One more than the highest device id. */
  readonly maxDevices: number
  readonly tunables: CrushTunables
  readonly types: ReadonlyMap<number, string>
  /** Of devices, buckets and shadow buckets (`NAME~CLASS`). */
  readonly names: ReadonlyMap<number, string>
  readonly ruleNames: ReadonlyMap<number, string>
  /** Item (device or shadow bucket) to class id. */
  readonly itemClasses: ReadonlyMap<number, number>
  readonly classNames: ReadonlyMap<number, string>
  /** Bucket id to class id to the id of its shadow. */
  readonly classBuckets: ReadonlyMap<number, ReadonlyMap<number, number>>
  /** By the id of a pool, or {@link defaultChooseArgs}. */
  readonly chooseArgs: ReadonlyMap<number, ChooseArgs>
}

export type TunableProfile = 'legacy' | 'argonaut' | 'bobtail' | 'firefly' | 'hammer' | 'jewel' | 'optimal' | 'default'

const legacyAlgorithms = 22
const hammerAlgorithms = 54

function profile(
  local: readonly [number, number],
  totalTries: number,
  leaf: readonly [number, number, number],
  strawCalcVersion: number,
  allowedBucketAlgs: number,
): CrushTunables {
  return {
    chooseLocalTries: local[0],
    chooseLocalFallbackTries: local[1],
    chooseTotalTries: totalTries,
    chooseleafDescendOnce: leaf[0],
    chooseleafVaryR: leaf[1],
    chooseleafStable: leaf[2],
    strawCalcVersion,
    allowedBucketAlgs,
  }
}

/**
 * Ceph's tunables by profile name (docs: "CRUSH tunables"). Its profiles leave straw_calc_version as it is, except
 * legacy (0), optimal and default (1); here the profiles before hammer carry 0 and the others 1.
 */
export const tunableProfiles: Readonly<Record<TunableProfile, CrushTunables>> = {
  legacy: profile([2, 5], 19, [0, 0, 0], 0, legacyAlgorithms),
  argonaut: profile([2, 5], 19, [0, 0, 0], 0, legacyAlgorithms),
  bobtail: profile([0, 0], 50, [1, 0, 0], 0, legacyAlgorithms),
  firefly: profile([0, 0], 50, [1, 1, 0], 0, legacyAlgorithms),
  hammer: profile([0, 0], 50, [1, 1, 0], 1, hammerAlgorithms),
  jewel: profile([0, 0], 50, [1, 1, 1], 1, hammerAlgorithms),
  optimal: profile([0, 0], 50, [1, 1, 1], 1, hammerAlgorithms),
  default: profile([0, 0], 50, [1, 1, 1], 1, hammerAlgorithms),
}

/** Ceph's default bucket types. */
export const defaultTypes: readonly string[] = [
  'osd',
  'host',
  'chassis',
  'rack',
  'row',
  'pdu',
  'pod',
  'room',
  'datacenter',
  'zone',
  'region',
  'root',
]
