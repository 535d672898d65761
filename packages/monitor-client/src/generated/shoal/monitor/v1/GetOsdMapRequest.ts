// Original file: ../../protos/monitor.proto


export interface GetOsdMapRequest {
  'epoch'?: (number);
}

export interface GetOsdMapRequest__Output {
  'epoch': (number);
}
