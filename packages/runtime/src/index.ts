export { createRealEnv, installCrashHandlers, type RealEnv, type RealEnvOptions } from './real-env.ts'
export type { LogLevel } from './real-log.ts'
export { type TlsServerCredentials, tlsServer } from './tls-server.ts'
