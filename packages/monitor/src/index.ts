export { defaultSettings, type MonitorSettings, settingsWith } from './config.ts'
export { type JoinOptions, MonitorDaemon, type MonitorOptions } from './daemon/monitor-daemon.ts'
export { initialOsdMap, type MkfsOptions } from './daemon/monitor-store.ts'
export {
  type MapSource,
  type OsdFate,
  planRebuild,
  type RebuildOptions,
  type RebuildPlan,
  rebuiltState,
} from './rebuild/plan-rebuild.ts'
export {
  inspectMonitorStore,
  placeRebuiltStores,
  type RebuiltMonitor,
  type RebuiltStoresOptions,
  rebuildUnderWay,
  stageRebuiltStores,
} from './rebuild/rebuilt-stores.ts'
