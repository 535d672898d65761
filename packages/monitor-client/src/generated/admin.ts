import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { AdminClient as _shoal_admin_v1_AdminClient, AdminDefinition as _shoal_admin_v1_AdminDefinition } from './shoal/admin/v1/Admin.ts';
import type { AdminFailure as _shoal_admin_v1_AdminFailure, AdminFailure__Output as _shoal_admin_v1_AdminFailure__Output } from './shoal/admin/v1/AdminFailure.ts';
import type { AdminReply as _shoal_admin_v1_AdminReply, AdminReply__Output as _shoal_admin_v1_AdminReply__Output } from './shoal/admin/v1/AdminReply.ts';
import type { AdminRequest as _shoal_admin_v1_AdminRequest, AdminRequest__Output as _shoal_admin_v1_AdminRequest__Output } from './shoal/admin/v1/AdminRequest.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  shoal: {
    admin: {
      v1: {
        Admin: SubtypeConstructor<typeof grpc.Client, _shoal_admin_v1_AdminClient> & { service: _shoal_admin_v1_AdminDefinition }
        AdminFailure: MessageTypeDefinition<_shoal_admin_v1_AdminFailure, _shoal_admin_v1_AdminFailure__Output>
        AdminReply: MessageTypeDefinition<_shoal_admin_v1_AdminReply, _shoal_admin_v1_AdminReply__Output>
        AdminRequest: MessageTypeDefinition<_shoal_admin_v1_AdminRequest, _shoal_admin_v1_AdminRequest__Output>
      }
    }
  }
}

