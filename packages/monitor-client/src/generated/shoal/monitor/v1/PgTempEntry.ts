// Original file: ../../protos/monitor.proto


export interface PgTempEntry {
  'pgId'?: (string);
  /**
   * Empty removes the entry.
   */
  'osds'?: (number)[];
}

export interface PgTempEntry__Output {
  'pgId': (string);
  /**
   * Empty removes the entry.
   */
  'osds': (number)[];
}
