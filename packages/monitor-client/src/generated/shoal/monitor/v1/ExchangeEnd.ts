// Original file: ../../protos/monitor.proto


export interface ExchangeEnd {
}

export interface ExchangeEnd__Output {
}
