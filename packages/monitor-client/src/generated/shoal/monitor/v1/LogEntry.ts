// Original file: ../../protos/monitor.proto


export interface LogEntry {
  'from'?: (string);
  'wallMs'?: (number | string);
  'level'?: (string);
  'message'?: (string);
}

export interface LogEntry__Output {
  'from': (string);
  'wallMs': (number);
  'level': (string);
  'message': (string);
}
