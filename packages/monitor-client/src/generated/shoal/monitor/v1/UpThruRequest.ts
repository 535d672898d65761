// Original file: ../../protos/monitor.proto


export interface UpThruRequest {
  'osd'?: (number);
  'epoch'?: (number);
}

export interface UpThruRequest__Output {
  'osd': (number);
  'epoch': (number);
}
