export { defaultSettings, type MonitorSettings, settingsWith } from './config.ts'
export { type JoinOptions, MonitorDaemon, type MonitorOptions } from './daemon/monitor-daemon.ts'
export { initialOsdMap, type MkfsOptions } from './daemon/monitor-store.ts'
