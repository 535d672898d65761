// Original file: ../../protos/monitor.proto

import type { OsdBoot as _shoal_monitor_v1_OsdBoot, OsdBoot__Output as _shoal_monitor_v1_OsdBoot__Output } from '../../../shoal/monitor/v1/OsdBoot.ts';
import type { OsdShutdown as _shoal_monitor_v1_OsdShutdown, OsdShutdown__Output as _shoal_monitor_v1_OsdShutdown__Output } from '../../../shoal/monitor/v1/OsdShutdown.ts';
import type { OsdFailure as _shoal_monitor_v1_OsdFailure, OsdFailure__Output as _shoal_monitor_v1_OsdFailure__Output } from '../../../shoal/monitor/v1/OsdFailure.ts';
import type { UpThruRequest as _shoal_monitor_v1_UpThruRequest, UpThruRequest__Output as _shoal_monitor_v1_UpThruRequest__Output } from '../../../shoal/monitor/v1/UpThruRequest.ts';
import type { PgTempRequest as _shoal_monitor_v1_PgTempRequest, PgTempRequest__Output as _shoal_monitor_v1_PgTempRequest__Output } from '../../../shoal/monitor/v1/PgTempRequest.ts';
import type { LogEntry as _shoal_monitor_v1_LogEntry, LogEntry__Output as _shoal_monitor_v1_LogEntry__Output } from '../../../shoal/monitor/v1/LogEntry.ts';

export interface Report {
  'boot'?: (_shoal_monitor_v1_OsdBoot | null);
  'shutdown'?: (_shoal_monitor_v1_OsdShutdown | null);
  'failure'?: (_shoal_monitor_v1_OsdFailure | null);
  'upThru'?: (_shoal_monitor_v1_UpThruRequest | null);
  'pgTemp'?: (_shoal_monitor_v1_PgTempRequest | null);
  /**
   * The bytes of `statsReportCodec`: many numbers, often.
   */
  'stats'?: (Buffer | Uint8Array | string);
  'log'?: (_shoal_monitor_v1_LogEntry | null);
  'kind'?: "boot"|"shutdown"|"failure"|"upThru"|"pgTemp"|"stats"|"log";
}

export interface Report__Output {
  'boot'?: (_shoal_monitor_v1_OsdBoot__Output | null);
  'shutdown'?: (_shoal_monitor_v1_OsdShutdown__Output | null);
  'failure'?: (_shoal_monitor_v1_OsdFailure__Output | null);
  'upThru'?: (_shoal_monitor_v1_UpThruRequest__Output | null);
  'pgTemp'?: (_shoal_monitor_v1_PgTempRequest__Output | null);
  /**
   * The bytes of `statsReportCodec`: many numbers, often.
   */
  'stats'?: (Buffer);
  'log'?: (_shoal_monitor_v1_LogEntry__Output | null);
  'kind'?: "boot"|"shutdown"|"failure"|"upThru"|"pgTemp"|"stats"|"log";
}
