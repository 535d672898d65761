import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { CommandReply as _shoal_monitor_v1_CommandReply, CommandReply__Output as _shoal_monitor_v1_CommandReply__Output } from './shoal/monitor/v1/CommandReply.ts';
import type { CommandRequest as _shoal_monitor_v1_CommandRequest, CommandRequest__Output as _shoal_monitor_v1_CommandRequest__Output } from './shoal/monitor/v1/CommandRequest.ts';
import type { ConsensusClient as _shoal_monitor_v1_ConsensusClient, ConsensusDefinition as _shoal_monitor_v1_ConsensusDefinition } from './shoal/monitor/v1/Consensus.ts';
import type { ConsensusMessage as _shoal_monitor_v1_ConsensusMessage, ConsensusMessage__Output as _shoal_monitor_v1_ConsensusMessage__Output } from './shoal/monitor/v1/ConsensusMessage.ts';
import type { ExchangeEnd as _shoal_monitor_v1_ExchangeEnd, ExchangeEnd__Output as _shoal_monitor_v1_ExchangeEnd__Output } from './shoal/monitor/v1/ExchangeEnd.ts';
import type { Failure as _shoal_monitor_v1_Failure, Failure__Output as _shoal_monitor_v1_Failure__Output } from './shoal/monitor/v1/Failure.ts';
import type { GetOsdMapReply as _shoal_monitor_v1_GetOsdMapReply, GetOsdMapReply__Output as _shoal_monitor_v1_GetOsdMapReply__Output } from './shoal/monitor/v1/GetOsdMapReply.ts';
import type { GetOsdMapRequest as _shoal_monitor_v1_GetOsdMapRequest, GetOsdMapRequest__Output as _shoal_monitor_v1_GetOsdMapRequest__Output } from './shoal/monitor/v1/GetOsdMapRequest.ts';
import type { LogEntry as _shoal_monitor_v1_LogEntry, LogEntry__Output as _shoal_monitor_v1_LogEntry__Output } from './shoal/monitor/v1/LogEntry.ts';
import type { MapUpdate as _shoal_monitor_v1_MapUpdate, MapUpdate__Output as _shoal_monitor_v1_MapUpdate__Output } from './shoal/monitor/v1/MapUpdate.ts';
import type { MonitorClient as _shoal_monitor_v1_MonitorClient, MonitorDefinition as _shoal_monitor_v1_MonitorDefinition } from './shoal/monitor/v1/Monitor.ts';
import type { OsdBoot as _shoal_monitor_v1_OsdBoot, OsdBoot__Output as _shoal_monitor_v1_OsdBoot__Output } from './shoal/monitor/v1/OsdBoot.ts';
import type { OsdFailure as _shoal_monitor_v1_OsdFailure, OsdFailure__Output as _shoal_monitor_v1_OsdFailure__Output } from './shoal/monitor/v1/OsdFailure.ts';
import type { OsdShutdown as _shoal_monitor_v1_OsdShutdown, OsdShutdown__Output as _shoal_monitor_v1_OsdShutdown__Output } from './shoal/monitor/v1/OsdShutdown.ts';
import type { PgTempEntry as _shoal_monitor_v1_PgTempEntry, PgTempEntry__Output as _shoal_monitor_v1_PgTempEntry__Output } from './shoal/monitor/v1/PgTempEntry.ts';
import type { PgTempRequest as _shoal_monitor_v1_PgTempRequest, PgTempRequest__Output as _shoal_monitor_v1_PgTempRequest__Output } from './shoal/monitor/v1/PgTempRequest.ts';
import type { Quorum as _shoal_monitor_v1_Quorum, Quorum__Output as _shoal_monitor_v1_Quorum__Output } from './shoal/monitor/v1/Quorum.ts';
import type { Report as _shoal_monitor_v1_Report, Report__Output as _shoal_monitor_v1_Report__Output } from './shoal/monitor/v1/Report.ts';
import type { ReportReply as _shoal_monitor_v1_ReportReply, ReportReply__Output as _shoal_monitor_v1_ReportReply__Output } from './shoal/monitor/v1/ReportReply.ts';
import type { ReportRequest as _shoal_monitor_v1_ReportRequest, ReportRequest__Output as _shoal_monitor_v1_ReportRequest__Output } from './shoal/monitor/v1/ReportRequest.ts';
import type { SubscribeRequest as _shoal_monitor_v1_SubscribeRequest, SubscribeRequest__Output as _shoal_monitor_v1_SubscribeRequest__Output } from './shoal/monitor/v1/SubscribeRequest.ts';
import type { UpThruRequest as _shoal_monitor_v1_UpThruRequest, UpThruRequest__Output as _shoal_monitor_v1_UpThruRequest__Output } from './shoal/monitor/v1/UpThruRequest.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  shoal: {
    monitor: {
      v1: {
        CommandReply: MessageTypeDefinition<_shoal_monitor_v1_CommandReply, _shoal_monitor_v1_CommandReply__Output>
        CommandRequest: MessageTypeDefinition<_shoal_monitor_v1_CommandRequest, _shoal_monitor_v1_CommandRequest__Output>
        /**
         * Between monitors only.
         */
        Consensus: SubtypeConstructor<typeof grpc.Client, _shoal_monitor_v1_ConsensusClient> & { service: _shoal_monitor_v1_ConsensusDefinition }
        ConsensusMessage: MessageTypeDefinition<_shoal_monitor_v1_ConsensusMessage, _shoal_monitor_v1_ConsensusMessage__Output>
        ExchangeEnd: MessageTypeDefinition<_shoal_monitor_v1_ExchangeEnd, _shoal_monitor_v1_ExchangeEnd__Output>
        Failure: MessageTypeDefinition<_shoal_monitor_v1_Failure, _shoal_monitor_v1_Failure__Output>
        GetOsdMapReply: MessageTypeDefinition<_shoal_monitor_v1_GetOsdMapReply, _shoal_monitor_v1_GetOsdMapReply__Output>
        GetOsdMapRequest: MessageTypeDefinition<_shoal_monitor_v1_GetOsdMapRequest, _shoal_monitor_v1_GetOsdMapRequest__Output>
        LogEntry: MessageTypeDefinition<_shoal_monitor_v1_LogEntry, _shoal_monitor_v1_LogEntry__Output>
        MapUpdate: MessageTypeDefinition<_shoal_monitor_v1_MapUpdate, _shoal_monitor_v1_MapUpdate__Output>
        Monitor: SubtypeConstructor<typeof grpc.Client, _shoal_monitor_v1_MonitorClient> & { service: _shoal_monitor_v1_MonitorDefinition }
        OsdBoot: MessageTypeDefinition<_shoal_monitor_v1_OsdBoot, _shoal_monitor_v1_OsdBoot__Output>
        OsdFailure: MessageTypeDefinition<_shoal_monitor_v1_OsdFailure, _shoal_monitor_v1_OsdFailure__Output>
        OsdShutdown: MessageTypeDefinition<_shoal_monitor_v1_OsdShutdown, _shoal_monitor_v1_OsdShutdown__Output>
        PgTempEntry: MessageTypeDefinition<_shoal_monitor_v1_PgTempEntry, _shoal_monitor_v1_PgTempEntry__Output>
        PgTempRequest: MessageTypeDefinition<_shoal_monitor_v1_PgTempRequest, _shoal_monitor_v1_PgTempRequest__Output>
        Quorum: MessageTypeDefinition<_shoal_monitor_v1_Quorum, _shoal_monitor_v1_Quorum__Output>
        Report: MessageTypeDefinition<_shoal_monitor_v1_Report, _shoal_monitor_v1_Report__Output>
        ReportReply: MessageTypeDefinition<_shoal_monitor_v1_ReportReply, _shoal_monitor_v1_ReportReply__Output>
        ReportRequest: MessageTypeDefinition<_shoal_monitor_v1_ReportRequest, _shoal_monitor_v1_ReportRequest__Output>
        SubscribeRequest: MessageTypeDefinition<_shoal_monitor_v1_SubscribeRequest, _shoal_monitor_v1_SubscribeRequest__Output>
        UpThruRequest: MessageTypeDefinition<_shoal_monitor_v1_UpThruRequest, _shoal_monitor_v1_UpThruRequest__Output>
      }
    }
  }
}

