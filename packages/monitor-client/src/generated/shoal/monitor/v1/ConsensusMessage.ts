// Original file: ../../protos/monitor.proto

import type { Long } from '@grpc/proto-loader';

export interface ConsensusMessage {
  /**
   * Raft ids. A monitor drops what is meant for a predecessor at its address.
   */
  'from'?: (number | string | Long);
  'to'?: (number | string | Long);
  'payload'?: (Buffer | Uint8Array | string);
  /**
   * Where the sender answers. A monitor that was away may not have the map with it yet.
   */
  'address'?: (string);
}

export interface ConsensusMessage__Output {
  /**
   * Raft ids. A monitor drops what is meant for a predecessor at its address.
   */
  'from': (number);
  'to': (number);
  'payload': (Buffer);
  /**
   * Where the sender answers. A monitor that was away may not have the map with it yet.
   */
  'address': (string);
}
