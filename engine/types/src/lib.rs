//! The one vocabulary of Tessera: ids, units, commands, events, and the bytes of a journaled command.
//!
//! Every package speaks these types and nothing here knows any other package. There is no I/O, no
//! clock and no floating point: a value means the same on every machine.
//!
//! Read in this order: [`units`] and [`ids`] are the words; [`command`] is what may be asked of the
//! engine ([`contract_command`] about compute contracts); [`event`] is what the engine answers; [`reject`] says no; [`wire`] is the byte codec of
//! journal payloads and the only place that names bincode.

pub mod account_command;
pub mod account_event;
pub mod command;
pub mod contract;
pub mod contract_command;
pub mod contract_event;
pub mod event;
pub mod ids;
pub mod reject;
pub mod restart_command;
pub mod units;
pub mod wire;

pub use account_command::{
    AccountAction, AccountCommand, CashMove, Limits, MarginSpec, RiskAction, RiskBegin, RiskCommit,
    RiskParams, RiskRow, RiskStep, Scope,
};
pub use account_event::AccountEvent;
pub use command::{
    AdvanceTime, Cancel, ClientHeader, Command, ExecInst, FenceReason, ListInstrument, MassCancel,
    MassQuote, NewOrder, OrdType, OrderTarget, QuoteEntry, Reduce, Replace, SelfMatch, Sequenced,
    SessionFence, SessionLogon, SetCatalogue, SetPhase, TimeInForce,
};
pub use contract::{
    Catalogue, ClassDef, ContractTerms, Efficiency, Instrument, MatchAlgo, Name, NameError,
    Partition, Phase, Reclaim, VolatilityGuard,
};
pub use contract_command::{
    AttestPool, AwardQuote, BackedBy, Backing, BlockLimit, BlockOrder, CarveOrder, ColoLevel,
    ContractCommand, DeclarePool, Isolation, LeaseId, Leg, MAX_CONTRACT_PRICE, MAX_CONTRACT_QTY,
    MigProfile, Need, PoolId, PoolPath, PreemptOrder, RfqOrder, RfqQuote, SetLimit, SubMode,
    SubOrder,
};
pub use contract_event::{ContractEvent, Domain, Refusal, RefusalCounts, SlotList};
pub use event::{
    Aggressor, CancelReason, Event, EventRecord, EventSink, ExpireReason, Party, PhaseCause,
    Requester,
};
pub use ids::{
    AccountId, ClOrdId, ConnToken, ExecId, FileOffset, Generation, InstrumentId, OrderId, Seq,
    ServerSeq, SessionId,
};
pub use reject::{CommandKind, RejectReason};
pub use restart_command::{Reopen, Restart};
pub use units::{Price, Qty, Side, Timestamp};
