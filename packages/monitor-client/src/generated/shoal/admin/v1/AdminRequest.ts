// Original file: ../../protos/admin.proto


export interface AdminRequest {
  /**
   * `perf`, `ops`, `version`, ...; `help` lists what this daemon answers.
   */
  'method'?: (string);
  /**
   * A JSON object.
   */
  'argumentsJson'?: (string);
}

export interface AdminRequest__Output {
  /**
   * `perf`, `ops`, `version`, ...; `help` lists what this daemon answers.
   */
  'method': (string);
  /**
   * A JSON object.
   */
  'argumentsJson': (string);
}
