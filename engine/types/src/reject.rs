//! Why a request was refused, and which kind of request it was.

use crate::contract::code_enum;

code_enum! {
    /// The reason of a rejection: part of the protocol, never renumbered.
    RejectReason {
        /// A name or number is no instrument.
        UnknownInstrument = 1, "unknown_instrument";
        /// No live order of this owner has that id.
        UnknownOrder = 2, "unknown_order";
        /// The instrument's phase refuses this kind of order.
        WrongPhase = 3, "wrong_phase";
        /// The instrument is halted.
        Halted = 4, "halted";
        /// The instrument is closed.
        Closed = 5, "closed";
        /// A live order has this client id, or the id did not rise within its session.
        DuplicateId = 6, "duplicate_id";
        /// The price is off the tick or out of bounds.
        BadPrice = 7, "bad_price";
        /// The quantity is off the lot, out of bounds or zero.
        BadQty = 8, "bad_qty";
        /// The expiry does not lie after the clock.
        Expired = 9, "expired";
        /// A post-only order would have traded.
        PostOnly = 10, "post_only";
        /// An instrument with this name exists.
        DuplicateInstrument = 11, "duplicate_instrument";
        /// The clock would run backwards.
        TimeBackwards = 12, "time_backwards";
        /// Bid at or above ask in one quote.
        CrossedQuote = 13, "crossed_quote";
        /// A field has a value that its command does not allow, or fields that exclude each other.
        BadField = 14, "bad_field";
        /// A required field is absent.
        MissingField = 15, "missing_field";
        /// Not an operation.
        UnknownOp = 16, "unknown_op";
        /// Not a JSON object.
        ParseError = 17, "parse_error";
        /// The request belongs to an older generation of its session.
        StaleSession = 18, "stale_session";
        /// No such session.
        UnknownSession = 19, "unknown_session";
        /// The feature is not there yet.
        Unsupported = 20, "unsupported";
        /// The exchange holds as many live orders as it can.
        TooManyOrders = 21, "too_many_orders";
        /// A catalogue version that does not rise.
        StaleVersion = 22, "stale_version";
        /// The class is not in the catalogue.
        UnknownClass = 23, "unknown_class";
        /// The zone is not in the catalogue.
        UnknownZone = 24, "unknown_zone";
        /// The partition profile is not one of the class.
        UnknownProfile = 25, "unknown_profile";
        /// A contract on this coordinate exists.
        DuplicateContract = 26, "duplicate_contract";
        /// As many instruments, sessions or table entries as there may be.
        LimitReached = 27, "limit_reached";
        /// The gateway refuses new orders until the journal has caught up.
        Busy = 28, "busy";
        /// Too many requests in too short a time.
        Throttled = 29, "throttled";
        /// This key or account may not do that.
        NotPermitted = 30, "not_permitted";
        /// No listed contract fits.
        NoContract = 31, "no_contract";
        /// No pool of this party has that name.
        UnknownPool = 32, "unknown_pool";
        /// The pool holds something else.
        WrongPool = 33, "wrong_pool";
        /// A pool with this name exists.
        DuplicatePool = 34, "duplicate_pool";
        /// A device is in another pool.
        DuplicateDevice = 35, "duplicate_device";
        /// The pool or lease has too few units free.
        Inventory = 36, "inventory";
        /// The party's limit would be passed.
        Limit = 37, "limit";
        /// Too many legs.
        TooManyLegs = 38, "too_many_legs";
        /// The legs fit too many contracts.
        TooManyContracts = 39, "too_many_contracts";
        /// No contract that fits does the workload.
        NoEfficiency = 40, "no_efficiency";
        /// The request has as many quotes as it takes.
        TooManyQuotes = 41, "too_many_quotes";
        /// The search would be too long.
        TooMuchWork = 42, "too_much_work";
        /// The asks are in too many domains.
        TooManyDomains = 43, "too_many_domains";
        /// Several windows of a reclaimable contract.
        Reclaimable = 44, "reclaimable";
        /// The contract cannot be reclaimed.
        NotReclaimable = 45, "not_reclaimable";
        /// No lease of this party with units has that number.
        UnknownLease = 46, "unknown_lease";
        /// The lease is of another contract, or not of its whole window.
        WrongLease = 47, "wrong_lease";
        /// An order of this kind cannot be changed so.
        WrongKind = 48, "wrong_kind";
        /// The pool is the buyer's own.
        Own = 49, "self";
        /// Too little isolation for the buyer.
        Isolation = 50, "isolation";
        /// Too short a notice.
        Notice = 51, "notice";
        /// The buyer excludes this seller.
        Exclude = 52, "exclude";
        /// Too low a score for the buyer.
        Score = 53, "score";
        /// Attested too long ago for the buyer.
        Age = 54, "age";
        /// Too little stake for the buyer.
        Stake = 55, "stake";
        /// The pool's path is too short for the level.
        Colo = 56, "colo";
        /// More than the buyer pays.
        Price = 57, "price";
        /// No such account is kept.
        UnknownAccount = 80, "unknown_account";
        /// The account has too little cash for that.
        InsufficientFunds = 81, "insufficient_funds";
        /// Cash and credit are less than the margin would be.
        InsufficientMargin = 82, "insufficient_margin";
        /// The instrument has neither a row of risk parameters nor a flat margin.
        NotMargined = 83, "not_margined";
        /// Position and open orders of the account would exceed 2^28 lots, or 1,024 instruments.
        LotsLimit = 84, "lots_limit";
        /// The price is beyond the collar.
        PriceCollar = 85, "price_collar";
        /// More than one order may have.
        OrderQtyLimit = 86, "order_qty_limit";
        /// Worth more than one order may be.
        OrderValueLimit = 87, "order_value_limit";
        /// More than all open orders may have together.
        OpenQtyLimit = 88, "open_qty_limit";
        /// Worth more than all open orders may be together.
        OpenValueLimit = 89, "open_value_limit";
        /// The weighted position could become larger than it may.
        PositionLimit = 90, "position_limit";
        /// The same order again within too short a time.
        DuplicateOrder = 91, "duplicate_order";
        /// The kill switch is on.
        Killed = 92, "killed";
        /// No set of risk parameters of this version was announced.
        RiskNotBegun = 93, "risk_not_begun";
        /// A row of risk parameters breaks a rule; the announced set is refused whole.
        RiskRow = 94, "risk_row";
        /// A row's margin steps further from the set in force than the limit.
        RiskStep = 95, "risk_step";
        /// An earlier row of the set was refused.
        RiskRefused = 96, "risk_refused";
        /// The number of rows is not the announced one.
        RiskRows = 97, "risk_rows";
        /// The hash of the rows is not that of the set.
        RiskHash = 98, "risk_hash";
        /// A product in use has a row in force and none in the set.
        RiskMissingRow = 99, "risk_missing_row";
        /// The exchange is open for looking around only.
        ReadOnly = 119, "read_only";
    }
}

