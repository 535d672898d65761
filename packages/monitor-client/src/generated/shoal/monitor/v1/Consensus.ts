// Original file: ../../protos/monitor.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { ConsensusMessage as _shoal_monitor_v1_ConsensusMessage, ConsensusMessage__Output as _shoal_monitor_v1_ConsensusMessage__Output } from '../../../shoal/monitor/v1/ConsensusMessage.ts';
import type { ExchangeEnd as _shoal_monitor_v1_ExchangeEnd, ExchangeEnd__Output as _shoal_monitor_v1_ExchangeEnd__Output } from '../../../shoal/monitor/v1/ExchangeEnd.ts';

/**
 * Between monitors only.
 */
export interface ConsensusClient extends grpc.Client {
  /**
   * One stream per direction and pair; the caller sends, the callee only ends it.
   */
  Exchange(metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  Exchange(metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  Exchange(options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  Exchange(callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  /**
   * One stream per direction and pair; the caller sends, the callee only ends it.
   */
  exchange(metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  exchange(metadata: grpc.Metadata, callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  exchange(options: grpc.CallOptions, callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  exchange(callback: grpc.requestCallback<_shoal_monitor_v1_ExchangeEnd__Output>): grpc.ClientWritableStream<_shoal_monitor_v1_ConsensusMessage>;
  
}

/**
 * Between monitors only.
 */
export interface ConsensusHandlers extends grpc.UntypedServiceImplementation {
  /**
   * One stream per direction and pair; the caller sends, the callee only ends it.
   */
  Exchange: grpc.handleClientStreamingCall<_shoal_monitor_v1_ConsensusMessage__Output, _shoal_monitor_v1_ExchangeEnd>;
  
}

export interface ConsensusDefinition extends grpc.ServiceDefinition {
  Exchange: MethodDefinition<_shoal_monitor_v1_ConsensusMessage, _shoal_monitor_v1_ExchangeEnd, _shoal_monitor_v1_ConsensusMessage__Output, _shoal_monitor_v1_ExchangeEnd__Output>
}
