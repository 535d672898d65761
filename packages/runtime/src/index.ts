export { createRealEnv, installCrashHandlers, type RealEnv, type RealEnvOptions } from './real-env.ts'
export type { LogLevel } from './real-log.ts'
