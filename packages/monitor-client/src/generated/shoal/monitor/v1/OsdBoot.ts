// Original file: ../../protos/monitor.proto

import type { Long } from '@grpc/proto-loader';

export interface OsdBoot {
  'osd'?: (number);
  'uuid'?: (string);
  'incarnation'?: (number | string | Long);
  'dataAddress'?: (string);
  'heartbeatAddress'?: (string);
  'adminAddress'?: (string);
  'features'?: (number | string | Long);
  'crushLocation'?: ({[key: string]: string});
  /**
   * Empty for none.
   */
  'deviceClass'?: (string);
  'crushWeight'?: (number | string);
  'mapEpoch'?: (number);
}

export interface OsdBoot__Output {
  'osd': (number);
  'uuid': (string);
  'incarnation': (number);
  'dataAddress': (string);
  'heartbeatAddress': (string);
  'adminAddress': (string);
  'features': (number);
  'crushLocation': ({[key: string]: string});
  /**
   * Empty for none.
   */
  'deviceClass': (string);
  'crushWeight': (number);
  'mapEpoch': (number);
}
