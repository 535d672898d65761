// Original file: ../../protos/monitor.proto


export interface SubscribeRequest {
  /**
   * `osd.3`, `client.4711`: for people.
   */
  'entity'?: (string);
  /**
   * The newest OSD map held; 0 for none. Incrementals follow from here, or a full map where they are trimmed.
   */
  'osdMapEpoch'?: (number);
  /**
   * The newest monitor map held; 0 for none.
   */
  'monitorMapEpoch'?: (number);
  /**
   * The machine, as CRUSH would name it: which masks of the configuration apply to it. Empty: none.
   */
  'host'?: (string);
}

export interface SubscribeRequest__Output {
  /**
   * `osd.3`, `client.4711`: for people.
   */
  'entity': (string);
  /**
   * The newest OSD map held; 0 for none. Incrementals follow from here, or a full map where they are trimmed.
   */
  'osdMapEpoch': (number);
  /**
   * The newest monitor map held; 0 for none.
   */
  'monitorMapEpoch': (number);
  /**
   * The machine, as CRUSH would name it: which masks of the configuration apply to it. Empty: none.
   */
  'host': (string);
}
