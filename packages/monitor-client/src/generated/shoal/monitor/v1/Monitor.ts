// Original file: ../../protos/monitor.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { CommandReply as _shoal_monitor_v1_CommandReply, CommandReply__Output as _shoal_monitor_v1_CommandReply__Output } from '../../../shoal/monitor/v1/CommandReply.ts';
import type { CommandRequest as _shoal_monitor_v1_CommandRequest, CommandRequest__Output as _shoal_monitor_v1_CommandRequest__Output } from '../../../shoal/monitor/v1/CommandRequest.ts';
import type { GetOsdMapReply as _shoal_monitor_v1_GetOsdMapReply, GetOsdMapReply__Output as _shoal_monitor_v1_GetOsdMapReply__Output } from '../../../shoal/monitor/v1/GetOsdMapReply.ts';
import type { GetOsdMapRequest as _shoal_monitor_v1_GetOsdMapRequest, GetOsdMapRequest__Output as _shoal_monitor_v1_GetOsdMapRequest__Output } from '../../../shoal/monitor/v1/GetOsdMapRequest.ts';
import type { MapUpdate as _shoal_monitor_v1_MapUpdate, MapUpdate__Output as _shoal_monitor_v1_MapUpdate__Output } from '../../../shoal/monitor/v1/MapUpdate.ts';
import type { ReportReply as _shoal_monitor_v1_ReportReply, ReportReply__Output as _shoal_monitor_v1_ReportReply__Output } from '../../../shoal/monitor/v1/ReportReply.ts';
import type { ReportRequest as _shoal_monitor_v1_ReportRequest, ReportRequest__Output as _shoal_monitor_v1_ReportRequest__Output } from '../../../shoal/monitor/v1/ReportRequest.ts';
import type { SubscribeRequest as _shoal_monitor_v1_SubscribeRequest, SubscribeRequest__Output as _shoal_monitor_v1_SubscribeRequest__Output } from '../../../shoal/monitor/v1/SubscribeRequest.ts';

export interface MonitorClient extends grpc.Client {
  /**
   * A command by prefix. Followers pass it to the leader once.
   */
  Command(argument: _shoal_monitor_v1_CommandRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  Command(argument: _shoal_monitor_v1_CommandRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  Command(argument: _shoal_monitor_v1_CommandRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  Command(argument: _shoal_monitor_v1_CommandRequest, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  /**
   * A command by prefix. Followers pass it to the leader once.
   */
  command(argument: _shoal_monitor_v1_CommandRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  command(argument: _shoal_monitor_v1_CommandRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  command(argument: _shoal_monitor_v1_CommandRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  command(argument: _shoal_monitor_v1_CommandRequest, callback: grpc.requestCallback<_shoal_monitor_v1_CommandReply__Output>): grpc.ClientUnaryCall;
  
  /**
   * A past OSD map, whole.
   */
  GetOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  GetOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  GetOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  GetOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  /**
   * A past OSD map, whole.
   */
  getOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  getOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  getOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  getOsdMap(argument: _shoal_monitor_v1_GetOsdMapRequest, callback: grpc.requestCallback<_shoal_monitor_v1_GetOsdMapReply__Output>): grpc.ClientUnaryCall;
  
  /**
   * What OSDs tell. Accepted means "the leader has it", never "it took effect": senders repeat until the map shows it.
   */
  Report(argument: _shoal_monitor_v1_ReportRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  Report(argument: _shoal_monitor_v1_ReportRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  Report(argument: _shoal_monitor_v1_ReportRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  Report(argument: _shoal_monitor_v1_ReportRequest, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  /**
   * What OSDs tell. Accepted means "the leader has it", never "it took effect": senders repeat until the map shows it.
   */
  report(argument: _shoal_monitor_v1_ReportRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  report(argument: _shoal_monitor_v1_ReportRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  report(argument: _shoal_monitor_v1_ReportRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  report(argument: _shoal_monitor_v1_ReportRequest, callback: grpc.requestCallback<_shoal_monitor_v1_ReportReply__Output>): grpc.ClientUnaryCall;
  
  /**
   * Maps as they change. The stream lives as long as the session; it ends when this monitor falls out of quorum.
   */
  Subscribe(argument: _shoal_monitor_v1_SubscribeRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_shoal_monitor_v1_MapUpdate__Output>;
  Subscribe(argument: _shoal_monitor_v1_SubscribeRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_shoal_monitor_v1_MapUpdate__Output>;
  /**
   * Maps as they change. The stream lives as long as the session; it ends when this monitor falls out of quorum.
   */
  subscribe(argument: _shoal_monitor_v1_SubscribeRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_shoal_monitor_v1_MapUpdate__Output>;
  subscribe(argument: _shoal_monitor_v1_SubscribeRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_shoal_monitor_v1_MapUpdate__Output>;
  
}

export interface MonitorHandlers extends grpc.UntypedServiceImplementation {
  /**
   * A command by prefix. Followers pass it to the leader once.
   */
  Command: grpc.handleUnaryCall<_shoal_monitor_v1_CommandRequest__Output, _shoal_monitor_v1_CommandReply>;
  
  /**
   * A past OSD map, whole.
   */
  GetOsdMap: grpc.handleUnaryCall<_shoal_monitor_v1_GetOsdMapRequest__Output, _shoal_monitor_v1_GetOsdMapReply>;
  
  /**
   * What OSDs tell. Accepted means "the leader has it", never "it took effect": senders repeat until the map shows it.
   */
  Report: grpc.handleUnaryCall<_shoal_monitor_v1_ReportRequest__Output, _shoal_monitor_v1_ReportReply>;
  
  /**
   * Maps as they change. The stream lives as long as the session; it ends when this monitor falls out of quorum.
   */
  Subscribe: grpc.handleServerStreamingCall<_shoal_monitor_v1_SubscribeRequest__Output, _shoal_monitor_v1_MapUpdate>;
  
}

export interface MonitorDefinition extends grpc.ServiceDefinition {
  Command: MethodDefinition<_shoal_monitor_v1_CommandRequest, _shoal_monitor_v1_CommandReply, _shoal_monitor_v1_CommandRequest__Output, _shoal_monitor_v1_CommandReply__Output>
  GetOsdMap: MethodDefinition<_shoal_monitor_v1_GetOsdMapRequest, _shoal_monitor_v1_GetOsdMapReply, _shoal_monitor_v1_GetOsdMapRequest__Output, _shoal_monitor_v1_GetOsdMapReply__Output>
  Report: MethodDefinition<_shoal_monitor_v1_ReportRequest, _shoal_monitor_v1_ReportReply, _shoal_monitor_v1_ReportRequest__Output, _shoal_monitor_v1_ReportReply__Output>
  Subscribe: MethodDefinition<_shoal_monitor_v1_SubscribeRequest, _shoal_monitor_v1_MapUpdate, _shoal_monitor_v1_SubscribeRequest__Output, _shoal_monitor_v1_MapUpdate__Output>
}
