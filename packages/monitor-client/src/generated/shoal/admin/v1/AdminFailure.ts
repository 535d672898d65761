// Original file: ../../protos/admin.proto


export interface AdminFailure {
  /**
   * A word of the error table: `ENOENT`.
   */
  'code'?: (string);
  'message'?: (string);
  'hint'?: (string);
}

export interface AdminFailure__Output {
  /**
   * A word of the error table: `ENOENT`.
   */
  'code': (string);
  'message': (string);
  'hint': (string);
}
