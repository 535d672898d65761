// Original file: ../../protos/admin.proto

import type { AdminFailure as _shoal_admin_v1_AdminFailure, AdminFailure__Output as _shoal_admin_v1_AdminFailure__Output } from '../../../shoal/admin/v1/AdminFailure.ts';

export interface AdminReply {
  /**
   * JSON; meaningless when `failure` is set.
   */
  'resultJson'?: (string);
  'failure'?: (_shoal_admin_v1_AdminFailure | null);
}

export interface AdminReply__Output {
  /**
   * JSON; meaningless when `failure` is set.
   */
  'resultJson': (string);
  'failure': (_shoal_admin_v1_AdminFailure__Output | null);
}
