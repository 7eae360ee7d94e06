//! What a start journals when the exchange was there before.

/// The exchange was down from the command before to this one, and goes on: the first command of a start.
///
/// What the clock would have done meanwhile has not been done. Expiries of orders that fell into that
/// time come `grace_ns` behind this command, all others at their time; interruptions that would have
/// ended come to their end then too. With a hold, instruments that traded or collected are halted until
/// [`Reopen`]: cancels and reduces are served, nothing trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How long the exchange means to be cancel-only, in nanoseconds; 0 goes on at once.
    pub hold_ns: u64,
    /// How long after this command expires what would have expired before it, in nanoseconds.
    pub grace_ns: u64,
}

/// Ends the hold of a restart: instruments go on in the phase in which they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopen;
