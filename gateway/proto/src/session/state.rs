//! The server's side of a session as a table of transitions.
//!
//! ```text
//!  Handshaking ─Connected─▶ AwaitLogon ─Logon─▶ LogonPending ─Started─▶ Active ◀─Traffic─┐
//!                             │ 5 s                                     │   └─Silence─▶ AwaitingTestReply
//!                             ▼                                         │Drain              │ 2.4 intervals
//!                           Closed ◀─2 s── LogoutPending ◀──Logout── Draining               ▼
//!                                                                                         Closed
//! ```
//!
//! `LogonPending` is the time between a valid Logon and the durable answer of the engine, which knows
//! the session's numbers: nothing but liveness is legal in it. A Logout of either side leads from any
//! state after the handshake to `LogoutPending`; a lost connection leads from anywhere to `Closed`.

use thiserror::Error;

use crate::time::Monotime;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// TLS is not done.
    Handshaking,
    /// The Logon must come before the deadline.
    AwaitLogon {
        /// When patience ends.
        deadline: Monotime,
    },
    /// The engine was asked for the session and has not answered.
    LogonPending,
    /// Everything is legal.
    Active,
    /// The peer was silent and has been asked for a sign of life.
    AwaitingTestReply {
        /// When it counts as gone.
        deadline: Monotime,
    },
    /// The exchange is about to stop: cancels are served, new orders are not.
    Draining,
    /// A Logout was said by either side.
    LogoutPending {
        /// When the connection is closed in any case.
        deadline: Monotime,
    },
    /// Over.
    Closed,
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// TLS is done.
    Connected {
        /// When the Logon must have come.
        deadline: Monotime,
    },
    /// A Logon that passed the checks which need no key.
    Logon,
    /// The engine's answer to it is durable.
    Started,
    /// Any other sign of life.
    Traffic,
    /// Nothing has come for 1.2 heartbeat intervals.
    Silence {
        /// When 2.4 intervals will have passed.
        give_up: Monotime,
    },
    /// A deadline may have passed.
    Deadline(Monotime),
    /// The exchange is about to stop.
    Drain,
    /// Either side says Logout.
    Logout {
        /// When the connection is to be closed in any case.
        deadline: Monotime,
    },
    /// The connection is lost, or closed without more words.
    Gone,
}

/// An input that is not legal in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{input:?} is not legal in state {state:?}")]
pub struct Unexpected {
    /// The state.
    pub state: State,
    /// The input.
    pub input: Input,
}

