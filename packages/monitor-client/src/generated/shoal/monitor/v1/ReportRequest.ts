// Original file: ../../protos/monitor.proto

import type { Report as _shoal_monitor_v1_Report, Report__Output as _shoal_monitor_v1_Report__Output } from '../../../shoal/monitor/v1/Report.ts';

export interface ReportRequest {
  'reports'?: (_shoal_monitor_v1_Report)[];
  'forwarded'?: (boolean);
}

export interface ReportRequest__Output {
  'reports': (_shoal_monitor_v1_Report__Output)[];
  'forwarded': (boolean);
}
