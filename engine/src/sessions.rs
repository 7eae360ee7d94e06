//! Sessions as far as they are history: numbers, lives, client-id marks, message numbers.
//!
//! All of it is a function of the command stream, so a restart gives every client the same numbers.

use std::collections::BTreeMap;

use crate::exchange::Exchange;
use crate::snapshot::{Reader, SnapshotError, Writer};
use tessera_types::{ClOrdId, ClientHeader, Generation, Name, RejectReason, ServerSeq, SessionId};

/// All sessions, numbered from 1 in order of their first logon.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    lives: Vec<Life>,
    names: Vec<Name>,
    by_name: BTreeMap<Name, SessionId>,
}

/// What requests and events touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) generation: Generation,
    pub(crate) last_cl_ord_id: ClOrdId,
    pub(crate) next_server_seq: ServerSeq,
}

impl Sessions {
    /// Begins or resumes the session of this name: a new generation, the old marks.
    ///
    /// None when there are as many sessions as there may be.
    pub(crate) fn logon(&mut self, name: &Name) -> Option<(SessionId, Life)> {
        if let Some(&session) = self.by_name.get(name) {
            let life = self.get_mut(session)?;
            life.generation = life.generation.next();
            return Some((session, *life));
        }
        let number = u32::try_from(self.lives.len() + 1).ok()?;
        let session = SessionId::new(number);
        if session > SessionId::MAX {
            return None;
        }
        let life = Life {
            generation: Generation::new(1),
            last_cl_ord_id: ClOrdId::new(0),
            next_server_seq: ServerSeq::new(1),
        };
        self.lives.push(life);
        self.names.push(*name);
        self.by_name.insert(*name, session);
        Some((session, life))
    }

    /// Lets a request in and moves the session's mark, or says why not.
    ///
    /// A stale request leaves the mark alone: it belongs to a life that has ended.
    #[inline]
    pub(crate) fn admit(&mut self, header: &ClientHeader) -> Result<(), RejectReason> {
        self.examine(header)?;
        self.mark(header);
        Ok(())
    }

    /// Whether a request may come in.
    #[inline(always)]
    pub(crate) fn examine(&self, header: &ClientHeader) -> Result<(), RejectReason> {
        let Some(place) = place(header.session) else {
            return Ok(());
        };
        let life = self.lives.get(place).ok_or(RejectReason::UnknownSession)?;
        if header.generation != life.generation {
            return Err(RejectReason::StaleSession);
        }
        if header.cl_ord_id <= life.last_cl_ord_id {
            return Err(RejectReason::DuplicateId);
        }
        Ok(())
    }

    /// Moves the mark of a session to a request that came in.
    #[inline(always)]
    pub(crate) fn mark(&mut self, header: &ClientHeader) {
        if let Some(life) = self.get_mut(header.session) {
            life.last_cl_ord_id = header.cl_ord_id;
        }
    }

    /// Numbers the next message to a session; 0 for the venue's and for one that does not exist.
    #[inline]
    pub(crate) fn number_message(&mut self, session: SessionId) -> ServerSeq {
        let Some(life) = self.get_mut(session) else {
            return ServerSeq::new(0);
        };
        let number = life.next_server_seq;
        life.next_server_seq = ServerSeq::new(number.get() + 1);
        number
    }

    /// Ends this life of a session. None when it is another one, or there is no such session.
    pub(crate) fn fence(
        &mut self,
        session: SessionId,
        generation: Generation,
    ) -> Option<Generation> {
        let life = self.get_mut(session)?;
        if life.generation != generation {
            return None;
        }
        life.generation = generation.next();
        Some(life.generation)
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<(&Name, &Life)> {
        let at = place(session)?;
        Some((self.names.get(at)?, self.lives.get(at)?))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Name, &Life)> {
        let numbers = (1..).map(SessionId::new);
        numbers
            .zip(self.names.iter().zip(&self.lives))
            .map(|(id, (name, life))| (id, name, life))
    }

    #[inline]
    fn get_mut(&mut self, session: SessionId) -> Option<&mut Life> {
        self.lives.get_mut(place(session)?)
    }
}

impl Exchange {
    /// Name and marks of each session, in order of its number.
    pub(crate) fn save_sessions(&self, writer: &mut Writer) {
        writer.len(self.sessions.lives.len());
        for (_, name, life) in self.sessions.iter() {
            writer.name(name);
            writer.u16(life.generation.get());
            writer.u64(life.last_cl_ord_id.get());
            writer.u64(life.next_server_seq.get());
        }
    }

    pub(crate) fn restore_sessions(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        for _ in 0..reader.len(20)? {
            let name = reader.name()?;
            let is_new = !self.sessions.by_name.contains_key(&name);
            reader.ensure(is_new, "two sessions of one name")?;
            let (session, _) = self
                .sessions
                .logon(&name)
                .ok_or_else(|| reader.bad("more sessions than there may be"))?;
            let life = Life {
                generation: Generation::new(reader.u16()?),
                last_cl_ord_id: ClOrdId::new(reader.u64()?),
                next_server_seq: ServerSeq::new(reader.u64()?),
            };
            let fits = life.generation.get() < Generation::MODULUS
                && (1..=MOST_MESSAGES).contains(&life.next_server_seq.get());
            reader.ensure(fits, "no session has these marks")?;
            if let Some(place) = self.sessions.get_mut(session) {
                *place = life;
            }
            self.store.expect_session(session);
        }
        Ok(())
    }
}

/// Far beyond what any session can be sent, and far from where the count would overflow.
const MOST_MESSAGES: u64 = 1 << 62;

#[inline]
fn place(session: SessionId) -> Option<usize> {
    (session.get() as usize).checked_sub(1)
}
