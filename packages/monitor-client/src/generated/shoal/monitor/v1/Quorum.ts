// Original file: ../../protos/monitor.proto

import type { Long } from '@grpc/proto-loader';

export interface Quorum {
  'term'?: (number | string | Long);
  /**
   * 0 while there is no leader.
   */
  'leaderId'?: (number | string | Long);
}

export interface Quorum__Output {
  'term': (number);
  /**
   * 0 while there is no leader.
   */
  'leaderId': (number);
}