code_enum! {
    /// Which kind of request an event answers; the word is the order script's operation.
    CommandKind {
        /// A new order.
        New = 1, "new";
        /// Cancel one order.
        Cancel = 2, "cancel";
        /// Take quantity off an order.
        Reduce = 3, "reduce";
        /// Change an order.
        Replace = 4, "replace";
        /// Cancel many orders.
        MassCancel = 5, "mass_cancel";
        /// Quotes on many instruments.
        MassQuote = 6, "mass_quote";
        /// A session begins.
        SessionLogon = 7, "session_logon";
        /// A session's queued requests are cut off.
        SessionFence = 8, "session_fence";
        /// List an instrument.
        Instrument = 9, "instrument";
        /// Change a phase.
        Phase = 10, "phase";
        /// Move the clock.
        Time = 11, "time";
        /// Set the catalogue.
        Catalogue = 12, "catalogue";
        /// Declare a pool.
        Pool = 13, "pool";
        /// Attest a pool.
        Attest = 14, "attest";
        /// Limit a party.
        Limit = 15, "limit";
        /// A substitution order.
        Sub = 16, "sub";
        /// A block order.
        Block = 17, "block";
        /// A device in slices.
        Carve = 18, "carve";
        /// A request for quotes.
        Rfq = 19, "rfq";
        /// A quote.
        Quote = 20, "quote";
        /// Take a quote.
        Award = 21, "award";
        /// A bid for the rest of leases.
        Preempt = 22, "preempt";
        /// Keep an account.
        Account = 50, "account";
        /// Pay in.
        Deposit = 51, "deposit";
        /// Pay out.
        Withdraw = 52, "withdraw";
        /// Set an account's credit.
        Credit = 53, "credit";
        /// Set pre-trade limits.
        Limits = 54, "limits";
        /// Put a kill switch on or off.
        Kill = 55, "kill";
        /// Say how an instrument is margined.
        Margin = 56, "margin";
        /// Announce a set of risk parameters.
        RiskBegin = 57, "risk_begin";
        /// A row of it.
        RiskRow = 58, "risk_row";
        /// Put it in force.
        RiskCommit = 59, "risk_commit";
        /// Say when a set is old.
        RiskAge = 60, "risk_age";
        /// The exchange goes on after it was down.
        Restart = 80, "restart";
        /// The hold of a restart ends.
        Reopen = 81, "reopen";
    }
}
