export { decodeCrushMap, encodeCrushMap } from './binary.ts'
export { checkCrushMap } from './check.ts'
export { crushCompile } from './compile.ts'
export { crushDecompile } from './decompile.ts'
export {
  addBucket,
  addItem,
  type CrushLocation,
  createOrMove,
  emptyCrushMap,
  moveItem,
  removeItem,
  renameBucket,
  reweightItem,
  rmDeviceClass,
  setDeviceClass,
  setTunables,
  updateItem,
} from './edits.ts'
export { CrushMapper } from './mapper.ts'
export { stableMod, stableModMask, strHashRjenkins } from './name-hash.ts'
export { hash2, hash3 } from './rjenkins.ts'
export { createErasureRule, createReplicatedRule, type NewRule, removeRule, ruleIdOf } from './rules.ts'
export { type CrushTestOptions, type PrintLine, testCrushMap } from './tester.ts'
export {
  ancestorOf,
  ancestorsOf,
  bucketItemWeight,
  type CrushTreeNode,
  isShadow,
  locationOf,
  treeOf,
} from './tree.ts'
export * from './types.ts'
