// Original file: ../../protos/monitor.proto

import type { Long } from '@grpc/proto-loader';

export interface OsdShutdown {
  'osd'?: (number);
  'incarnation'?: (number | string | Long);
}

export interface OsdShutdown__Output {
  'osd': (number);
  'incarnation': (number);
}
