// Original file: ../../protos/admin.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { AdminReply as _shoal_admin_v1_AdminReply, AdminReply__Output as _shoal_admin_v1_AdminReply__Output } from '../../../shoal/admin/v1/AdminReply.ts';
import type { AdminRequest as _shoal_admin_v1_AdminRequest, AdminRequest__Output as _shoal_admin_v1_AdminRequest__Output } from '../../../shoal/admin/v1/AdminRequest.ts';

export interface AdminClient extends grpc.Client {
  Call(argument: _shoal_admin_v1_AdminRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  Call(argument: _shoal_admin_v1_AdminRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  Call(argument: _shoal_admin_v1_AdminRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  Call(argument: _shoal_admin_v1_AdminRequest, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  call(argument: _shoal_admin_v1_AdminRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  call(argument: _shoal_admin_v1_AdminRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  call(argument: _shoal_admin_v1_AdminRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  call(argument: _shoal_admin_v1_AdminRequest, callback: grpc.requestCallback<_shoal_admin_v1_AdminReply__Output>): grpc.ClientUnaryCall;
  
}

export interface AdminHandlers extends grpc.UntypedServiceImplementation {
  Call: grpc.handleUnaryCall<_shoal_admin_v1_AdminRequest__Output, _shoal_admin_v1_AdminReply>;
  
}

export interface AdminDefinition extends grpc.ServiceDefinition {
  Call: MethodDefinition<_shoal_admin_v1_AdminRequest, _shoal_admin_v1_AdminReply, _shoal_admin_v1_AdminRequest__Output, _shoal_admin_v1_AdminReply__Output>
}
