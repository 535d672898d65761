// Original file: ../../protos/monitor.proto

import type { Quorum as _shoal_monitor_v1_Quorum, Quorum__Output as _shoal_monitor_v1_Quorum__Output } from '../../../shoal/monitor/v1/Quorum.ts';
import type { Failure as _shoal_monitor_v1_Failure, Failure__Output as _shoal_monitor_v1_Failure__Output } from '../../../shoal/monitor/v1/Failure.ts';

export interface MapUpdate {
  /**
   * Replaces what the subscriber has, when present.
   */
  'osdMapFull'?: (Buffer | Uint8Array | string);
  /**
   * Consecutive, oldest first; the first applies to what the subscriber has after `osd_map_full`.
   */
  'osdMapIncrementals'?: (Buffer | Uint8Array | string)[];
  'monitorMap'?: (Buffer | Uint8Array | string);
  /**
   * Present whenever leader or term changed: subscribers tell a new leader again what only memory held.
   */
  'quorum'?: (_shoal_monitor_v1_Quorum | null);
  /**
   * The last message of a stream that the monitor ends.
   */
  'failure'?: (_shoal_monitor_v1_Failure | null);
  /**
   * The bytes of `effectiveConfigCodec`: what the configuration says for this subscriber, whenever that changed.
   */
  'config'?: (Buffer | Uint8Array | string);
}

export interface MapUpdate__Output {
  /**
   * Replaces what the subscriber has, when present.
   */
  'osdMapFull': (Buffer);
  /**
   * Consecutive, oldest first; the first applies to what the subscriber has after `osd_map_full`.
   */
  'osdMapIncrementals': (Buffer)[];
  'monitorMap': (Buffer);
  /**
   * Present whenever leader or term changed: subscribers tell a new leader again what only memory held.
   */
  'quorum': (_shoal_monitor_v1_Quorum__Output | null);
  /**
   * The last message of a stream that the monitor ends.
   */
  'failure': (_shoal_monitor_v1_Failure__Output | null);
  /**
   * The bytes of `effectiveConfigCodec`: what the configuration says for this subscriber, whenever that changed.
   */
  'config': (Buffer);
}