impl State {
    /// Next state, or the reason why the peer must be disconnected. Pure: no I/O, no clock.
    ///
    /// # Errors
    /// [`Unexpected`] when the input is not legal now.
    pub fn next(self, input: Input) -> Result<Self, Unexpected> {
        use Input::{Connected, Deadline, Drain, Gone, Logon, Logout, Silence, Started, Traffic};
        Ok(match (self, input) {
            (Self::Handshaking, Connected { deadline }) => Self::AwaitLogon { deadline },
            (Self::AwaitLogon { .. }, Logon) => Self::LogonPending,
            (Self::LogonPending, Started) => Self::Active,

            (Self::Active | Self::AwaitingTestReply { .. }, Traffic) => Self::Active,
            (Self::Active, Silence { give_up }) => Self::AwaitingTestReply { deadline: give_up },
            (Self::Active | Self::AwaitingTestReply { .. }, Drain) => Self::Draining,

            (
                Self::AwaitLogon { .. }
                | Self::LogonPending
                | Self::Active
                | Self::AwaitingTestReply { .. }
                | Self::Draining,
                Logout { deadline },
            ) => Self::LogoutPending { deadline },

            (
                Self::AwaitLogon { deadline }
                | Self::AwaitingTestReply { deadline }
                | Self::LogoutPending { deadline },
                Deadline(now),
            ) if now >= deadline => Self::Closed,
            (_, Gone) => Self::Closed,

            // The engine's answer comes in its own time, and a session that ends was asked to.
            (
                state @ (Self::LogonPending | Self::Draining | Self::LogoutPending { .. }),
                Traffic,
            ) => state,
            // A second Logout answers the first, or crossed it.
            (state @ (Self::LogoutPending { .. } | Self::Closed), Logout { .. } | Started) => state,
            // A drain reaches who is not logged on as a refusal of the shell.
            (state, Drain) => state,
            // A timer armed by an earlier state.
            (state, Silence { .. } | Deadline(_)) => state,
            (state, input) => return Err(Unexpected { state, input }),
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_pair_of_state_and_input() {
        let at = Monotime::from_nanos;
        let states = [
            State::Handshaking,
            State::AwaitLogon { deadline: at(50) },
            State::LogonPending,
            State::Active,
            State::AwaitingTestReply { deadline: at(50) },
            State::Draining,
            State::LogoutPending { deadline: at(50) },
            State::Closed,
        ];
        let inputs = [
            ("connected", Input::Connected { deadline: at(70) }),
            ("logon", Input::Logon),
            ("started", Input::Started),
            ("traffic", Input::Traffic),
            ("silence", Input::Silence { give_up: at(80) }),
            ("deadline 49", Input::Deadline(at(49))),
            ("deadline 50", Input::Deadline(at(50))),
            ("drain", Input::Drain),
            ("logout", Input::Logout { deadline: at(90) }),
            ("gone", Input::Gone),
        ];
        let mut table = String::new();
        for state in states {
            table.push_str(&format!("{}\n", name(state)));
            for (word, input) in inputs {
                let next = match state.next(input) {
                    Ok(next) if next == state => "-".to_owned(),
                    Ok(next) => name(next),
                    Err(_) => "illegal".to_owned(),
                };
                table.push_str(&format!("  {word:11} {next}\n"));
            }
        }
        expect![[r#"
            Handshaking
              connected   AwaitLogon until 70
              logon       illegal
              started     illegal
              traffic     illegal
              silence     -
              deadline 49 -
              deadline 50 -
              drain       -
              logout      illegal
              gone        Closed
            AwaitLogon until 50
              connected   illegal
              logon       LogonPending
              started     illegal
              traffic     illegal
              silence     -
              deadline 49 -
              deadline 50 Closed
              drain       -
              logout      LogoutPending until 90
              gone        Closed
            LogonPending
              connected   illegal
              logon       illegal
              started     Active
              traffic     -
              silence     -
              deadline 49 -
              deadline 50 -
              drain       -
              logout      LogoutPending until 90
              gone        Closed
            Active
              connected   illegal
              logon       illegal
              started     illegal
              traffic     -
              silence     AwaitingTestReply until 80
              deadline 49 -
              deadline 50 -
              drain       Draining
              logout      LogoutPending until 90
              gone        Closed
            AwaitingTestReply until 50
              connected   illegal
              logon       illegal
              started     illegal
              traffic     Active
              silence     -
              deadline 49 -
              deadline 50 Closed
              drain       Draining
              logout      LogoutPending until 90
              gone        Closed
            Draining
              connected   illegal
              logon       illegal
              started     illegal
              traffic     -
              silence     -
              deadline 49 -
              deadline 50 -
              drain       -
              logout      LogoutPending until 90
              gone        Closed
            LogoutPending until 50
              connected   illegal
              logon       illegal
              started     -
              traffic     -
              silence     -
              deadline 49 -
              deadline 50 Closed
              drain       -
              logout      -
              gone        Closed
            Closed
              connected   illegal
              logon       illegal
              started     -
              traffic     illegal
              silence     -
              deadline 49 -
              deadline 50 -
              drain       -
              logout      -
              gone        -
        "#]]
        .assert_eq(&table);
    }

    fn name(state: State) -> String {
        match state {
            State::AwaitLogon { deadline } => format!("AwaitLogon until {}", deadline.nanos()),
            State::AwaitingTestReply { deadline } => {
                format!("AwaitingTestReply until {}", deadline.nanos())
            }
            State::LogoutPending { deadline } => {
                format!("LogoutPending until {}", deadline.nanos())
            }
            other => format!("{other:?}"),
        }
    }
}
