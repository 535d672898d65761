// Original file: ../../protos/monitor.proto

import type { Long } from '@grpc/proto-loader';

export interface OsdFailure {
  'reporter'?: (number);
  'failed'?: (number);
  'incarnation'?: (number | string | Long);
  'silentForMs'?: (number | string);
  'refused'?: (boolean);
  'retracted'?: (boolean);
  'epoch'?: (number);
}

export interface OsdFailure__Output {
  'reporter': (number);
  'failed': (number);
  'incarnation': (number);
  'silentForMs': (number);
  'refused': (boolean);
  'retracted': (boolean);
  'epoch': (number);
}
