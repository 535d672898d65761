// Original file: ../../protos/monitor.proto

import type { PgTempEntry as _shoal_monitor_v1_PgTempEntry, PgTempEntry__Output as _shoal_monitor_v1_PgTempEntry__Output } from '../../../shoal/monitor/v1/PgTempEntry.ts';

export interface PgTempRequest {
  'osd'?: (number);
  'epoch'?: (number);
  'entries'?: (_shoal_monitor_v1_PgTempEntry)[];
}

export interface PgTempRequest__Output {
  'osd': (number);
  'epoch': (number);
  'entries': (_shoal_monitor_v1_PgTempEntry__Output)[];
}
