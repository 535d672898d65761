// Original file: ../../protos/monitor.proto

import type { Failure as _shoal_monitor_v1_Failure, Failure__Output as _shoal_monitor_v1_Failure__Output } from '../../../shoal/monitor/v1/Failure.ts';

export interface CommandReply {
  'status'?: (string);
  'dataJson'?: (string);
  /**
   * Answered without asking a quorum.
   */
  'stale'?: (boolean);
  'failure'?: (_shoal_monitor_v1_Failure | null);
}

export interface CommandReply__Output {
  'status': (string);
  'dataJson': (string);
  /**
   * Answered without asking a quorum.
   */
  'stale': (boolean);
  'failure': (_shoal_monitor_v1_Failure__Output | null);
}
