// Original file: ../../protos/monitor.proto


export interface CommandRequest {
  /**
   * {"prefix": "osd pool create", "pool": "rbd", ...}
   */
  'commandJson'?: (string);
  /**
   * Unique to the command, the same in each retry: a command is executed once per id.
   */
  'requestId'?: (string);
  /**
   * Read what this monitor has, even without a quorum.
   */
  'stale'?: (boolean);
  /**
   * Came from another monitor: do not pass it on again.
   */
  'forwarded'?: (boolean);
  'timeoutMs'?: (number);
}

export interface CommandRequest__Output {
  /**
   * {"prefix": "osd pool create", "pool": "rbd", ...}
   */
  'commandJson': (string);
  /**
   * Unique to the command, the same in each retry: a command is executed once per id.
   */
  'requestId': (string);
  /**
   * Read what this monitor has, even without a quorum.
   */
  'stale': (boolean);
  /**
   * Came from another monitor: do not pass it on again.
   */
  'forwarded': (boolean);
  'timeoutMs': (number);
}
