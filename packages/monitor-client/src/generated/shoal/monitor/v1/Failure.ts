// Original file: ../../protos/monitor.proto


export interface Failure {
  /**
   * A word of the error table: `ENOENT`.
   */
  'code'?: (string);
  'message'?: (string);
  'hint'?: (string);
  'retry'?: (boolean);
  /**
   * Whether the request may have taken effect all the same.
   */
  'outcomeUnknown'?: (boolean);
}

export interface Failure__Output {
  /**
   * A word of the error table: `ENOENT`.
   */
  'code': (string);
  'message': (string);
  'hint': (string);
  'retry': (boolean);
  /**
   * Whether the request may have taken effect all the same.
   */
  'outcomeUnknown': (boolean);
}
