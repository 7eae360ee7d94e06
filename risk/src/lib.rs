//! What hardware failure, preemption and energy cost, and who can bear it.
//!
//! The package estimates models from data, prices the rights in a contract, revalues books on joint
//! scenarios and turns the result into integers. It uses floats and Monte Carlo throughout; the
//! matching engine replays only the integers of [`quantise`]. It knows no book, no order and no
//! socket, it reads no clock, and every random number is a function of a seed and a position
//! ([`rng`]), so that a result is the same bits at any number of threads.
//!
//! Units are USD, hours for failures and windows, days for energy dynamics, USD/MWh for power, MWh
//! for energy; probabilities are fractions; losses are positive. Money becomes integer micro-USD in
//! [`units`] and nowhere else.

pub mod units;

pub mod rng;

pub mod numeric;

pub mod failure;

pub mod repair;

pub mod sla;

pub mod energy;

pub mod evt;

pub mod price;

pub mod premium;

pub mod model;

pub mod scenario;

pub mod aggregate;

pub mod stress;

pub mod margin;

pub mod quantise;

pub mod backtest;

pub mod calibrate;

pub mod contract;

pub mod report;
