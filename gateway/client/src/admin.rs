//! Operating the exchange.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tessera_proto::TextError;
use tessera_proto::message::{
    AdminCommand, AdminInstrument, AdminPhase, AdminReply, Body, Message, SecurityDefinition,
};
use tessera_proto::session::ClientError;
use tessera_types::{ClOrdId, Command, Instrument, InstrumentId, Phase, Price, RejectReason, Seq};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::connect::{Established, LogonInfo};
use crate::error::SessionError;
use crate::link::{Incoming, Owner};

/// A session of `txp-admin/1`. One command at a time: each call waits for its durable answer.
pub struct AdminSession {
    link: Arc<Owner>,
    info: LogonInfo,
    notices: mpsc::Receiver<Message>,
    _incoming: mpsc::UnboundedReceiver<Incoming>,
    last_id: ClOrdId,
}

/// What an admin command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminDone {
    /// The instrument that was listed or changed.
    pub instrument: InstrumentId,
    /// The command's place in the journal, durable.
    pub seq: Seq,
}

/// Why an admin command was not done.
#[derive(Clone, Debug, Error)]
pub enum AdminError {
    /// The exchange refused it.
    #[error("the exchange refused the command: {0}")]
    Refused(RejectReason),
    /// A command of another kind, or one that is too long.
    #[error("the admin protocol does not carry this command")]
    NotCarried,
    /// A name that the protocol cannot carry.
    #[error(transparent)]
    Name(#[from] TextError),
    /// The session is over. Whether the command was done is not known: look at the instruments.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl AdminSession {
    pub(crate) fn new(established: Established) -> Self {
        let Established { link, ends, info } = established;
        Self {
            link,
            info,
            notices: ends.notices,
            _incoming: ends.incoming,
            last_id: info.last_cl_ord_id,
        }
    }

    /// What the server said when the session began.
    #[must_use]
    pub const fn info(&self) -> &LogonInfo {
        &self.info
    }

    /// Lists an instrument.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn list_instrument(
        &mut self,
        instrument: &Instrument,
    ) -> Result<AdminDone, AdminError> {
        let id = self.next_id();
        self.ask(id, &AdminInstrument::new(id, instrument)?).await
    }

    /// Changes an instrument's phase; `ref_price` is the reference of the uncross.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_phase(
        &mut self,
        instrument: InstrumentId,
        phase: Phase,
        ref_price: Option<Price>,
    ) -> Result<AdminDone, AdminError> {
        let id = self.next_id();
        let message = AdminPhase {
            cl_ord_id: id,
            instrument,
            phase,
            has_ref_price: ref_price.is_some(),
            ref_price: ref_price.unwrap_or(Price::ZERO),
        };
        self.ask(id, &message).await
    }

    /// Asks something about accounts, limits or risk parameters.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn command(&mut self, command: &Command) -> Result<AdminDone, AdminError> {
        let id = self.next_id();
        let message = AdminCommand::new(id, command).map_err(|_| AdminError::NotCarried)?;
        self.ask(id, &message).await
    }

    /// The definitions of all instruments.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn instruments(&self) -> Result<Vec<SecurityDefinition>, SessionError> {
        self.link.instruments().await
    }

    /// Logs out and waits for the server's answer.
    ///
    /// # Errors
    /// [`SessionError`] when the session ended in another way.
    pub async fn logout(self) -> Result<(), SessionError> {
        self.link.logout().await
    }

    fn next_id(&mut self) -> ClOrdId {
        self.last_id = ClOrdId::new(self.last_id.get() + 1);
        self.last_id
    }

    async fn ask(&mut self, id: ClOrdId, message: &impl Body) -> Result<AdminDone, AdminError> {
        self.link.send_control(message)?;
        let answer = tokio::time::timeout(PATIENCE, self.answer(id));
        answer
            .await
            .unwrap_or(Err(SessionError::Protocol(ClientError::NoAnswer).into()))
    }

    async fn answer(&mut self, id: ClOrdId) -> Result<AdminDone, AdminError> {
        loop {
            let notice = tokio::select! {
                biased; // an answer that is here comes before the end
                Some(notice) = self.notices.recv() => notice,
                error = self.link.ended() => return Err(error.into()),
            };
            match notice {
                Message::AdminReply(AdminReply {
                    cl_ord_id,
                    reason,
                    instrument,
                    engine_seq: seq,
                }) if cl_ord_id == id => {
                    return match reason {
                        Some(reason) => Err(AdminError::Refused(reason)),
                        None => Ok(AdminDone { instrument, seq }),
                    };
                }
                Message::BusinessReject(reject) if reject.cl_ord_id == id => {
                    let reason = reject.reason.unwrap_or(RejectReason::BadField);
                    return Err(AdminError::Refused(reason));
                }
                Message::Reject(_) => return Err(AdminError::Refused(RejectReason::BadField)),
                _ => {} // the answer to a command that was given up
            }
        }
    }
}

impl fmt::Debug for AdminSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminSession")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
